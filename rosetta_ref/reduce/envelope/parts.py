"""The parts of a file that may lie: what it holds, and beside it every field that says something else than an honest writer would.

The layout is the honest one: entries behind each other, data padded. A field that says otherwise is a lie by its path, an absolute
value, and moves nothing. So a file is these parts, byte for byte, whatever it says; and a part that is taken away takes its
lies with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rosetta_ref.archive import CHUNK
from rosetta_ref.errors import RosettaError

#: Slices of a mapped file, or bytes of our own.
Bytes = bytes | memoryview
#: A lie: another number, other bytes, or, in JSON, any value.
Lie = Any
#: The cut: how many bytes of the file are there.
SIZE = "file.size"
#: No candidate is larger; what a lying dimension asks for is nothing to write.
LARGEST = 1 << 31
_NUMBERED = re.compile(r"(tensor|metadata|padding)\[(\d+)\](.*)", re.DOTALL)


class TooLargeError(RosettaError):
    """A file that is written has at most 2 GiB."""


@dataclass(frozen=True)
class Key:
    """A key of the metadata. `value` is the text of a string or the items of an array, without their length; JSON is JSON."""

    name: bytes
    value: Bytes
    kind: int = 0
    item: int = 0
    count: int = 0


@dataclass(frozen=True)
class Entry:
    """A tensor: dimensions in the order of the file, code of its type, bytes by these two, data as far as they are there."""

    name: bytes
    dims: tuple[int, ...]
    type: Any
    size: int
    data: Bytes


@dataclass(frozen=True)
class Envelope:
    """A file. `lies` are what it states by the path of the field, where that is not what an honest writer would state.

    order: the tensors as their data lie, where that is not their order in the table. trailing: bytes behind all that is promised.
    rest: what could not be taken apart, everything behind the last entry; there are no data then. flags: those of APR.
    """

    format: str
    metadata: tuple[Key, ...] = ()
    tensors: tuple[Entry, ...] = ()
    lies: Mapping[str, Lie] = field(default_factory=dict)
    order: tuple[int, ...] = ()
    rest: Bytes | None = None
    trailing: Bytes = b""
    flags: int = 0
    big_endian: bool = False

    @property
    def in_data_order(self) -> Sequence[int]:
        """The numbers of the tensors as their data lie."""
        return self.order or range(len(self.tensors))

    def says(self, path: str, honest: Lie) -> Lie:
        """What the file says there."""
        return self.lies.get(path, honest)

    def telling(self, lies: Mapping[str, Lie]) -> Envelope:
        """With other lies."""
        return replace(self, lies=dict(lies))

    def with_tensors(self, kept: Iterable[int]) -> Envelope:
        """With those tensors alone; lies go with what they are about. Texts that stand for the whole table go, too."""
        wanted = list(kept)
        places = {old: new for new, old in enumerate(wanted)}
        order = tuple(places[old] for old in self.order if old in places)
        lies = _moved(_moved(self.lies, "tensor", places), "padding", places)
        lies.pop("header.text", None)
        return replace(self, tensors=tuple(self.tensors[old] for old in wanted), order=order, lies=lies)

    def with_keys(self, kept: Iterable[int]) -> Envelope:
        """With those keys alone; likewise."""
        wanted = list(kept)
        lies = _moved(self.lies, "metadata", {old: new for new, old in enumerate(wanted)})
        for text in ("header.text", "metadata.text") if self.metadata else ():
            lies.pop(text, None)
        return replace(self, metadata=tuple(self.metadata[old] for old in wanted), lies=lies)

    def with_entry(self, number: int, entry: Entry) -> Envelope:
        """With another tensor in a place."""
        made = list(self.tensors)
        made[number] = entry
        return replace(self, tensors=tuple(made), lies={k: v for k, v in self.lies.items() if k != "header.text"})


def _moved(lies: Mapping[str, Lie], what: str, places: Mapping[int, int]) -> dict[str, Lie]:
    made = {}
    for path, lie in lies.items():
        found = _NUMBERED.fullmatch(path)
        if found is None or found[1] != what:
            made[path] = lie
        elif int(found[2]) in places:
            made[f"{what}[{places[int(found[2])]}]{found[3]}"] = lie
    return made


def number_of(path: str, what: str = "tensor") -> int | None:
    """Which tensor (or key) a lie is about.

    >>> number_of("tensor[3].dims[1]")
    3
    """
    found = _NUMBERED.fullmatch(path)
    return int(found[2]) if found is not None and found[1] == what else None


# From parts to bytes


def data_pieces(envelope: Envelope, alignment: int) -> Iterator[Bytes]:
    """The data of the tensors: what is not there is zeros, and so is padding that is not told otherwise."""
    for number in envelope.in_data_order:
        entry = envelope.tensors[number]
        yield entry.data[: entry.size]
        yield from _zeros(entry.size - len(entry.data))
        yield envelope.says(f"padding[{number}]", bytes(-entry.size % alignment))


def _zeros(count: int) -> Iterator[bytes]:
    for start in range(0, count, CHUNK):
        yield bytes(min(CHUNK, count - start))


def cut(pieces: Iterable[Bytes], size: int | None) -> Iterator[Bytes]:
    """The first bytes, or all. Raises TooLargeError."""
    written = 0
    for piece in pieces:
        if size is not None and written + len(piece) >= size:
            yield piece[: size - written]
            return
        written += len(piece)
        if written > LARGEST:
            raise TooLargeError(f"more than {LARGEST} bytes")
        yield piece


def offsets(envelope: Envelope, alignment: int) -> dict[int, int]:
    """Where the data of each tensor lie, from the beginning of the data."""
    found, at = {}, 0
    for number in envelope.in_data_order:
        found[number] = at
        size = envelope.tensors[number].size
        at += size + len(envelope.says(f"padding[{number}]", bytes(-size % alignment)))
    return found


def take_data(envelope: Envelope, view: memoryview, start: int, alignment: int, behind: int = 0) -> Envelope:
    """The data of the tensors, the padding between them, what trails, or the cut. `behind`: bytes of a footer."""
    lies, tensors, at = dict(envelope.lies), list(envelope.tensors), start
    for number in envelope.in_data_order:
        entry = tensors[number]
        tensors[number] = replace(entry, data=view[at : at + entry.size])
        at += entry.size
        padding = -entry.size % alignment
        there = bytes(view[at : at + padding])
        if any(there):
            lies[f"padding[{number}]"] = there + bytes(padding - len(there))
        at += padding
    at += behind
    if at > len(view):
        lies[SIZE] = len(view)
    return replace(envelope, tensors=tuple(tensors), lies=lies, trailing=view[at:])
