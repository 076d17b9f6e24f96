"""How the fields of a file are read: the places of a grammar that whoever walks over a file fills with what it wants to know.

The grammar of a format (`gguf.fields.key`) calls `number` and `raw` of a `Reader`. A `Walk` writes down each field. Another reader
may guess what a lying number was (`reduce.envelope.walk`); that is why a number is read with what it may be.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.formats.fields.field import Field, between, rest, shown
from rosetta_ref.formats.fields.stored import MOST_ROWS, Stored

#: Fields of one file that are told apart; a file of 64 KiB cannot have more.
MOST_FIELDS = 1 << 17
#: Bytes that tensors may hold together beside the file's own: overlapping ones hold the same bytes again and again.
_AGAIN = 1 << 16

_SIZES = {code: struct.calcsize("<" + code) for code in "bBhHiIqQefd"}

Bytes = bytes | memoryview


class LostError(Exception):
    """Nothing from here on can be explained; the message says why."""


@dataclass
class Reader(ABC):
    """A place in a file. `order` is "<" or ">"; `title` names the key or tensor that is read."""

    data: Bytes
    order: str = "<"
    position: int = 0
    title: str = ""
    #: Whether the words of fields are wanted, and how deep arrays within each other are followed.
    labelled: bool = True
    deepest: int | None = None

    @property
    def left(self) -> int:
        """Bytes to the end; below zero where the place is behind it."""
        return len(self.data) - self.position

    @abstractmethod
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
        """The next number, by its code of `struct`.

        what, words: the part of its entry that it is ("dims.count"), and that in words. fits: whether it can be that number;
        `usual` are numbers that writers put there, `problem` says why nothing can be read behind one that does not fit.
        meaning: what a number stands for. Raises LostError, or what another reader raises.
        """

    @abstractmethod
    def raw(self, size: int, what: str, words: str = "", meaning: str = "") -> Bytes:
        """The next bytes as they are. Raises LostError where there are not so many."""

    def numbers(self, count: int, code: str, what: str, words: str = "") -> None:
        """The next numbers as one field. Raises LostError where there are not so many."""
        self.raw(count * struct.calcsize("<" + code), what, words)


@dataclass
class Walk(Reader):
    """A walk over a file, and what it found.

    found: the fields as they were read; `fields` lays them side by side. keys, entries: those of metadata and tensor table, as far
    as they were read; each format has a class of its own. tensors: where data lie. reasons: why nothing is known from an offset on.
    alignment: what sections begin at multiples of. most: fields that are told apart.
    """

    found: list[Field] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)
    tensors: list[Stored] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    alignment: int = 1
    most: int = MOST_FIELDS
    #: Claims what is found by where the data end: a footer.
    ending: Callable[[Walk], None] | None = None

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
        """The next number, as a field. Raises LostError at the end of the file, and for one that does not fit."""
        label, form = self._label(words), self.order + code
        data = self._next(_SIZES[code], label)
        value: int = struct.unpack(form, data)[0]
        self._claim(data, what, label, form, meaning(value) if meaning else "")
        if problem and fits is not None and not fits(value):
            raise LostError(problem.format(label=label, title=self.title, value=value))
        return value

    def numbers(self, count: int, code: str, what: str, words: str = "") -> None:
        """The next numbers as one field. Raises LostError where there are not so many."""
        label = self._label(words)
        data = self._next(count * struct.calcsize("<" + code), label)
        self._claim(data, what, label, f"{self.order}{count}{code}")

    def raw(self, size: int, what: str, words: str = "", meaning: str = "") -> bytes:
        """The next bytes, as a field. Raises LostError where there are not so many."""
        label = self._label(words)
        data = self._next(size, label)
        self._claim(data, what, label, f"{size}s", meaning)
        return data

    def lose(self, error: LostError) -> None:
        """Remember why nothing is known from this position on."""
        self.reasons[self.position] = str(error)

    @property
    def room(self) -> int:
        """How many more fields are told apart."""
        return self.most - len(self.found)

    def fields(self) -> Iterator[Field]:
        """Fields side by side from the first byte to the last, with those of the data."""
        header = self.found
        try:
            self.found = [*header, *self._of_data()]
            if self.ending is not None:
                self.ending(self)
            return iter([*self._tiled()])
        finally:
            self.found = header

    def _of_data(self) -> Iterator[Field]:
        """The data of the tensors, each as its fields. Where many hold the same bytes, the last ones are not told apart."""
        left, count = len(self.data) + _AGAIN, len(self.found)
        for tensor in self.tensors:
            if tensor.stop - tensor.start > left:
                continue
            left -= tensor.stop - tensor.start
            parts = len(tensor.kind.dtype.names or ()) if tensor.kind is not None else 1
            for one in tensor.fields(bytes(self.data), min(MOST_ROWS, max((self.most - count) // max(parts, 1), 1))):
                count += 1
                yield one

    def _tiled(self) -> Iterator[Field]:
        position = 0
        for claim in sorted(self.found, key=lambda claim: claim.offset):
            if claim.end <= position or not claim.size:
                continue
            if claim.offset < position:
                claim = rest(claim, position)
            yield from between(self, position, claim.offset)
            yield claim
            position = claim.end
        yield from between(self, position, len(self.data))

    def _label(self, words: str) -> str:
        return f"{self.title} / {words}" if self.title else words

    def _next(self, size: int, label: str) -> bytes:
        left = len(self.data) - self.position
        if size > max(left, 0):
            raise LostError(f"{label} of {size} bytes, {max(left, 0)} are left")
        return bytes(self.data[self.position : self.position + size])

    def _claim(self, data: bytes, what: str, label: str, form: str, meaning: str = "") -> None:
        if len(self.found) >= self.most:
            raise LostError(f"more than {self.most:,} fields")
        self.found.append(Field(self.position, data, label, form, meaning, None, what))
        self.position += len(data)


def titled(kind: str, number: int, name: bytes) -> str:
    """The title of an entry whose name is known."""
    return f"{kind}[{number}] {shown(name)}"
