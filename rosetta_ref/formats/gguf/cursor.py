"""A place in a file that can only move forward and never past the end."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref import limits
from rosetta_ref.archive import FileMap, Kind
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.gguf import layout
from rosetta_ref.formats.gguf.errors import ImpossibleCountError, LongStringError, TextUtf8Error, TruncatedHeaderError

#: Bytes that are read of every file. Most of what has no vocabulary is smaller.
_FIRST = 1 << 16


@dataclass
class Cursor:
    """Reads primitives at `position` of `view`. `order` is "<" or ">", the byte order of the file.

    With a `source`, `view` is as much of the file's beginning as was needed so far: `Cursor.over` makes such a one.
    """

    view: memoryview
    file: Path
    lenient: bool = False
    source: FileMap | None = None
    position: int = 0
    order: str = "<"
    notes: list[str] = field(default_factory=list)
    _bent: set[type[RosettaError]] = field(default_factory=set)

    @classmethod
    def over(cls, source: FileMap, *, lenient: bool) -> Cursor:
        """A cursor at the beginning of a file."""
        return cls(source.read(0, _FIRST).data, source.path, lenient, source)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.view) if self.source is None else self.source.size

    def peek(self, start: int, stop: int) -> bytes:
        """The bytes from start to stop, or to the end of the file; the position stays."""
        if stop <= len(self.view) or self.source is None:
            return bytes(self.view[start:stop])
        return self.source.read(start, stop).tobytes()

    def bend(self, error: RosettaError) -> None:
        """Raise that error; or, when lenient, note it (once per rule) and go on."""
        error.at(file=self.file)
        if not self.lenient:
            raise error
        if type(error) not in self._bent:
            self._bent.add(type(error))
            self.notes.append(f"let pass: {error}")

    @property
    def left(self) -> int:
        """Bytes between the position and the end of the file."""
        return self.size - self.position

    def need(self, size: int, what: str) -> None:
        """Raise TruncatedHeaderError unless `size` more bytes are there."""
        if size > self.left:
            raise TruncatedHeaderError(
                f"{what} needs {size} bytes, {self.left} are left", file=self.file, offset=self.position
            )
        if self.position + size > len(self.view):
            self._load(self.position + size)

    def _load(self, stop: int) -> None:
        """Have the file up to there, and then some, so that the beginning is not read too often."""
        assert self.source is not None
        limits.require("header-bytes", stop, "metadata and tensor table", file=self.file, offset=self.position)
        self.view = self.source.read(0, max(stop, 4 * len(self.view))).data

    def expect(self, count: int, least: int, what: str) -> None:
        """Raise ImpossibleCountError unless `count` entries of at least that many bytes can follow."""
        if count * least > self.left:
            raise ImpossibleCountError(
                f"{count} {what} of at least {least} bytes each, {self.left} bytes are left",
                file=self.file,
                offset=self.position,
            )

    def fields(self, codes: str, what: str) -> tuple[Any, ...]:
        """The next fields, by their `struct` codes."""
        form = self.order + codes
        stop = self.position + struct.calcsize(form)
        if stop > len(self.view):
            self.need(stop - self.position, what)
        values = struct.unpack_from(form, self.view, self.position)
        self.position = stop
        return values

    def number(self, code: str, what: str) -> int:
        """The next field, an integer."""
        return int(self.fields(code, what)[0])

    def numbers(self, kind: Kind, count: int, what: str) -> NDArray[Any]:
        """The next `count` values of a numeric kind: a fresh little-endian array, NaN payloads kept."""
        dtype = kind.dtype
        assert dtype is not None, kind
        self.need(count * dtype.itemsize, what)
        values = np.frombuffer(self.view, dtype, count, self.position)
        self.position += values.nbytes
        return values.copy() if self.order == "<" else values.byteswap()

    def text(self, what: str) -> str:
        """The next string. Raises LongStringError, TruncatedHeaderError, and TextUtf8Error where strict."""
        at = self.position
        length = self.number(layout.LENGTH, f"the length of {what}")
        if length > layout.LENGTH_LIMIT:
            raise LongStringError(f"{what} of {length} bytes", file=self.file, offset=at)
        self.need(length, what)
        raw = self.view[self.position : self.position + length]
        self.position += length
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            self.bend(TextUtf8Error(f"{what}: {error.reason}", offset=at + 8 + error.start))
            return str(raw, "utf-8", "surrogateescape")

    def texts(self, count: int, what: str) -> list[str]:
        """The next `count` strings. Vocabularies are what takes time in a file, so this has a loop of its own."""
        found: list[str] = []
        while len(found) < count:
            self._plain_texts(found, count)
            if len(found) < count:
                found.append(self.text(f"{what}[{len(found)}]"))
        return found

    def _plain_texts(self, found: list[str], count: int) -> None:
        """Append strings up to `count`, or up to one that `text` has to look at."""
        view, start, size, limit = self.view, self.position, len(self.view) - 8, layout.LENGTH_LIMIT
        length_at, append = struct.Struct(self.order + layout.LENGTH).unpack_from, found.append
        try:
            for _ in range(count - len(found)):
                if start > size:
                    break
                (length,) = length_at(view, start)
                if length > limit or start + length > size:
                    break
                end = start + 8 + length
                append(str(view[start + 8 : end], "utf-8"))
                start = end
        except UnicodeDecodeError:
            pass  # `start` is still at the string that is not UTF-8
        self.position = start
