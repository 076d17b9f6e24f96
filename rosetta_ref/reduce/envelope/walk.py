"""From bytes to entries: a walk that finds out what a lying length, count or kind was, where that can be told.

A field that cannot be what it says is tried as everything that an honest writer may have written there; the first that lets all of
the rest be read is what it was. A count that the file cannot hold is found by reading as many entries as there are.
Guesses end where they have walked over a few megabytes: what was read by then stays, the rest is one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import calcsize
from typing import Any

from rosetta_ref.formats.fields.reader import Bytes, Reader
from rosetta_ref.reduce.envelope.parts import Lie

#: Bytes that guesses may walk over, beside the file's own; and what an entry costs beside its bytes.
_WALKED, _ENTRY = 6 << 20, 48


class StuckError(Exception):
    """A field cannot be what it says. `instead` are numbers that an honest writer may have written there."""

    def __init__(self, at: int, instead: Iterable[int] = ()) -> None:
        super().__init__(at)
        self.at = at
        self.instead = instead
        self.done: Taken = Taken((), 0, {})


@dataclass
class Work:
    """How far a walk may still go, in bytes; a file may be made to look like entries from any place on."""

    left: int

    @property
    def spent(self) -> bool:
        """Whether no more is tried."""
        return self.left <= 0


@dataclass
class Taken:
    """Entries of each section as far as they were read, where they end, and what they lie about."""

    sections: tuple[list[Any], ...]
    stop: int
    lies: dict[str, Lie]


@dataclass
class Guessing(Reader):
    """Reads the fields of an entry; numbers that are guessed are lies where they stand. All numbers are unsigned."""

    labelled: bool = False
    path: str = ""
    guesses: Mapping[int, int] = field(default_factory=dict)
    lies: dict[str, Lie] = field(default_factory=dict)

    def number(
        self,
        code: str,
        what: str,
        words: str = "",
        *,
        fits: Callable[[int], bool] | None = None,
        usual: Iterable[int] = (),
        problem: str = "",
        meaning: Callable[[int], str] | None = None,
    ) -> int:
        """The next unsigned number. Raises StuckError for one that does not fit."""
        at, size = self.position, _SIZES[code]
        if self.left < size:
            raise StuckError(at)
        stated = int.from_bytes(self.data[at : at + size], "big" if self.order == ">" else "little")
        self.position += size
        if at in self.guesses:
            self.lies[f"{self.path}.{what}"] = stated
            return self.guesses[at]
        if fits is not None and not fits(stated):
            raise StuckError(at, usual)
        return stated

    def raw(self, size: int, what: str = "", words: str = "", meaning: str = "") -> Bytes:
        """The next bytes. Raises StuckError."""
        if self.left < size:
            raise StuckError(self.position)
        self.position += size
        return self.data[self.position - size : self.position]


_SIZES = {code: calcsize("<" + code) for code in "bBhHiIqQefd"}
Parse = Callable[[Guessing], Any]


@dataclass(frozen=True)
class Section:
    """Entries of one kind: their path, how one is read, and how many; None where the count lies, so that it is to be found."""

    path: str
    parse: Parse
    count: int | None


def take(view: memoryview, at: int, sections: Sequence[Section], order: str = "<") -> tuple[Taken, bool]:
    """The entries, and whether all of them could be read: with one lie in them they can, where that can be told what it was."""
    work = Work(2 * len(view) + _WALKED)
    try:
        return _take(view, at, sections, (0,) * len(sections), {}, order, work), True
    except StuckError as error:
        stuck = error
    done = [len(section) for section in stuck.done.sections]
    begun = tuple(done) + (0,) * (len(sections) - len(done))
    for guess in stuck.instead:
        if work.spent:
            break
        try:
            more = _take(view, stuck.done.stop, sections, begun, {stuck.at: guess}, order, work)
        except StuckError:
            continue
        before = (*stuck.done.sections, *([] for _ in range(len(sections) - len(done))))
        joined = tuple([*old, *new] for old, new in zip(before, more.sections, strict=True))
        return Taken(joined, more.stop, stuck.done.lies | more.lies), True
    held = (*stuck.done.sections, *([] for _ in range(len(sections) - len(done))))
    return Taken(held, stuck.done.stop, stuck.done.lies), False


def _take(
    view: memoryview,
    at: int,
    sections: Sequence[Section],
    begun: Sequence[int],
    guesses: Mapping[int, int],
    order: str,
    work: Work,
) -> Taken:
    """All sections, each without the entries that were read before. Raises StuckError, with what was read."""
    if not sections:
        return Taken((), at, {})
    section, rest = sections[0], sections[1:]
    found: list[Any] = []
    stops, told = [at], [dict[str, Lie]()]
    while section.count is None or begun[0] + len(found) < section.count:
        reader = Guessing(view, order, stops[-1], path=f"{section.path}[{begun[0] + len(found)}]", guesses=guesses)
        try:
            entry = _parsed(section, reader, work)
        except StuckError as error:
            if section.count is None:
                break
            error.done = Taken((found,), stops[-1], told[-1])
            raise
        if section.count is None and not entry.name:
            break
        found.append(entry)
        stops.append(reader.position)
        told.append(told[-1] | reader.lies)
    number = len(found)
    while True:
        try:
            more = _take(view, stops[number], rest, begun[1:], guesses, order, work)
        except StuckError as error:
            error.done = Taken((found[:number], *error.done.sections), error.done.stop, told[number] | error.done.lies)
            if section.count is not None or not number or work.spent:
                raise
        else:
            named = all(entry.name for entries in more.sections for entry in entries)
            if named or section.count is not None or not number or work.spent:
                return Taken((found[:number], *more.sections), more.stop, told[number] | more.lies)
        number -= 1  # what was taken for an entry of this section begins the next one


def _parsed(section: Section, reader: Guessing, work: Work) -> Any:
    """The next entry; what it took is taken off the work that is left. Raises StuckError, also where none is left."""
    if work.spent:
        raise StuckError(reader.position)
    start = reader.position
    try:
        return section.parse(reader)
    finally:
        work.left -= reader.position - start + _ENTRY
