"""What every byte of a file is: one tolerant walk for each container.

A walk goes by the tables of its format and shares nothing else with the format's reader, and it never raises: what it does not
understand is a field, too. Whoever breaks, reduces or explains files uses it; whoever reads or judges them does not. Read `field`
first, then `reader` (how fields are read, and what a walk gives), then `stored` (how a tensor's data split into the fields of its
blocks). The walks are in `formats.<format>.fields`.
"""

from __future__ import annotations

from rosetta_ref.formats import registry
from rosetta_ref.formats.fields.field import Field
from rosetta_ref.formats.fields.reader import Walk
from rosetta_ref.formats.fields.stored import Stored

__all__ = ["Field", "Stored", "Walk", "format_of", "tensors", "walk", "walked"]


def walked(data: bytes, format: str) -> Walk:  # noqa: A002 (as in archive.Archive)
    """The walk over a file; one that is in no format of ours is text or bytes."""
    if format in registry.CONTAINERS:
        made: Walk = registry.of(format).walk(bytes(data))
        return made
    found = Walk(bytes(data))
    found.raw(len(data), "content", "text" if _is_text(data) else "bytes")
    return found


def walk(data: bytes, format: str) -> list[Field]:  # noqa: A002
    """The fields of a file in file order, whose bytes joined are the file's."""
    return list(walked(data, format).fields())


def tensors(data: bytes, format: str) -> list[Stored]:  # noqa: A002
    """The tensors that its table names, in that order, as far as their data are there."""
    return walked(data, format).tensors


def format_of(name: str, data: bytes) -> str:
    """The format of a file by its first bytes, else by its name; "other" where neither says."""
    known = registry.by_magic(data)
    if known is not None:
        return known.name
    suffix = name.rpartition(".")[2].lower()
    return suffix if suffix in registry.CONTAINERS else "other"


def _is_text(data: bytes) -> bool:
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False
