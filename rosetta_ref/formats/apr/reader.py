"""Reading an APR file: every rule of the container is checked before a tensor is handed out.

In order: magic and version, header checksum, flags, sections, metadata, index, shapes, sizes, alignment, overlap, length of the
file, padding, footer. Only the last two look at the data.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref import limits
from rosetta_ref.archive import CHUNK, Archive, FileMap, Part, Span, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import naming
from rosetta_ref.formats.apr import errors, index, metadata, shapes
from rosetta_ref.formats.apr.index import Entry
from rosetta_ref.formats.apr.tables import (
    ALIGNMENT,
    CHECKSUM,
    ENTRY_MINIMUM,
    GGML_TYPES,
    HEADER,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_ENTRY,
    MAX_METADATA,
    OTHERS,
    REFUSED,
    ROW_MAJOR,
    Header,
    aligned,
    flag_names,
)
from rosetta_ref.formats.crc import crc_of
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import RaggedRowError


@dataclass
class AprArchive(Archive):
    """What an APR file holds; `ill_fitting` is filled by a lenient reading only.

    It names the tensors whose size or type code is wrong, each with the error that a strict reading raises; they stand in
    `tensors` as bytes: U8, one dimension. `stated` has what the index says of them.
    """

    ill_fitting: dict[str, RosettaError] = field(default_factory=dict)
    stated: dict[str, Entry] = field(default_factory=dict)


@naming
def read(
    path: str | Path, *, shapes: shapes.Order | None = None, lenient: bool = False, check_footer: bool = True
) -> AprArchive:
    """The content of an APR v2 file; tensors in the order of their data, shapes row-major.

    `shapes` says which way round they stand in a file without the row-major flag; by default the embedding decides. With
    `lenient` a tensor whose size does not fit its type is kept as bytes and listed in `ill_fitting`, so that a broken file
    can be looked at. `check_footer=False` skips the pass over the whole file. Raises an AprError for everything else.
    """
    source = FileMap(path)
    try:
        archive = _read(source, shapes, lenient, check_footer)
    except BaseException:
        source.close()
        raise
    return archive


def _read(source: FileMap, order: shapes.Order | None, lenient: bool, check_footer: bool) -> AprArchive:
    header = _header(source)
    archive = AprArchive("apr", path=source.path)
    archive.metadata = _metadata(source, header)
    archive.notes += metadata.oddities(archive.metadata)
    entries, index_end = _index(source, header)
    entries = _row_major(entries, header, order, archive)
    for entry in entries:
        _check_entry(entry, archive, lenient)
    index.check_alignment(entries, header.data_offset)
    index.check_overlap(entries, header.data_offset)
    end, footer = end_of(source, header, entries)
    _note_padding(source, header, entries, index_end, end, archive)
    if not footer:
        archive.notes.append("no footer checksum: the engine realizar writes such files, `apr` does not")
    elif check_footer:
        _check_footer(source, end)
    _tensors(source, header, entries, archive)
    archive.parts = (Part(source, archive.metadata, tuple(archive.tensors)),)
    return archive


def _header(source: FileMap) -> Header:
    head = source.read(0, HEADER.size).tobytes()
    if head[:4] in OTHERS:
        raise errors.OldContainerError(f"this is {OTHERS[head[:4]]}", offset=0)
    if len(head) >= 4 and head[:4] != MAGIC:
        raise errors.NotAprError(f"begins with {head[:4].hex(' ')}", offset=0)
    if len(head) < HEADER.size:
        raise errors.TruncatedError(f"{len(head)} bytes are less than the header's {HEADER.size}", offset=len(head))
    header = Header(*HEADER.unpack(head))
    if (header.major, header.minor) != (2, 0):
        raise errors.VersionError(f"version {header.major}.{header.minor}", offset=4)
    found = zlib.crc32(head[CHECKSUM.stop :], zlib.crc32(head[: CHECKSUM.start]))
    if found != header.checksum:
        raise errors.HeaderChecksumError(
            f"the header says {header.checksum:#010x}, its bytes give {found:#010x}", offset=CHECKSUM.start
        )
    for bit, why in REFUSED.items():
        if header.flags & bit:
            raise errors.FlagError(f"flag {bit:#06x} ({flag_names(bit)[0]}) is set: {why}", offset=6)
    return header


def _metadata(source: FileMap, header: Header) -> dict[str, Any]:
    start, stop = header.metadata_offset, header.metadata_offset + header.metadata_size
    if header.metadata_size > MAX_METADATA:
        raise errors.LimitError(f"metadata of {header.metadata_size} bytes", offset=20)
    if not HEADER.size <= start <= stop <= header.index_offset <= header.data_offset:
        raise errors.SectionError(
            f"metadata at {start}..{stop}, index at {header.index_offset}, data at {header.data_offset}", offset=12
        )
    if header.data_offset > source.size:
        raise errors.TruncatedError(
            f"the data begin at byte {header.data_offset}, the file has {source.size}", offset=source.size
        )
    if header.data_offset % ALIGNMENT:
        raise errors.MisalignedError(f"the data section begins at {header.data_offset}", offset=32)
    try:
        return metadata.parse(source.read(start, stop).tobytes())
    except errors.MetadataError as error:
        raise error.at(offset=start) from error.__cause__


def _index(source: FileMap, header: Header) -> tuple[list[Entry], int]:
    size, count = header.data_offset - header.index_offset, header.tensor_count
    if count * ENTRY_MINIMUM <= size:  # else it is no question of limits
        limits.require("tensors", count, "the index", offset=8)
        size = min(size, MAX_ENTRY * count)
    else:
        size = min(size, MAX_ENTRY * limits.of("tensors"))
    section = source.read(header.index_offset, header.index_offset + size).data
    entries, length = index.parse(section, header.tensor_count, header.index_offset)
    return entries, header.index_offset + length


def _row_major(entries: list[Entry], header: Header, order: shapes.Order | None, archive: AprArchive) -> list[Entry]:
    if order is None and not header.flags & ROW_MAJOR:
        order = shapes.decide(entries, archive.metadata)
    if order != "ne":
        return entries
    archive.notes.append("shapes stand in GGUF's order (fastest dimension first) and were turned around; no byte moved")
    return [entry.turned() for entry in entries]


def _check_entry(entry: Entry, archive: AprArchive, lenient: bool) -> None:
    try:
        index.check_size(entry)
    except (errors.SizeMismatchError, errors.UnknownTypeError) as error:
        if not lenient:
            raise
        archive.ill_fitting[entry.name] = error.at(file=archive.path)
        archive.stated[entry.name] = entry
        archive.notes.append(f"tensor {entry.name!r} is kept as bytes: {error.problem}. {error.hint}")


def end_of(source: FileMap, header: Header, entries: list[Entry]) -> tuple[int, bool]:
    """Where data and padding end, and whether a footer follows. Raises TruncatedError, TrailingBytesError."""
    for entry in entries:
        if header.data_offset + entry.offset + entry.nbytes > source.size:
            raise errors.TruncatedError(
                f"{entry.nbytes} bytes are promised at {header.data_offset + entry.offset}, the file has {source.size}",
                tensor=entry.name,
                offset=source.size,
            )
    bare = header.data_offset + max((entry.offset + entry.nbytes for entry in entries), default=0)
    end = aligned(bare)
    if source.size in (bare, end):
        return source.size, False
    if source.size < end + 4:
        raise errors.TruncatedError(
            f"{source.size} bytes, where the padded data and the footer end at {end + 4}", offset=source.size
        )
    if source.size > end + 4:
        raise errors.TrailingBytesError(f"{source.size - end - 4} bytes too many", offset=end + 4)
    return end, True


def _note_padding(
    source: FileMap, header: Header, entries: list[Entry], index_end: int, end: int, archive: AprArchive
) -> None:
    last = header.data_offset + max((entry.offset + entry.nbytes for entry in entries), default=0)
    spans = [
        (header.metadata_offset + header.metadata_size, header.index_offset),
        (index_end, header.data_offset),
        *index.gaps(entries, header.data_offset),
        (last, end),
    ]
    amount = sum(stop - start for start, stop in spans)
    limits.require_padding(amount, sum(entry.nbytes for entry in entries), len(entries))
    for start, stop in spans:
        for at in range(start, stop, CHUNK):
            if source.read(at, min(at + CHUNK, stop)).any():
                archive.notes.append(f"padding at {start:#x}..{stop:#x} is not all zeros")
                break


def _check_footer(source: FileMap, end: int) -> None:
    found = crc_of(source, end)
    stored = int.from_bytes(source.read(end, end + 4).tobytes(), "little")
    if found != stored:
        raise errors.FooterChecksumError(f"the footer says {stored:#010x}, the bytes give {found:#010x}", offset=end)


def _tensors(source: FileMap, header: Header, entries: list[Entry], archive: AprArchive) -> None:
    true_types = archive.metadata.pop(GGML_TYPES, None)
    for entry in index.in_data_order(entries):
        at = header.data_offset + entry.offset
        ill = entry.name in archive.ill_fitting
        kind, shape = (TYPES["U8"], (entry.nbytes,)) if ill else (entry.type, entry.shape)
        archive.tensors[entry.name] = Tensor(entry.name, kind, shape, Span(source, at, entry.nbytes), source.path, at)
    if true_types is not None:
        _restore_types(true_types, archive)


def _restore_types(true_types: Any, archive: AprArchive) -> None:
    """Give the U8 tensors that `rosetta.ggml_types` lists their own type and shape. Raises GgmlTypesError."""
    if not isinstance(true_types, dict):
        raise errors.GgmlTypesError("the key is not an object")
    for name, said in true_types.items():
        stored = archive.tensors.get(name)
        if stored is None or stored.type.name != "U8":
            raise errors.GgmlTypesError("no U8 tensor of that name", tensor=name)
        kind, shape = _said(name, said)
        try:
            wanted = kind.nbytes(shape)
        except RaggedRowError as error:
            raise errors.GgmlTypesError(error.problem, tensor=name) from error
        if wanted != stored.nbytes or stored.shape[:-1] != shape[:-1]:
            raise errors.GgmlTypesError(
                f"{kind.name} of shape {list(shape)} takes {wanted} bytes, "
                f"the tensor has {stored.nbytes} as {list(stored.shape)}",
                tensor=name,
                offset=stored.offset,
            )
        archive.tensors[name] = Tensor(name, kind, shape, stored.source, stored.file, stored.offset)


def _said(name: str, said: Any) -> tuple[Any, tuple[int, ...]]:
    if not isinstance(said, dict) or not isinstance(said.get("type"), str) or said["type"] not in TYPES:
        raise errors.GgmlTypesError(f"{said!r} names no known type", tensor=name)
    shape = said.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(n) is int and 0 <= n < 1 << 64 for n in shape)
    ):
        raise errors.GgmlTypesError(f"{shape!r} is not a shape", tensor=name)
    return TYPES[said["type"]], tuple(shape)
