"""SafeTensors as parts that may lie. A walk of its own: only the tables are shared with the reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from rosetta_ref.formats.safetensors.table import BITS, HEADER_ALIGNMENT, MAX_HEADER, METADATA_KEY
from rosetta_ref.reduce.envelope import text
from rosetta_ref.reduce.envelope.parts import SIZE, Bytes, Entry, Envelope, Key, data_pieces, offsets, take_data

_HUGE = 1 << 46
#: The type that is simplest, where the row of fastest elements stands among the dimensions, and the bytes behind the data.
PLAIN, FASTEST, FOOTER = "F32", -1, 0
#: The span of a tensor that says none.
_NOWHERE = (-1, -1)
_FIELDS = ["dtype", "shape", "data_offsets"]
#: Of more dimensions nobody has an array, and their product takes long.
_MOST_DIMENSIONS = 256


#: The field of a tensor that says where its data begin.
PLACE = "data_offsets[0]"


def size_of(dtype: Any, dims: Sequence[Any]) -> int | None:
    """The bytes of a tensor; None where type or dimensions cannot be."""
    if not isinstance(dtype, str) or dtype not in BITS or len(dims) > _MOST_DIMENSIONS:
        return None
    if any(type(n) is not int or not 0 <= n < 1 << 40 for n in dims):
        return None
    bits = prod(dims) * BITS[dtype]
    return bits // 8 if bits % 8 == 0 and bits < _HUGE else None


def alignment(envelope: Envelope) -> int:
    """What data begin at multiples of."""
    return 1


def placed(path: str, start: int, size: int) -> dict[str, int]:
    """The lies of a tensor whose data are said to begin there."""
    return {f"{path}.{PLACE}": start, f"{path}.data_offsets[1]": start + size}


def unit(dtype: str) -> int:
    """The least elements that are whole bytes."""
    return {4: 2, 6: 4}.get(BITS[dtype], 1)


# From parts to bytes


def pieces(envelope: Envelope) -> Iterator[Bytes]:
    """The bytes of a file, one piece after the other."""
    header = envelope.says("header.text", None)
    if header is None:
        header = _header(envelope)
        header += b" " * (-len(header) % HEADER_ALIGNMENT)
    yield int(envelope.says("header.length", len(header))).to_bytes(8, "little")
    yield header
    yield from data_pieces(envelope, 1)
    yield envelope.trailing


def _header(envelope: Envelope) -> bytes:
    members = []
    if "metadata.text" in envelope.lies or envelope.metadata:
        members.append((text.dumps(METADATA_KEY), envelope.says("metadata.text", text.of_keys(envelope.metadata))))
    places = offsets(envelope, 1)
    for n, entry in enumerate(envelope.tensors):
        members.append((text.dumps(entry.name.decode("utf-8", "surrogatepass")), _entry(envelope, n, entry, places[n])))
    return text.object_of(members)


def _entry(envelope: Envelope, n: int, entry: Entry, start: int) -> bytes:
    path = f"tensor[{n}]"
    span = [
        envelope.says(f"{path}.data_offsets[{end}]", at) for end, at in enumerate((start, start + entry.size))
    ]  # fmt: skip
    said = {
        "dtype": envelope.says(f"{path}.dtype", entry.type),
        "shape": envelope.says(f"{path}.shape", list(entry.dims)),
        "data_offsets": envelope.says(f"{path}.data_offsets", span),
    }
    made: bytes = envelope.says(f"{path}.entry", text.dumps(said))
    return made


# From bytes to parts


def parse(view: memoryview) -> Envelope:
    """The parts of any bytes. Raises nothing."""
    stated = int.from_bytes(bytes(view[:8]).ljust(8, b"\0"), "little")
    length = stated if 8 + stated <= len(view) and stated <= MAX_HEADER else _found_length(view)
    raw = bytes(view[8 : 8 + length])
    made = _of_header(text.pairs_of(raw) or [])
    written = _header(made)
    lies = dict(made.lies)
    if written + b" " * (-len(written) % HEADER_ALIGNMENT) != raw:
        lies["header.text"] = raw
    if stated != length:
        lies["header.length"] = stated
    if len(view) < 8:
        return Envelope("safetensors", lies={**lies, SIZE: len(view)})
    return take_data(made.telling(lies), view, 8 + length, 1)


def _found_length(view: memoryview) -> int:
    """The length of a header that does not say it: where its text ends, with the spaces behind it."""
    found = text.length_of(view[8:])
    if found is None:
        return max(len(view) - 8, 0)
    while found % HEADER_ALIGNMENT and bytes(view[8 + found : 9 + found]) == b" ":
        found += 1
    return found


def _of_header(pairs: Sequence[tuple[str, Any]]) -> Envelope:
    lies: dict[str, Any] = {}
    keys: tuple[Key, ...] = ()
    tensors: list[Entry] = []
    stated: list[tuple[int, int]] = []
    for name, value in pairs:
        if name == METADATA_KEY:
            raw = text.dumps(value)
            keys = text.keys_of(raw)
            if text.of_keys(keys) != raw or not keys:
                lies["metadata.text"] = raw
            continue
        entry, span = _stated(name, value, f"tensor[{len(tensors)}]", lies)
        tensors.append(entry)
        stated.append(span)
    made = Envelope("safetensors", keys, tuple(tensors), lies)
    by_data = tuple(sorted(range(len(stated)), key=lambda n: stated[n]))
    for order in ((), by_data):
        if not (wrong := _wrong(replace(made, order=order), stated)):
            return replace(made, order=order)
    wrong = _wrong(made, stated)
    return made.telling({**lies, **wrong})


def _wrong(envelope: Envelope, stated: Sequence[tuple[int, int]]) -> dict[str, int]:
    places = offsets(envelope, 1)
    return {
        f"tensor[{n}].data_offsets[{end}]": says
        for n, span in enumerate(stated)
        for end, (says, is_) in enumerate(zip(span, (places[n], places[n] + envelope.tensors[n].size), strict=True))
        if says != is_ and span != _NOWHERE
    }


def _stated(name: str, value: Any, path: str, lies: dict[str, Any]) -> tuple[Entry, tuple[int, int]]:
    """A tensor as far as its entry is one, what else it says among the lies, and its span."""
    fields = value if isinstance(value, dict) else {}
    dtype, shape, said = (fields.get(field) for field in _FIELDS)
    is_span = isinstance(said, list) and len(said) == 2 and all(type(n) is int for n in said)
    span = (said[0], said[1]) if said is not None and is_span else _NOWHERE
    room = span[1] - span[0] if 0 <= span[1] - span[0] < _HUGE else 0
    dims = tuple(shape) if isinstance(shape, list) else ()
    size = size_of(dtype, dims)
    known = dtype if isinstance(dtype, str) and dtype in BITS else None
    if size is None:
        dims, dtype_ = _fitting(known, dims, room)
        size = size_of(dtype_, dims) or 0
    else:
        dtype_ = str(dtype)
    if dtype_ != dtype:
        lies[f"{path}.dtype"] = dtype
    if list(dims) != shape:
        lies[f"{path}.shape"] = shape
    if not is_span:
        lies[f"{path}.data_offsets"] = said
    if list(fields) != _FIELDS:
        for field in _FIELDS:
            lies.pop(f"{path}.{field}", None)
        lies[f"{path}.entry"], span = text.dumps(value), _NOWHERE
    entry = Entry(name.encode("utf-8", "surrogatepass"), dims, dtype_, size, b"")
    return entry, span


def _fitting(dtype: str | None, dims: tuple[Any, ...], room: int) -> tuple[tuple[int, ...], str]:
    """Dimensions and a type that take the bytes of the span."""
    for kind in (dtype, "U8", "F16", "F32", "F64"):
        if kind is not None and size_of(kind, dims) == room:
            return dims, kind
    if dtype is not None and (room * 8) % BITS[dtype] == 0:
        return (room * 8 // BITS[dtype],), dtype
    return (room,), "U8"
