"""Which of the three formats a file or a target is."""

from __future__ import annotations

import os
from pathlib import Path

from rosetta_ref.archive import Archive
from rosetta_ref.beside import require_downloaded, require_inside
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import naming, open_file
from rosetta_ref.formats import registry, safetensors
from rosetta_ref.formats.errors import BadMagicError
from rosetta_ref.formats.unfinished import require_published, steady

_INDEX_SUFFIX = ".index.json"


class UnknownFormatError(BadMagicError):
    """A model is a GGUF, APR or SafeTensors file, or a directory with SafeTensors files."""


class UnknownTargetError(RosettaError):
    """A target ends in .gguf, .apr or .safetensors, or is a directory."""


@naming
def sniff(path: str | Path) -> str:
    """The format of what is there: "gguf", "apr" or "safetensors".

    Raises UnknownFormatError, HalfPublishedError, NoFileError where there is nothing, NotAFileError for a pipe or a device: none is
    waited for.
    """
    path = Path(path)
    require_published(path)
    if path.is_dir():
        require_downloaded(path)
        return registry.in_directories().name
    with open_file(path) as file:
        head = file.read(9)
    if path.name.endswith(_INDEX_SUFFIX):
        return registry.in_directories().name
    known = registry.by_magic(head)  # an old APR version is told apart by its reader
    if known is not None:
        return known.name
    # SafeTensors has no magic: a length, then a JSON object. A damaged one is told by its name.
    named = registry.BY_SUFFIX.get(path.suffix)
    if named is not None or head[8:9] in (b"{", b" ", b"\n", b"\r", b"\t"):
        return (named or registry.in_directories()).name
    raise UnknownFormatError(f"the file begins with {head[:4].hex(' ') or 'nothing'}", file=path, offset=0)


def format_of_target(path: str | Path) -> str:
    """The format that a target is written in, by its suffix; no suffix, or a directory that is there, is a directory.

    Raises UnknownTargetError.
    """
    path = Path(path)
    named = registry.BY_SUFFIX.get(path.suffix.lower())
    if named is not None:
        return named.name
    # Names end in sizes and versions (SmolLM2-1.7B, v0.1); what begins with a letter is meant as a suffix.
    if not path.name and os.path.realpath(path) == os.path.realpath(path.anchor or os.sep):
        raise UnknownTargetError("the root of a disk is no model", file=path)
    unclear = path.suffix[1:2].isalpha() or path.name.startswith((".", "-")) or not path.name
    if unclear and not path.is_dir():
        problem = f"the suffix {path.suffix!r} says nothing" if path.suffix else f"{path.name!r} is no name of a model"
        raise UnknownTargetError(problem, file=path, hint="A directory that is there is taken whatever its name.")
    return registry.in_directories().name


@naming
def open_archive(path: str | Path, *, lenient: bool = False, as_row_major: bool = False) -> Archive:
    """Read a file of any format, or a model directory.

    `lenient` is what the GGUF and APR readers make of it: what ggml refuses is read, a tensor of the wrong size is bytes.
    `as_row_major` does not ask which way shapes stand in a file that does not say.
    """
    path = Path(path)
    container = registry.of(sniff(path))
    if container.has_companions:
        with steady(path):
            return container.read(whole(path), lenient=lenient)
    shapes = {"shapes": "row-major"} if as_row_major else {}
    return container.read(path, lenient=lenient, **shapes)


def whole(path: Path) -> Path:
    """The index beside a SafeTensors shard, where one names it: a shard is not the model."""
    for index in sorted(path.parent.glob("*.safetensors.index.json")) if path.is_file() else ():
        if index == path:
            continue
        require_inside(index, path.parent)
        if path.name in safetensors.read_index(index).files:
            return index
    return path
