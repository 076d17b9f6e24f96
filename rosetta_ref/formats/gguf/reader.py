"""One file: its metadata, its tensors, and every rule that can be checked without looking at their data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.archive import FileMap, Part, Source, Span, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import NotAFileError, UnreadableTextError
from rosetta_ref.formats.gguf import errors, layout
from rosetta_ref.formats.gguf.cursor import Cursor
from rosetta_ref.formats.gguf.endian import Swapped, has_wide_fields
from rosetta_ref.formats.gguf.placement import Entry, check_placement
from rosetta_ref.formats.gguf.values import alignment_of, read_metadata, small_alignment
from rosetta_ref.quant import BY_ID, BlockType
from rosetta_ref.quant.loaded import loaded_dtype


@dataclass(frozen=True)
class Header:
    """What a file begins with. `order` is "<" or ">"."""

    version: int
    order: str
    tensors: int
    keys: int


@dataclass(frozen=True)
class OneFile:
    """A file on its own, whatever set it belongs to."""

    part: Part
    tensors: dict[str, Tensor]
    notes: list[str]

    @property
    def metadata(self) -> dict[str, Value]:
        """Its own metadata, `split.*` included."""
        return self.part.metadata


def read_one(path: Path, *, lenient: bool) -> OneFile:
    """Read one file. Raises UnreadableFileError where the system refuses, else the error of the rule that is broken."""
    try:
        file = FileMap(path)
    except (UnreadableTextError, NotAFileError) as error:
        raise errors.UnreadableFileError(error.problem, file=path) from error
    try:
        return _read(file, Cursor.over(file, lenient=lenient))
    except RosettaError as error:
        file.close()
        raise error.at(file=path)  # noqa: B904 - it is the same error
    except BaseException:
        file.close()
        raise


def _read(file: FileMap, cursor: Cursor) -> OneFile:
    header = read_header(cursor)
    metadata = read_metadata(cursor, header.keys)
    alignment = alignment_of(metadata)
    small = small_alignment(alignment)
    if small is not None:
        cursor.bend(small)
    entries = _table(cursor, header.tensors)
    start = cursor.position + layout.padding(cursor.position, alignment)
    check_placement(cursor, entries, start, alignment)
    tensors = {entry.name: _tensor(file, entry, start, header.order) for entry in entries}
    if header.order == ">":
        cursor.notes.append(f"{file.path.name} is big-endian: values are swapped as they are read")
    return OneFile(Part(file, metadata, tuple(tensors)), tensors, cursor.notes)


def read_header(cursor: Cursor) -> Header:
    """The header; from here on the cursor knows the byte order. Raises NotGgufError, RetiredVersionError, UnknownVersionError."""
    magic = cursor.peek(0, len(layout.MAGIC))
    if magic != layout.MAGIC:
        cursor.need(1, "the magic")
        hint = "It looks like GGML, the format before GGUF." if magic in (b"lmgg", b"tjgg", b"fmgg") else None
        raise errors.NotGgufError(f"the file begins with {magic!r}", offset=0, hint=hint)
    cursor.position = len(magic)
    cursor.need(4, "the version")
    raw = cursor.peek(4, 8)
    little, big = int.from_bytes(raw, "little"), int.from_bytes(raw, "big")
    if 1 in (little, big):
        raise errors.RetiredVersionError("version 1", offset=4, hint="Convert the original model again.")
    if little not in layout.VERSIONS and big not in layout.VERSIONS:
        raise errors.UnknownVersionError(f"version {min(little, big)}", offset=4)
    cursor.order = "<" if little in layout.VERSIONS else ">"
    version, tensors, keys = cursor.fields(layout.HEADER, "the header")
    if tensors < 0 or keys < 0:
        raise errors.NegativeCountError(f"{tensors} tensors, {keys} keys", offset=8 if tensors < 0 else 16)
    return Header(version, cursor.order, tensors, keys)


def _table(cursor: Cursor, count: int) -> list[Entry]:
    cursor.expect(count, layout.TENSOR_LEAST, "tensors")
    limits.require("tensors", count, "the tensor table", offset=8)
    entries: dict[str, Entry] = {}
    for number in range(count):
        entry = read_entry(cursor, number)
        if entry.name in entries:
            raise errors.DuplicateTensorError("it is there twice", tensor=entry.name, offset=entry.at)
        entries[entry.name] = entry
    return list(entries.values())


def read_entry(cursor: Cursor, number: int) -> Entry:
    """A line of the tensor table; whether it may stand there is another question."""
    at = cursor.position
    name = cursor.text(f"the name of tensor {number}")
    size = cursor.position - at - layout.STRING_LEAST
    try:
        if size > layout.NAME_LIMIT_READ:
            cursor.bend(errors.LongNameError(f"a name of {size} bytes", offset=at))
        shape = _shape(cursor)
        id_, offset = cursor.fields(layout.PLACE, "type and offset")
        kind = type_of(id_)
        nbytes = kind.nbytes(shape)
        if max(nbytes, offset + nbytes) > layout.SIZE_LIMIT:
            raise errors.HugeTensorError(f"{nbytes} bytes at offset {offset}")
    except RosettaError as error:
        raise error.at(tensor=name, offset=at)  # noqa: B904 - it is the same error
    return Entry(name, kind, shape, offset, nbytes, at)


def _shape(cursor: Cursor) -> tuple[int, ...]:
    at = cursor.position
    count = cursor.number(layout.DIMENSIONS, "the number of dimensions")
    if count > layout.DIMENSION_LIMIT_READ:
        raise errors.DimensionCountError(f"{count} dimensions", offset=at)
    shape = layout.turned(cursor.fields(f"{count}{layout.DIMENSION}", "the dimensions"))
    if min(shape, default=0) < 0:
        raise errors.NegativeDimensionError(f"shape {shape}", offset=at)
    if math.prod(max(n, 1) for n in shape) > layout.SIZE_LIMIT:
        raise errors.HugeTensorError(f"shape {shape}", offset=at)
    return shape


def type_of(id_: int) -> BlockType:
    """The type of an id. Raises RemovedTypeError, UnknownTensorTypeError."""
    if id_ in layout.REMOVED_TYPES:
        raise errors.RemovedTypeError(
            f"type {id_} is {layout.REMOVED_TYPES[id_]}", hint="Convert the original model again."
        )
    if id_ not in BY_ID:
        raise errors.UnknownTensorTypeError(f"type {id_}")
    return BY_ID[id_]


def _tensor(file: FileMap, entry: Entry, start: int, order: str) -> Tensor:
    source: Source = Span(file, start + entry.offset, entry.nbytes)
    dtype = loaded_dtype(entry.type)
    if order == ">" and has_wide_fields(dtype):
        source = Swapped(source, dtype)
    return Tensor(entry.name, entry.type, entry.shape, source, file.path, start + entry.offset)
