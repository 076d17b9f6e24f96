"""GGUF: typed keys below the architecture's name. Source: ggml/docs/gguf.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.mapping import Number
from rosetta_ref.gate.judge.tokenizer import PLACES, PREFIX
from rosetta_ref.gate.judge.view import View

#: Whether it has Hugging Face's names and numbers, or GGUF's.
AT_HOME = (False,)


def look(view: View) -> None:
    """The architecture is a key."""
    view.architecture = mapping.architecture_of(view.archive.metadata)


def numbers(view: View, rows: Sequence[Number]) -> dict[Number, Any]:
    """By the keys of the architecture."""
    return mapping.numbers_by(rows, view.archive.metadata)


def word(row: Number) -> str:
    """What a number is called there."""
    return row.gguf


def rows(view: View) -> int:
    """Pairs."""
    return mapping.PAIRS


def stated_rows(view: View) -> int | None:
    """No file says it."""
    return None


def scaling(view: View) -> dict[str, Any]:
    """By the keys of rope.scaling."""
    return {theirs: mapping.number(view.archive.metadata, f"rope.scaling.{ours}") for ours, theirs in mapping.SCALING}


def facts(view: View) -> dict[str, Any]:
    """By the keys of the tokenizer."""
    metadata = view.archive.metadata
    found = {name: metadata[key].plain() for name, (key, _) in PLACES.items() if key in metadata}
    prefix = metadata.get("tokenizer.ggml.add_space_prefix")
    return found | ({PREFIX: False} if prefix is not None and prefix.plain() is False else {})
