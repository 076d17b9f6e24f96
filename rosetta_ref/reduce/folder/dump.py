"""Fields as lines of at most 16 bytes, each with its name and what its bytes stand for."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from rosetta_ref.formats.fields import Field
from rosetta_ref.formats.fields.field import printable
from rosetta_ref.formats.fields.stored import values_of

_WIDTH = 16
#: Lines of one key, or of one tensor's data, that are shown: of those that are right, and of those that are not.
_MOST = {False: 24, True: 64}
#: Lines of one file.
_MOST_OF_FILE = 4096
_NUMPY = {"e": np.float16, "f": np.float32, "d": np.float64}


@dataclass(frozen=True)
class Line:
    """Some bytes of a field, and those that a right file has there."""

    field: Field
    at: int
    data: bytes
    wanted: bytes

    @property
    def offset(self) -> int:
        """Where in the file they stand."""
        return self.field.offset + self.at

    @property
    def first(self) -> bool:
        """Whether they begin the field."""
        return not self.at

    @property
    def differs(self) -> bool:
        """Whether any byte is not the right one."""
        return self.data != self.wanted

    @property
    def said(self) -> str:
        """What they are."""
        return _said(self.field, self.at, self.data)


@dataclass(frozen=True)
class Left:
    """Bytes that are not shown, and what they are a part of; `zeros` where they are nothing else."""

    count: int
    group: str
    zeros: bool


def lines_of(fields: Iterable[Field], wanted: bytes) -> Iterator[Line | Left]:
    """The lines of fields; `wanted` is the whole file as it would be right. Zeros after zeros, and what is long, is left out."""
    shown = 0
    groups = ((group, _marked(members, wanted)) for group, members in groupby(fields, key=lambda field: field.group))
    for group, marked in groups:
        for is_left, run in groupby(marked, key=lambda pair: pair[1]):
            if is_left:
                yield _left([line for line, _ in run], group)
                continue
            for line, _ in run:
                yield line
                shown += 1
                if shown == _MOST_OF_FILE and line.offset + len(line.data) < len(wanted):
                    yield Left(len(wanted) - line.offset - len(line.data), "the file", zeros=False)
                    return


def _left(lines: Sequence[Line], group: str) -> Left:
    return Left(sum(len(line.data) for line in lines), group, zeros=not any(any(line.data) for line in lines))


def _marked(fields: Iterable[Field], wanted: bytes) -> Iterator[tuple[Line, bool]]:
    """The lines of a group, each with whether it is left out."""
    shown = {False: 0, True: 0}
    after_zeros = False
    for line in (line for field in fields for line in _lines(field, wanted)):
        is_zero = not line.differs and not any(line.data)
        is_left = (is_zero and after_zeros and not line.first) or shown[line.differs] >= _MOST[line.differs]
        shown[line.differs] += not is_left
        after_zeros = is_zero
        yield line, is_left


def _lines(field: Field, wanted: bytes) -> Iterator[Line]:
    for at in range(0, field.size, _WIDTH):
        piece = field.data[at : at + _WIDTH]
        offset = field.offset + at
        yield Line(field, at, piece, wanted[offset : offset + len(piece)])


def _said(field: Field, at: int, piece: bytes) -> str:
    """The name of a line's bytes, which of the field's elements they are, and their values."""
    code = field.format[-1]
    meaning = f" ({field.meaning})" if field.meaning and not at else ""
    if code == "s":
        text = _text(piece)
        return (field.label if not at else "") + (f" = {text}" if text else "") + meaning
    size = struct.calcsize("<" + code)
    count = field.size // size
    values = _values(field, piece, code)
    where = "" if len(piece) == field.size else f"[{at // size}:{(at + len(piece)) // size}]"
    # Codes that share a byte say nothing as numbers: their hex digits do.
    told = "" if code == "B" and count > 1 and not field.kind else " = " + " ".join(map(str, values))
    return f"{field.label}{where}{told}{meaning}"


def _values(field: Field, piece: bytes, code: str) -> Iterable[Any]:
    """The numbers of a line: decoded where they are a row of numbers as such, else as `struct` has them."""
    size = struct.calcsize("<" + code)
    if field.kind is not None and field.format[0] == "<" and code == "H":
        decoded = values_of(field.kind, piece)
        if decoded is not None:
            return list(decoded)
    values = struct.unpack(f"{field.format[0]}{len(piece) // size}{code}", piece)
    with np.errstate(over="ignore"):
        return [_NUMPY[code](value) if code in _NUMPY else value for value in values]


def _text(piece: bytes) -> str:
    """Bytes as text, where they are mostly that."""
    if not any(32 <= byte < 127 for byte in piece):
        return ""
    return printable(repr(piece)[1:])
