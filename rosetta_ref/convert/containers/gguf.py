"""GGUF: the canonical model is what such a file holds."""

from __future__ import annotations

from pathlib import Path

from rosetta_ref.archive import Archive
from rosetta_ref.convert import target
from rosetta_ref.convert.encoding import Encoding
from rosetta_ref.convert.options import Options
from rosetta_ref.convert.policy import Action, Rule
from rosetta_ref.convert.source import Source
from rosetta_ref.formats import gguf
from rosetta_ref.quant import BlockType


def read(path: Path, *, lenient: bool, keep_names: bool) -> Source:
    """A file as it is."""
    archive = gguf.read(path, lenient=lenient)
    return Source(archive, archive)


def into(kind: BlockType, row: int, *, apr_native: bool, float_type: str) -> Rule:
    """Ggml's types are carried; aprender's own are repacked, or decoded."""
    if kind.id is not None:
        return Rule(Action.CARRIED, kind.name)
    if kind.name == "AprQ4" and row % 32 == 0:
        return Rule(Action.REPACKED, "Q4_0")
    if kind.name in ("AprQ4", "AprQ8"):
        return Rule(Action.DECODED, "F32")
    return Rule(Action.REFUSED, kind.name)


def plan(model: Archive, options: Options, wanted: Encoding | None, file_name: str | None) -> target.Plan:
    """See `target.plan_gguf`."""
    return target.plan_gguf(model, wanted=wanted)
