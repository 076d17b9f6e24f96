"""GGUF as parts that may lie. The walk over its fields is that of `formats.gguf.fields`, with guesses."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

from rosetta_ref.archive import Kind
from rosetta_ref.formats.gguf import fields
from rosetta_ref.formats.gguf.fields import HEADER
from rosetta_ref.formats.gguf.layout import ALIGNMENT_DEFAULT, ALIGNMENT_KEY, MAGIC, VERSION_WRITTEN, VERSIONS
from rosetta_ref.quant import BY_ID
from rosetta_ref.quant.block import RaggedRowError
from rosetta_ref.reduce.envelope.parts import SIZE, Bytes, Entry, Envelope, Key, data_pieces, offsets, take_data
from rosetta_ref.reduce.envelope.walk import Guessing, Section, StuckError, take

#: A file of a model is smaller; a tensor that is not lies about its dimensions.
_HUGE = 1 << 46
#: The type that is simplest, where the row of fastest elements stands among the dimensions, and the bytes behind the data.
PLAIN, FASTEST, FOOTER = 0, 0, 0


#: The field of a tensor that says where its data begin.
PLACE = "offset"


def size_of(code: int, dims: Sequence[int]) -> int | None:
    """The bytes of a tensor; None where type or dimensions cannot be."""
    if code not in BY_ID or any(not 0 <= n < 1 << 40 for n in dims):
        return None
    try:
        size = BY_ID[code].nbytes(tuple(dims)[::-1])
    except RaggedRowError:
        return None
    return size if size < _HUGE else None


def alignment_of(keys: Sequence[Key], order: str) -> int:
    """The alignment that the metadata ask for, if it is one."""
    for key in keys:
        if key.name == ALIGNMENT_KEY.encode() and key.kind == Kind.U32 and len(key.value) == 4:
            number = int.from_bytes(key.value, "big" if order == ">" else "little")
            if number.bit_count() == 1 and number < 1 << 20:
                return number
    return ALIGNMENT_DEFAULT


def alignment(envelope: Envelope) -> int:
    """What data begin at multiples of."""
    return alignment_of(envelope.metadata, ">" if envelope.big_endian else "<")


def placed(path: str, start: int, _size: int) -> dict[str, int]:
    """The lies of a tensor whose data are said to begin there; none where that cannot be said."""
    return {f"{path}.{PLACE}": start} if start >= 0 else {}


def unit(code: int) -> int:
    """Elements of a block."""
    return BY_ID[code].unit


# From parts to bytes


def pieces(envelope: Envelope) -> Iterator[Bytes]:
    """The bytes of a file, one piece after the other."""
    order = ">" if envelope.big_endian else "<"
    alignment = alignment_of(envelope.metadata, order)
    head = b"".join(_head(envelope, order, alignment))
    yield head
    if envelope.rest is not None:
        yield envelope.rest
        return
    yield envelope.says("padding.header", bytes(-len(head) % alignment))
    yield from data_pieces(envelope, alignment)
    yield envelope.trailing


def _head(envelope: Envelope, order: str, alignment: int) -> Iterator[Bytes]:
    def number(size: int, path: str, honest: int) -> bytes:
        return int(envelope.says(path, honest)).to_bytes(size, "big" if order == ">" else "little")

    yield envelope.says("header.magic", MAGIC)
    yield number(4, "header.version", VERSION_WRITTEN)
    yield number(8, "header.tensor_count", len(envelope.tensors))
    yield number(8, "header.metadata_count", len(envelope.metadata))
    for n, key in enumerate(envelope.metadata):
        yield number(8, f"metadata[{n}].key.length", len(key.name))
        yield key.name
        yield number(4, f"metadata[{n}].kind", key.kind)
        if key.kind == Kind.STRING:
            yield number(8, f"metadata[{n}].value.length", len(key.value))
        elif key.kind == Kind.ARRAY:
            yield number(4, f"metadata[{n}].value.item", key.item)
            yield number(8, f"metadata[{n}].value.count", key.count)
        yield key.value
    places = offsets(envelope, alignment)
    for n, entry in enumerate(envelope.tensors):
        yield number(8, f"tensor[{n}].name.length", len(entry.name))
        yield entry.name
        yield number(4, f"tensor[{n}].dims.count", len(entry.dims))
        for axis, extent in enumerate(entry.dims):
            yield number(8, f"tensor[{n}].dims[{axis}]", extent)
        yield number(4, f"tensor[{n}].type", entry.type)
        yield number(8, f"tensor[{n}].offset", places[n])


# From bytes to parts


def parse(view: memoryview) -> Envelope:
    """The parts of any bytes. Raises nothing."""
    head = bytes(view[:HEADER]).ljust(HEADER, b"\0")
    order = ">" if int.from_bytes(head[4:8], "big") in VERSIONS else "<"
    word = "big" if order == ">" else "little"
    version, *counts = (int.from_bytes(head[a:b], word) for a, b in pairwise((4, 8, 16, 24)))  # type: ignore[arg-type]
    least = (24, 13)  # bytes of a tensor, of a key
    tensors, keys = (None if n * size > len(view) else n for n, size in zip(counts, least, strict=True))
    sections = [Section("metadata", _key, keys), Section("tensor", _entry, tensors)]
    taken, whole = take(view, HEADER, sections, order) if len(view) > HEADER else (None, True)
    metadata, infos = taken.sections if taken is not None else ([], [])
    lies = dict(taken.lies) if taken is not None else {}
    stated = {"magic": head[:4], "version": version, "tensor_count": counts[0], "metadata_count": counts[1]}
    honest = {"magic": MAGIC, "version": VERSION_WRITTEN, "tensor_count": len(infos), "metadata_count": len(metadata)}
    lies |= {f"header.{name}": value for name, value in stated.items() if value != honest[name]}
    made = Envelope("gguf", tuple(metadata), lies=lies, big_endian=order == ">")
    stop = taken.stop if taken is not None else len(view)
    if len(view) < HEADER:
        return made.telling({**lies, SIZE: len(view)})
    made = replace(made, tensors=tuple(Entry(info.name, info.dims, info.type, 0, b"") for info in infos))
    alignment = alignment_of(made.metadata, order)
    padding = -stop % alignment
    made = _placed(made, [info.offset for info in infos], order, max(len(view) - stop - padding, 0))
    if not whole:
        return replace(made, rest=view[stop:])
    there = bytes(view[stop : stop + padding])
    if any(there):
        made = made.telling({**made.lies, "padding.header": there + bytes(padding - len(there))})
    return take_data(made, view, stop + padding, alignment)


def _entry(reader: Guessing) -> fields.Entry:
    info = fields.entry(reader, 0)
    if reader.lies and (size_of(info.type, info.dims) is None or info.offset > len(reader.data)):
        raise StuckError(reader.position)  # a guess that makes no sense
    return info


def _key(reader: Guessing) -> Key:
    found = fields.key(reader, 0)
    return Key(found.name, reader.data[found.value_at : found.stop], found.kind, found.item, found.count)


def _placed(envelope: Envelope, stated: list[int], order: str, size: int) -> Envelope:
    """With the sizes of the tensors, and what lies of type, dimensions and offset."""
    lies, made = dict(envelope.lies), []
    ends = sorted({*stated, size})
    for number, entry in enumerate(envelope.tensors):
        following = bisect_right(ends, stated[number])
        end = min(ends[following], size) if following < len(ends) else size
        room = max(end - min(stated[number], size), 0)
        fitting = _honest(entry, room)
        if fitting.type != entry.type:
            lies[f"tensor[{number}].type"] = entry.type
        for axis, (says, is_) in enumerate(zip(entry.dims, fitting.dims, strict=True)):
            if says != is_:
                lies[f"tensor[{number}].dims[{axis}]"] = says
        made.append(fitting)
    found = replace(envelope, tensors=tuple(made))
    places = offsets(found, alignment_of(found.metadata, order))
    lies |= {f"tensor[{n}].offset": offset for n, offset in enumerate(stated) if offset != places[n]}
    return found.telling(lies)


def _honest(entry: Entry, room: int) -> Entry:
    """Type and dimensions as they may have been, where they cannot be: those that fill the room there is, if there are such."""
    size = size_of(entry.type, entry.dims)
    if size is not None:
        return replace(entry, size=size)
    codes = [entry.type] if entry.type in BY_ID else [PLAIN, *BY_ID]
    sizes = {code: size for code in codes if (size := size_of(code, entry.dims)) is not None and size <= room}
    if sizes:
        code = max(sizes, key=sizes.__getitem__)
        return replace(entry, type=code, size=sizes[code])
    code = codes[0]
    unit, block = BY_ID[code].unit, BY_ID[code].block_bytes
    fast = entry.dims[0] if entry.dims and size_of(code, entry.dims[:1]) is not None else 0
    if fast and fast // unit * block > max(room, block):
        fast = 0
    first = fast or (unit if len(entry.dims) > 1 else max(room // block, 1) * unit)
    rows = max(room // (max(first // unit, 1) * block), 1)
    dims = ([first, *(1 for _ in entry.dims[2:]), rows] if len(entry.dims) > 1 else [first])[: len(entry.dims)]
    return replace(entry, type=code, dims=tuple(dims), size=size_of(code, dims) or prod(dims) // unit * block)
