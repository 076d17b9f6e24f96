"""The reader's view of the tensor index: entries, checked one by one and against each other."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rosetta_ref.formats.apr import errors
from rosetta_ref.formats.apr.tables import (
    ALIGNMENT,
    CODES,
    ENTRY_MINIMUM,
    ENTRY_TAIL,
    MAX_DIMENSIONS,
    MAX_NAME,
    TYPES_BY_CODE,
    size_of,
)
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import RaggedRowError


@dataclass(frozen=True)
class Entry:
    """One entry: `shape` as it stands in the file, `offset` from the data section, `at` where the entry itself stands."""

    name: str
    code: int
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    at: int

    @property
    def type(self) -> BlockType:
        """The type of the code. Raises UnknownTypeError."""
        found = TYPES_BY_CODE.get(self.code)
        if found is None:
            raise errors.UnknownTypeError(
                f"type code {self.code} is not in the table", tensor=self.name, offset=self.at, hint=self._hint()
            )
        return found

    def _hint(self) -> str:
        return f"By its size it could be {fitting_types(self.shape, self.nbytes)}."

    def turned(self) -> Entry:
        """The same entry with its dimensions in the opposite order."""
        return replace(self, shape=self.shape[::-1])


def parse(section: memoryview, count: int, at: int) -> tuple[list[Entry], int]:
    """The `count` entries of the bytes that begin at file offset `at`, and where the last one ends.

    Raises IndexEntryError, TensorNameError, LimitError, UnsortedIndexError, DuplicateNameError.
    """
    if count * ENTRY_MINIMUM > len(section):
        raise errors.IndexEntryError(
            f"{count} entries take at least {count * ENTRY_MINIMUM} bytes, the index has {len(section)}", offset=at
        )
    entries: list[Entry] = []
    position, last = 0, b""
    for number in range(count):
        try:
            entry, stop, raw = _entry(section, position, at)
        except struct.error as error:
            raise errors.IndexEntryError(f"entry {number} of {count} is cut off", offset=at + position) from error
        if number and raw <= last:
            _refuse_order(entry, raw == last)
        entries.append(entry)
        position, last = stop, raw
    return entries, position


def _entry(section: memoryview, start: int, at: int) -> tuple[Entry, int, bytes]:
    (length,) = struct.unpack_from("<H", section, start)
    if length > MAX_NAME:
        raise errors.LimitError(f"a name of {length} bytes", offset=at + start)
    (raw,) = struct.unpack_from(f"{length}s", section, start + 2)
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.TensorNameError(f"the name {raw!r} is not UTF-8", offset=at + start) from error
    if not name:
        raise errors.TensorNameError("an empty name", offset=at + start)
    position = start + 2 + length
    code, dimensions = struct.unpack_from("<BB", section, position)
    if dimensions > MAX_DIMENSIONS:
        raise errors.LimitError(f"a shape of {dimensions} dimensions", tensor=name, offset=at + position)
    shape = struct.unpack_from(f"<{dimensions}Q", section, position + 2)
    position += 2 + 8 * dimensions
    offset, nbytes = ENTRY_TAIL.unpack_from(section, position)
    return Entry(name, code, shape, offset, nbytes, at + start), position + ENTRY_TAIL.size, raw


def _refuse_order(entry: Entry, equal: bool) -> None:
    if equal:
        raise errors.DuplicateNameError("the name stands twice in the index", tensor=entry.name, offset=entry.at)
    raise errors.UnsortedIndexError("the entry stands behind one of a greater name", tensor=entry.name, offset=entry.at)


#: Of each type that an APR file can hold: its name, elements and bytes of a block, whether its last block is padded.
_SIZES = [
    (kind.name, kind.elements, kind.dtype.itemsize, kind.padded)
    for kind in TYPES.values()
    if kind.id is not None or kind.name in CODES
]


def fitting_types(shape: Sequence[int], nbytes: int) -> str:
    """The types of which a tensor of that shape takes that many bytes, for a message: "Q5_0, Q5_K".

    >>> fitting_types((256, 256), 45056)
    'Q5_0, Q5_K'
    """
    count, row = math.prod(shape), shape[-1] if shape else 1
    fits = [
        name
        for name, elements, size, padded in _SIZES
        if (
            size + count == nbytes
            if not elements
            else (padded or not row % elements) and -(-count // elements) * size == nbytes
        )
    ]
    return ", ".join(fits) or "no type that is known here"


def check_size(entry: Entry) -> None:
    """Raises SizeMismatchError where the bytes are not those of type and shape, with the types that would fit."""
    kind = entry.type
    try:
        wanted: int | None = size_of(kind, entry.shape)
        problem = f"{kind.name} of shape {list(entry.shape)} takes {wanted} bytes, the index says {entry.nbytes}"
    except RaggedRowError as error:
        wanted, problem = None, error.problem
    if wanted == entry.nbytes:
        return
    fits = fitting_types(entry.shape, entry.nbytes)
    verb = "fits" if fits.startswith("no type") else "would fit"
    raise errors.SizeMismatchError(
        problem, tensor=entry.name, offset=entry.at, hint=f"Of {entry.nbytes} bytes, {fits} {verb}."
    )


def check_alignment(entries: Sequence[Entry], data_offset: int) -> None:
    """Raises MisalignedError."""
    for entry in entries:
        if entry.offset % ALIGNMENT:
            raise errors.MisalignedError(
                f"the data begin at {entry.offset}, not a multiple of {ALIGNMENT}",
                tensor=entry.name,
                offset=data_offset + entry.offset,
            )


def in_data_order(entries: Sequence[Entry]) -> list[Entry]:
    """The entries as their bytes follow each other; an empty tensor before the one it shares its offset with."""
    return sorted(entries, key=lambda entry: (entry.offset, entry.nbytes))


def check_overlap(entries: Sequence[Entry], data_offset: int) -> None:
    """Raises OverlapError; tensors without bytes share nothing."""
    for before, after in pairwise(in_data_order([entry for entry in entries if entry.nbytes])):
        if before.offset + before.nbytes > after.offset:
            raise errors.OverlapError(
                f"the data begin inside those of {before.name!r}", tensor=after.name, offset=data_offset + after.offset
            )


def gaps(entries: Sequence[Entry], data_offset: int) -> Iterator[tuple[int, int]]:
    """The (start, stop) spans of the file between tensors that no tensor owns."""
    for before, after in pairwise(in_data_order(entries)):
        stop = before.offset + before.nbytes
        if after.offset > stop:
            yield data_offset + stop, data_offset + after.offset
