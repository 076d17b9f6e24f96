"""SafeTensors: Hugging Face's names and files; blocks are decoded, and kept beside the weights."""

from __future__ import annotations

from pathlib import Path

from rosetta_ref.archive import Archive
from rosetta_ref.convert import target
from rosetta_ref.convert.encoding import Encoding
from rosetta_ref.convert.options import Options
from rosetta_ref.convert.policy import Action, Rule
from rosetta_ref.convert.source import Source, read_directory
from rosetta_ref.formats.unfinished import steady
from rosetta_ref.quant import BlockType


def read(path: Path, *, lenient: bool, keep_names: bool) -> Source:
    """A directory, or one file with what stands beside it."""
    with steady(path):
        return read_directory(path, keep_names=keep_names)


def into(kind: BlockType, row: int, *, apr_native: bool, float_type: str) -> Rule:
    """Plain numbers are carried."""
    if (kind.id is None and not kind.name.startswith("Apr")) or kind.name == "I16":
        return Rule(Action.CARRIED, kind.name)
    return Rule(Action.DECODED, float_type)


def plan(model: Archive, options: Options, wanted: Encoding | None, file_name: str | None) -> target.Plan:
    """See `target.plan_safetensors`."""
    return target.plan_safetensors(
        model,
        dtype=options.dtype,
        keep_blocks=options.keep_blocks,
        keep_names=options.keep_names,
        max_shard_size=options.max_shard_size,
        file_name=file_name,
    )
