"""The walk over an APR file, in the words of `formats.apr.tables`: each section stands where the header says.

It never raises; see `formats.fields`.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

from rosetta_ref.formats.apr import tables
from rosetta_ref.formats.fields.reader import MOST_FIELDS, LostError, Reader, Walk, titled
from rosetta_ref.formats.fields.stored import Stored
from rosetta_ref.formats.safetensors.fields import numbers, parsed
from rosetta_ref.quant import TYPES, BlockType

#: Lengths of names and numbers of dimensions that an honest writer puts there.
_LENGTHS, _DIMENSIONS = range(tables.MAX_NAME + 1), range(tables.MAX_DIMENSIONS + 1)


@dataclass(frozen=True)
class Entry:
    """A line of the index, from `start` to `stop`: type at `type_at`, shape behind that, place at `offset_at`."""

    name: bytes
    dims: tuple[int, ...]
    type: int
    offset: int
    size: int
    start: int
    type_at: int
    offset_at: int
    stop: int


def walk(data: bytes, most: int = MOST_FIELDS) -> Walk:
    """All that is known of a file; of so many fields of the header at most."""
    made = Walk(data, alignment=tables.ALIGNMENT, most=most, ending=_footer)
    try:
        header = _header(made)
        kinds = _kinds_beside(_metadata(made, header))
        made.position = header.index_offset
        for number in range(header.tensor_count):
            made.entries.append(entry(made, number))
            made.tensors.append(_stored(made.entries[-1], header.data_offset, kinds, len(data)))
    except LostError as error:
        made.lose(error)
    return made


def _header(made: Walk) -> tables.Header:
    if made.data[:4] in tables.OTHERS:
        other = bytes(made.raw(4, "magic", "header.magic"))
        raise LostError(tables.OTHERS[other])
    codes = re.findall(r"\d*[a-zA-Z]", tables.HEADER.format)
    values: list[Any] = [made.raw(len(tables.MAGIC), "magic", "header.magic")]
    for name, code in zip(tables.Header._fields[1:], codes[1:], strict=False):
        meaning = (lambda flags: ", ".join(tables.flag_names(flags))) if name == "flags" else None
        values.append(made.number(code, name, f"header.{name}", meaning=meaning))
    made.raw(tables.HEADER.size - made.position, "reserved", "header.reserved")
    return tables.Header(*values)


def _metadata(made: Walk, header: tables.Header) -> dict[str, Any]:
    made.position = header.metadata_offset
    try:
        return parsed(made.raw(header.metadata_size, "metadata", "metadata"))
    except LostError as error:
        made.lose(error)
        return {}


def _kinds_beside(metadata: dict[str, Any]) -> dict[str, tuple[BlockType, tuple[int, ...]]]:
    """The true types and shapes of ggml tensors that are stored as U8."""
    named = metadata.get(tables.GGML_TYPES)
    kinds = {}
    for name, entry in named.items() if isinstance(named, dict) else ():
        said = entry.get("type") if isinstance(entry, dict) else None
        kind = TYPES.get(said) if isinstance(said, str) else None
        shape = numbers(entry.get("shape")) if kind else None
        if kind is not None and shape is not None:
            kinds[name] = (kind, shape)
    return kinds


def entry(reader: Reader, number: int) -> Entry:
    """The next line of the index."""
    start, reader.title = reader.position, f"index[{number}]"
    left = reader.left
    length = reader.number("H", "name.length", "name length", fits=lambda n: n <= left, usual=_LENGTHS)
    name = bytes(reader.raw(length, "name", "name"))
    type_at, reader.title = reader.position, titled("index", number, name) if reader.labelled else ""
    code = reader.number("B", "type", "type", meaning=_type_name)
    room = reader.left // 8
    count = reader.number("B", "dims.count", "dimensions", fits=lambda n: n <= room, usual=_DIMENSIONS)
    dims = tuple(reader.number("Q", f"dims[{i}]", f"dims[{i}]") for i in range(count))
    offset_at = reader.position
    offset, size = reader.number("Q", "offset", "offset"), reader.number("Q", "size", "size")
    return Entry(name, dims, code, offset, size, start, type_at, offset_at, reader.position)


def _stored(one: Entry, base: int, kinds: dict[str, tuple[BlockType, tuple[int, ...]]], end: int) -> Stored:
    name = one.name.decode("utf-8", "surrogateescape")
    start = min(base + one.offset, end)
    kind, shape = kinds.get(name, (tables.TYPES_BY_CODE.get(one.type), one.dims))
    return Stored(name, kind, shape, start, min(start + one.size, end))


def _type_name(code: int) -> str:
    return tables.TYPES_BY_CODE[code].name if code in tables.TYPES_BY_CODE else "no type"


def _footer(made: Walk) -> None:
    """The checksum at the end, where the data leave just room for it, or where it is right. Some writers leave it out."""
    end = len(made.data) - 4
    claimed = max((claim.end for claim in made.found), default=0)
    wanted = zlib.crc32(made.data[:end])
    is_right = made.data[end:] == wanted.to_bytes(4, "little")
    if made.room > 0 and (is_right or tables.aligned(claimed) == end):
        made.position, made.title = end, ""
        made.number(
            "I",
            "footer",
            "footer.crc32",
            meaning=lambda _: "right" if is_right else f"not that of the bytes before, {wanted:#010x}",
        )
