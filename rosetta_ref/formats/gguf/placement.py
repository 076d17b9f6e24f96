"""Where the data of tensors may lie: checked as a whole, before any of it is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rosetta_ref import limits
from rosetta_ref.formats.gguf import errors
from rosetta_ref.formats.gguf.cursor import Cursor
from rosetta_ref.formats.gguf.layout import padding
from rosetta_ref.quant import BlockType


@dataclass(frozen=True)
class Entry:
    """A line of the tensor table. `at` is where in the file it stands; `offset` counts from the beginning of the data."""

    name: str
    type: BlockType
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    at: int

    @property
    def end(self) -> int:
        """Where its bytes end, counted like `offset`."""
        return self.offset + self.nbytes


def check_placement(cursor: Cursor, entries: Sequence[Entry], start: int, alignment: int) -> None:
    """Raise the error of the first rule that is broken. `start` is where the data begins in the file."""
    _inside(cursor, entries, start, alignment)
    _apart(entries)
    _in_order(cursor, entries, alignment)
    _padded(cursor, entries, start, alignment)


def _inside(cursor: Cursor, entries: Sequence[Entry], start: int, alignment: int) -> None:
    size = cursor.size
    for entry in entries:
        if entry.offset % alignment:
            problem = f"offset {entry.offset} is no multiple of {alignment}"
            raise errors.TensorAlignmentError(problem, tensor=entry.name, offset=entry.at)
        if start + entry.end > size and entry.nbytes:
            problem = f"its data ends at byte {start + entry.end:#x}, the file at {size:#x}"
            raise errors.TruncatedDataError(problem, tensor=entry.name, offset=entry.at)


def _apart(entries: Sequence[Entry]) -> None:
    filled = sorted((entry for entry in entries if entry.nbytes), key=lambda entry: entry.offset)
    for first, second in pairwise(filled):
        if second.offset < first.end:
            problem = f"it begins at {second.offset}, inside the data of {first.name!r}"
            raise errors.TensorOverlapError(problem, tensor=second.name, offset=second.at)


def _in_order(cursor: Cursor, entries: Sequence[Entry], alignment: int) -> None:
    expected = 0
    for entry in entries:
        if entry.offset != expected:
            problem = f"its offset is {entry.offset}, the tensor before it ends at {expected}"
            cursor.bend(errors.TensorGapError(problem, tensor=entry.name, offset=entry.at))
        expected = entry.end + padding(entry.end, alignment)


def _padded(cursor: Cursor, entries: Sequence[Entry], start: int, alignment: int) -> None:
    """Padding is there and zero. A file without data may end with its tensor table: gguf-py's vocabulary files do."""
    size = cursor.size
    ends = [cursor.position, *(start + entry.end for entry in entries if entry.nbytes)]
    gaps = [padding(end - start, alignment) for end in ends]
    limits.require_padding(sum(gaps), sum(entry.nbytes for entry in entries), len(entries), file=cursor.file)
    for end, gap in zip(ends, gaps, strict=True):
        blank = cursor.peek(end, end + gap) if gap else b""
        if blank.count(0) < len(blank):
            place = len(blank) - len(blank.lstrip(b"\0"))
            problem = f"padding has a byte {blank[place]:#x}"
            cursor.bend(errors.PaddingValueError(problem, offset=end + place))
    last = max(ends)
    whole = last + padding(last - start, alignment)
    if size > whole:
        cursor.bend(errors.TrailingDataError(f"{size - whole} bytes follow the last tensor", offset=whole))
    if size < whole and len(ends) > 1:
        cursor.bend(errors.MissingPaddingError(f"{whole - size} bytes of padding are missing", offset=size))
