"""The parts of a file that may lie: what it holds, and beside it every field that says something else than an honest writer would.

The layout is the honest one: entries behind each other, data padded. A field that says otherwise is a lie by its path, an absolute
value, and moves nothing. So a file is these parts, byte for byte, whatever it says; and a part that is taken away takes its
lies with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    """A tensor: dimensions in the order of the file, the code of its type, the bytes it has by these, its data as far as they are there."""

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


# From bytes to parts


class StuckError(Exception):
    """A field cannot be what it says. `instead` are numbers that an honest writer may have written there."""

    def __init__(self, at: int, instead: Iterable[int] = ()) -> None:
        super().__init__(at)
        self.at = at
        self.instead = instead
        self.done: Taken = Taken((), 0, {})


@dataclass
class Taken:
    """Entries of each section as far as they were read, where they end, and what they lie about."""

    sections: tuple[list[Any], ...]
    stop: int
    lies: dict[str, Lie]


@dataclass
class Reader:
    """Reads fields of an entry; numbers that are guessed are lies where they stand."""

    view: memoryview
    at: int
    order: str
    path: str = ""
    guesses: Mapping[int, int] = field(default_factory=dict)
    lies: dict[str, Lie] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Bytes to the end."""
        return len(self.view) - self.at

    def number(
        self, size: int, what: str, wrong: Callable[[int], bool] = lambda n: False, instead: Iterable[int] = ()
    ) -> int:
        """The next unsigned number. Raises StuckError for one that is wrong."""
        if self.left < size:
            raise StuckError(self.at)
        stated = int.from_bytes(self.view[self.at : self.at + size], "big" if self.order == ">" else "little")
        at, self.at = self.at, self.at + size
        if at in self.guesses:
            self.lies[f"{self.path}.{what}"] = stated
            return self.guesses[at]
        if wrong(stated):
            raise StuckError(at, instead)
        return stated

    def raw(self, size: int) -> memoryview:
        """The next bytes."""
        if self.left < size:
            raise StuckError(self.at)
        self.at += size
        return self.view[self.at - size : self.at]


Parse = Callable[[Reader], Any]


@dataclass(frozen=True)
class Section:
    """Entries of one kind: their path, how one is read, and how many; None where the count lies, so that it is to be found."""

    path: str
    parse: Parse
    count: int | None


def take(view: memoryview, at: int, sections: Sequence[Section], order: str = "<") -> tuple[Taken, bool]:
    """The entries, and whether all of them could be read: with one lie in them they can, where that can be told what it was."""
    try:
        return _take(view, at, sections, (0,) * len(sections), {}, order), True
    except StuckError as error:
        stuck = error
    done = [len(section) for section in stuck.done.sections]
    begun = tuple(done) + (0,) * (len(sections) - len(done))
    for guess in stuck.instead:
        try:
            more = _take(view, stuck.done.stop, sections, begun, {stuck.at: guess}, order)
        except StuckError:
            continue
        before = (*stuck.done.sections, *([] for _ in range(len(sections) - len(done))))
        joined = tuple([*old, *new] for old, new in zip(before, more.sections, strict=True))
        return Taken(joined, more.stop, stuck.done.lies | more.lies), True
    held = (*stuck.done.sections, *([] for _ in range(len(sections) - len(done))))
    return Taken(held, stuck.done.stop, stuck.done.lies), False


def _take(
    view: memoryview, at: int, sections: Sequence[Section], begun: Sequence[int], guesses: Mapping[int, int], order: str
) -> Taken:
    """All sections, each without the entries that were read before. Raises StuckError, with what was read."""
    if not sections:
        return Taken((), at, {})
    section, rest = sections[0], sections[1:]
    found: list[Any] = []
    stops, told = [at], [dict[str, Lie]()]
    while section.count is None or begun[0] + len(found) < section.count:
        reader = Reader(view, stops[-1], order, f"{section.path}[{begun[0] + len(found)}]", guesses)
        try:
            entry = section.parse(reader)
        except StuckError as error:
            if section.count is None:
                break
            error.done = Taken((found,), stops[-1], told[-1])
            raise
        if section.count is None and not entry.name:
            break
        found.append(entry)
        stops.append(reader.at)
        told.append(told[-1] | reader.lies)
    number = len(found)
    while True:
        try:
            more = _take(view, stops[number], rest, begun[1:], guesses, order)
        except StuckError as error:
            error.done = Taken((found[:number], *error.done.sections), error.done.stop, told[number] | error.done.lies)
            if section.count is not None or not number:
                raise
        else:
            named = all(entry.name for entries in more.sections for entry in entries)
            if named or section.count is not None or not number:
                return Taken((found[:number], *more.sections), more.stop, told[number] | more.lies)
        number -= 1  # what was taken for an entry of this section begins the next one
