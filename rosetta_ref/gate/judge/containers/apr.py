"""APR: JSON under aprender's keys, GGUF's names or Hugging Face's. Source: the crate apr-format, and aprender's readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosetta_ref.formats import apr
from rosetta_ref.formats.apr.metadata import lookup
from rosetta_ref.formats.apr.tables import TYPES_BY_CODE
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.mapping import Number
from rosetta_ref.gate.judge.tokenizer import PLACES
from rosetta_ref.gate.judge.view import APR_ARCHITECTURE, IllFitting, View, named_architecture

#: Whether it has Hugging Face's names and numbers, or GGUF's.
AT_HOME = (False, True)


def look(view: View) -> None:
    """The architecture stands under one of three keys; a tensor of a wrong size is told beside the others."""
    metadata = view.archive.metadata
    view.architecture = named_architecture(metadata.get(key) for key in APR_ARCHITECTURE)
    assert isinstance(view.archive, apr.reader.AprArchive)
    for name, error in view.archive.ill_fitting.items():
        entry = view.archive.stated[name]
        kind = TYPES_BY_CODE.get(entry.code)
        view.ill_fitting[name] = IllFitting(
            error.problem, f"code {entry.code}" if kind is None else kind.name, entry.shape
        )


def numbers(view: View, rows: Sequence[Number]) -> dict[Number, Any]:
    """By aprender's keys."""
    found = {row: lookup(view.archive.metadata, row.apr) for row in rows if row.apr}
    return {row: value for row, value in found.items() if value is not None}


def word(row: Number) -> str:
    """What a number is called there."""
    return row.apr


def rows(view: View) -> int:
    """As rope_type says; else Hugging Face's names go with halves."""
    stated = stated_rows(view)
    if stated is not None:
        return stated
    theirs = any(mapping.gguf_name(name) is not None for name in view.archive.tensors)
    return mapping.HALVES if theirs else mapping.PAIRS


def stated_rows(view: View) -> int | None:
    """What rope_type says."""
    stated = view.archive.metadata.get("rope_type")
    return int(stated) if stated in (mapping.PAIRS, mapping.HALVES) else None


def scaling(view: View) -> dict[str, Any]:
    """APR has no place for it."""
    return {}


def facts(view: View) -> dict[str, Any]:
    """By aprender's keys."""
    return {name: view.archive.metadata.get(key) for name, (_, key) in PLACES.items()}
