"""Fields as lines of at most 16 bytes, each with its name and what its bytes stand for."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from rosetta_ref.reduce.fields import Field
from rosetta_ref.reduce.fields.stored import values_of

_WIDTH = 16
#: Lines of one key, or of one tensor's data, that are shown: of those that are right, and of those that are not.
_MOST = {False: 24, True: 64}
_NUMPY = {"e": np.float16, "f": np.float32, "d": np.float64}


@dataclass(frozen=True)
class Line:
    """Some bytes, those that a right file has there, and what they are; `first` begins a field."""

    offset: int
    data: bytes
    wanted: bytes
    said: str
    first: bool = True

    @property
    def differs(self) -> bool:
        """Whether any byte is not the right one."""
        return self.data != self.wanted


@dataclass(frozen=True)
class Left:
    """Bytes that are not shown, and what they are a part of; `zeros` where they are nothing else."""

    count: int
    group: str
    zeros: bool


def lines_of(fields: Iterable[Field], wanted: bytes) -> Iterator[Line | Left]:
    """The lines of fields; `wanted` is the whole file as it would be right. Zeros after zeros, and what is long, is left out."""
    for group, members in groupby(fields, key=lambda field: field.group):
        lines = [line for field in members for line in _lines(field, wanted)]
        for is_left, run in groupby(zip(lines, _left_out(lines), strict=True), key=lambda pair: pair[1]):
            members_of_run = [line for line, _ in run]
            if is_left:
                data = b"".join(line.data for line in members_of_run)
                yield Left(len(data), group, zeros=not any(data))
            else:
                yield from members_of_run


def _left_out(lines: list[Line]) -> Iterator[bool]:
    shown = {False: 0, True: 0}
    after_zeros = False
    for line in lines:
        is_zero = not line.differs and not any(line.data)
        is_left = (is_zero and after_zeros and not line.first) or shown[line.differs] >= _MOST[line.differs]
        shown[line.differs] += not is_left
        after_zeros = is_zero
        yield is_left


def _lines(field: Field, wanted: bytes) -> Iterator[Line]:
    for at in range(0, field.size, _WIDTH):
        piece = field.data[at : at + _WIDTH]
        offset = field.offset + at
        yield Line(offset, piece, wanted[offset : offset + len(piece)], _said(field, at, piece), first=not at)


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
    return repr(piece)[1:]
