"""APR as parts that may lie. The walk over its index is that of `formats.apr.fields`, with guesses."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rosetta_ref.formats.apr import fields
from rosetta_ref.formats.apr.tables import ALIGNMENT, CHECKSUM, HEADER, MAGIC, REFUSED, TYPES_BY_CODE, Header
from rosetta_ref.quant.block import RaggedRowError
from rosetta_ref.reduce.envelope import text
from rosetta_ref.reduce.envelope.parts import SIZE, Bytes, Entry, Envelope, Lie, data_pieces, offsets, take_data
from rosetta_ref.reduce.envelope.walk import Guessing, Section, StuckError, take

_VERSION = (2, 0)
_U8 = 7
_HUGE = 1 << 46
#: The type that is simplest, where the row of fastest elements stands among the dimensions, and the bytes behind the data.
PLAIN, FASTEST, FOOTER = 0, -1, 4
#: Bits of the flags that an honest writer of one whole file does not set.
_NEVER = sum(REFUSED)
#: The least that an entry takes.
_LEAST = 20


#: The field of a tensor that says where its data begin.
PLACE = "offset"


def size_of(code: int, dims: Sequence[int]) -> int | None:
    """The bytes of a tensor; None where type or dimensions cannot be."""
    kind = TYPES_BY_CODE.get(code)
    if kind is None or any(n >= 1 << 40 for n in dims):
        return None
    try:
        size = kind.nbytes(tuple(dims))
    except RaggedRowError:
        return None
    return size if size < _HUGE else None


def alignment(envelope: Envelope) -> int:
    """What data begin at multiples of."""
    return ALIGNMENT


def placed(path: str, start: int, _size: int) -> dict[str, int]:
    """The lies of a tensor whose data are said to begin there; none where that cannot be said."""
    return {f"{path}.{PLACE}": start} if start >= 0 else {}


def unit(code: int) -> int:
    """Elements of a block."""
    return TYPES_BY_CODE[code].unit


# From parts to bytes


def pieces(envelope: Envelope) -> Iterator[Bytes]:
    """The bytes of a file, one piece after the other; the checksum of the footer is made on the way."""
    checksum = 0
    for piece in _pieces(envelope):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if envelope.rest is None:
        yield int(envelope.says("footer.crc32", checksum)).to_bytes(FOOTER, "little")
        yield envelope.trailing


def _pieces(envelope: Envelope) -> Iterator[Bytes]:
    metadata = envelope.says("metadata.text", text.of_keys(envelope.metadata))
    metadata_padding = envelope.says("padding.metadata", bytes(-len(metadata) % ALIGNMENT))
    index_at = HEADER.size + len(metadata) + len(metadata_padding)
    index = b"".join(_index(envelope))
    padding = envelope.says("padding.index", bytes(-(index_at + len(index)) % ALIGNMENT))
    honest = Header(
        MAGIC, *_VERSION, envelope.flags, len(envelope.tensors), HEADER.size, len(metadata), index_at,
        index_at + len(index) + len(padding), 0,
    )  # fmt: skip
    said = Header(*(envelope.says(f"header.{name}", value) for name, value in zip(Header._fields, honest, strict=True)))
    head = HEADER.pack(*said[:-1], 0)[: HEADER.size - 20] + envelope.says("header.reserved", bytes(20))
    head = head[: CHECKSUM.start] + struct.pack("<I", _checksum(envelope, head)) + head[CHECKSUM.stop :]
    yield head
    yield metadata
    yield metadata_padding
    yield index
    if envelope.rest is not None:
        yield envelope.rest
        return
    yield padding
    yield from data_pieces(envelope, ALIGNMENT)


def _checksum(envelope: Envelope, head: bytes) -> int:
    return int(envelope.says("header.crc32", zlib.crc32(head[CHECKSUM.stop :], zlib.crc32(head[: CHECKSUM.start]))))


def _index(envelope: Envelope) -> Iterator[bytes]:
    def number(size: int, path: str, honest: int) -> bytes:
        return int(envelope.says(path, honest)).to_bytes(size, "little")

    places = offsets(envelope, ALIGNMENT)
    for n, entry in enumerate(envelope.tensors):
        yield number(2, f"tensor[{n}].name.length", len(entry.name))
        yield entry.name
        yield number(1, f"tensor[{n}].type", entry.type)
        yield number(1, f"tensor[{n}].dims.count", len(entry.dims))
        for axis, extent in enumerate(entry.dims):
            yield number(8, f"tensor[{n}].dims[{axis}]", extent)
        yield number(8, f"tensor[{n}].offset", places[n])
        yield number(8, f"tensor[{n}].size", entry.size)


# From bytes to parts


def parse(view: memoryview) -> Envelope:
    """The parts of any bytes. Raises nothing."""
    head = bytes(view[: HEADER.size]).ljust(HEADER.size, b"\0")
    stated = Header(*HEADER.unpack(head))
    lies: dict[str, Lie] = {"header.reserved": head[-20:]} if any(head[-20:]) else {}
    metadata_stop = _metadata_stop(view, stated)
    raw = bytes(view[HEADER.size : metadata_stop])
    keys = text.keys_of(raw)
    if text.of_keys(keys) != raw:
        lies["metadata.text"] = raw
    index_at = _padded(view, metadata_stop, stated.index_offset, "padding.metadata", lies)
    bound = stated.data_offset if index_at <= stated.data_offset <= len(view) else len(view)
    count = None if stated.tensor_count * _LEAST > bound - index_at else stated.tensor_count
    taken, whole = take(view[:bound], index_at, [Section("tensor", _line, count)])
    lines: list[fields.Entry] = taken.sections[0]
    lies |= taken.lies
    data_at = _padded(view, taken.stop, stated.data_offset, "padding.index", lies) if whole else 0
    flags = stated.flags & ~_NEVER
    made = Envelope("apr", keys, flags=flags, rest=None if whole else view[taken.stop :])
    made = _placed(replace(made, lies=lies), lines)
    honest = Header(
        MAGIC, *_VERSION, flags, len(lines), HEADER.size, len(raw), index_at,
        data_at if whole else taken.stop + (-taken.stop % ALIGNMENT), 0,
    )  # fmt: skip
    lies = dict(made.lies)
    for name, says, is_ in zip(Header._fields[:-1], stated, honest, strict=False):
        if says != is_:
            lies[f"header.{name}"] = says
    made = made.telling(lies)
    if stated.checksum != _checksum(made, head):
        lies["header.crc32"] = stated.checksum
    if len(view) < HEADER.size:
        return made.telling({**lies, SIZE: len(view)})
    return _with_data(made.telling(lies), view, data_at) if whole else made.telling(lies)


def _with_data(envelope: Envelope, view: memoryview, start: int) -> Envelope:
    """With the data, and with a footer that is wrong, or cut."""
    made = take_data(envelope, view, start, ALIGNMENT, FOOTER)
    end = start + sum(entry.size + -entry.size % ALIGNMENT for entry in made.tensors)
    stated = bytes(view[end : end + FOOTER])
    if not stated:
        return made
    checksum = 0
    for piece in _pieces(made):
        checksum = zlib.crc32(piece, checksum)
    if checksum.to_bytes(FOOTER, "little").startswith(stated):
        return made
    return made.telling({**made.lies, "footer.crc32": int.from_bytes(stated.ljust(FOOTER, b"\0"), "little")})


def _metadata_stop(view: memoryview, stated: Header) -> int:
    """Where the metadata end: as is said, where that can be; else where the JSON does, or where the index begins."""
    start, stop = HEADER.size, HEADER.size + stated.metadata_size
    if stop <= min(len(view), stated.index_offset):
        return stop
    limit = stated.index_offset if start <= stated.index_offset <= len(view) else len(view)
    length = text.length_of(view[start:limit])
    return min(start, len(view)) + (length if length is not None else 0)


def _padded(view: memoryview, at: int, stated: int, path: str, lies: dict[str, Lie]) -> int:
    """Where the next section begins: as is said, where that can be; and the padding before it, where it is not the usual one."""
    usual = at + -at % ALIGNMENT
    begins = stated if at <= stated <= len(view) and stated - at < 1 << 20 else usual
    there = bytes(view[at:begins]).ljust(begins - at, b"\0")
    if begins != usual or any(there):
        lies[path] = there
    return begins


def _line(reader: Guessing) -> fields.Entry:
    line = fields.entry(reader, 0)
    if reader.lies and size_of(line.type, line.dims) != line.size:  # a guess that makes no sense
        raise StuckError(reader.position)
    return line


def _placed(envelope: Envelope, lines: Sequence[fields.Entry]) -> Envelope:
    """With the tensors, and what lies of their type, dimensions, size and offset."""
    lies, tensors = dict(envelope.lies), []
    for number, line in enumerate(lines):
        entry = _honest(line)
        stated = {"type": line.type, "size": line.size} | {f"dims[{axis}]": n for axis, n in enumerate(line.dims)}
        honest = {"type": entry.type, "size": entry.size} | {f"dims[{axis}]": n for axis, n in enumerate(entry.dims)}
        lies |= {f"tensor[{number}].{what}": says for what, says in stated.items() if says != honest[what]}
        tensors.append(entry)
    made = replace(envelope, tensors=tuple(tensors))
    by_data = tuple(sorted(range(len(lines)), key=lambda number: (lines[number].offset, lines[number].size)))
    for order in ((), by_data):
        places = offsets(replace(made, order=order), ALIGNMENT)
        wrong = {f"tensor[{n}].offset": line.offset for n, line in enumerate(lines) if line.offset != places[n]}
        if not wrong:
            return replace(made, order=order, lies=lies)
    places = offsets(made, ALIGNMENT)
    lies |= {f"tensor[{n}].offset": line.offset for n, line in enumerate(lines) if line.offset != places[n]}
    return made.telling(lies)


def _honest(line: fields.Entry) -> Entry:
    """What would be true: of a type that cannot be, one that takes that many bytes; of dimensions, those that do as U8."""
    size = size_of(line.type, line.dims)
    if size is not None:
        return Entry(line.name, line.dims, line.type, size, b"")
    for code in () if line.type in TYPES_BY_CODE else (_U8, *TYPES_BY_CODE):
        if size_of(code, line.dims) == line.size:
            return Entry(line.name, line.dims, code, line.size, b"")
    said = line.size if line.size < _HUGE else 0
    kind = TYPES_BY_CODE.get(line.type)
    code = line.type if kind is not None and kind.elements == 1 and said % kind.block_bytes == 0 else _U8
    dims = (*(1 for _ in line.dims[1:]), said // TYPES_BY_CODE[code].block_bytes)[-len(line.dims) :]
    return Entry(line.name, dims if line.dims else (), code, size_of(code, dims if line.dims else ()) or 0, b"")
