"""APR: aprender's names and keys; ggml's types without a code of its own are carried as bytes."""

from __future__ import annotations

from pathlib import Path

from rosetta_ref.architectures import aprender
from rosetta_ref.archive import Archive
from rosetta_ref.convert import target
from rosetta_ref.convert.encoding import Encoding
from rosetta_ref.convert.options import Options
from rosetta_ref.convert.policy import APR_TYPES, Action, Rule
from rosetta_ref.convert.source import Source
from rosetta_ref.formats import apr
from rosetta_ref.quant import BlockType


def read(path: Path, *, lenient: bool, keep_names: bool) -> Source:
    """A file, strictly, under GGUF's names."""
    archive = apr.read(path)
    return Source(archive, aprender.from_apr(archive, keep_names=keep_names))


def into(kind: BlockType, row: int, *, apr_native: bool, float_type: str) -> Rule:
    """What has no code is carried all the same, or decoded with `--apr-native`."""
    if kind.name in APR_TYPES:
        return Rule(Action.CARRIED, kind.name)
    if kind.name == "Q4_0":
        return Rule(Action.REPACKED, "AprQ4")
    if kind.id is None:
        return Rule(Action.REFUSED, kind.name)
    return Rule(Action.DECODED, "F32") if apr_native else Rule(Action.CARRIED, kind.name)


def plan(model: Archive, options: Options, wanted: Encoding | None, file_name: str | None) -> target.Plan:
    """See `target.plan_apr`."""
    return target.plan_apr(
        model,
        wanted=wanted,
        native=options.apr_native,
        keep_names=options.keep_names,
        extra_keys=options.extra_keys,
    )
