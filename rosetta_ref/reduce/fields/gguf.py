"""The fields of a GGUF file, in the words of `formats.gguf.layout`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from rosetta_ref.archive import Kind
from rosetta_ref.formats.gguf import layout
from rosetta_ref.quant import BY_ID
from rosetta_ref.reduce.fields.field import Claims, LostError, shown
from rosetta_ref.reduce.fields.stored import CODES, Stored, bytes_wanted, claim_data

_KIND_NAMES = {int(kind): kind.name for kind in Kind}


@dataclass(frozen=True)
class _Entry:
    """A tensor as the table has it."""

    name: bytes
    dimensions: tuple[int, ...]
    type_id: int
    offset: int


def explain(claims: Claims) -> list[Stored]:
    """Claim all fields; the tensors."""
    claims.alignment = layout.ALIGNMENT_DEFAULT
    try:
        claims.take(len(layout.MAGIC), "header.magic")
        claims.order = _order(claims)
        version, tensor_count, key_count = list(layout.HEADER)
        claims.number(version, "header.version")
        count = claims.number(tensor_count, "header.tensor_count")
        keys = claims.number(key_count, "header.key_count")
        for number in range(keys):
            _key(claims, number)
        entries = [_entry(claims, number) for number in range(count)]
    except LostError as error:
        claims.lose(error)
        return []
    found = list(_stored(claims, entries))
    claim_data(claims, found)
    return found


def _order(claims: Claims) -> str:
    """The byte order: a version is a small number in one of the two only."""
    little = claims.data[claims.position : claims.position + 2]
    return ">" if len(little) == 2 and not any(little) else "<"


def _text(claims: Claims, label: str) -> bytes:
    length = claims.number(layout.LENGTH, f"{label} length")
    return claims.take(length, label)


def _kind(claims: Claims, label: str) -> Kind:
    number = claims.number(layout.KIND, label, lambda number: _KIND_NAMES.get(number, "no kind"))
    if number not in _KIND_NAMES:
        raise LostError(f"{label} is {number}")
    return Kind(number)


def _key(claims: Claims, number: int) -> None:
    key = _text(claims, f"metadata[{number}] / key")
    label = f"metadata[{number}] {shown(key)} /"
    kind = _kind(claims, f"{label} kind")
    if kind is Kind.ARRAY:
        _array(claims, label)
    elif kind is Kind.STRING:
        _text(claims, f"{label} value")
    else:
        value = claims.number(_code(kind), f"{label} value")
        is_power = kind is layout.ALIGNMENT_KIND and value > 0 and not value & (value - 1)
        if key == layout.ALIGNMENT_KEY.encode() and is_power:
            claims.alignment = value


def _array(claims: Claims, label: str, depth: int = 1) -> None:
    if depth > layout.DEPTH_LIMIT:
        raise LostError(f"{label} of {depth} arrays in each other")
    kind = _kind(claims, f"{label} item kind")
    count = claims.number(layout.LENGTH, f"{label} count")
    if kind not in (Kind.ARRAY, Kind.STRING):
        claims.numbers(count, _code(kind), f"{label} items")
        return
    for number in range(count):
        if kind is Kind.ARRAY:
            _array(claims, f"{label} [{number}]", depth + 1)
        else:
            _text(claims, f"{label} [{number}]")


def _code(kind: Kind) -> str:
    assert kind.dtype is not None, kind
    return CODES[kind.dtype.str[1:]]


def _entry(claims: Claims, number: int) -> _Entry:
    name = _text(claims, f"tensor[{number}] / name")
    label = f"tensor[{number}] {shown(name)} /"
    count = claims.number(layout.DIMENSIONS, f"{label} dimensions")
    if count > layout.DIMENSION_LIMIT_READ:
        raise LostError(f"{label} of {count} dimensions")
    dimensions = tuple(claims.number(layout.DIMENSION, f"{label} dims[{i}]") for i in range(count))
    type_code, offset_code = list(layout.PLACE)
    type_id = claims.number(type_code, f"{label} type", _type_name)
    return _Entry(name, dimensions, type_id, claims.number(offset_code, f"{label} offset"))


def _type_name(number: int) -> str:
    return BY_ID[number].name if number in BY_ID else layout.REMOVED_TYPES.get(number, "no type")


def _stored(claims: Claims, entries: list[_Entry]) -> Iterator[Stored]:
    """Where data lie: where type and dimensions do not say how many there are, they reach to the next tensor's."""
    base, end = claims.position + layout.padding(claims.position, claims.alignment), len(claims.data)
    starts = sorted({entry.offset for entry in entries})
    for entry in entries:
        kind, shape = BY_ID.get(entry.type_id), layout.turned(entry.dimensions)
        size = bytes_wanted(kind, shape)
        if size is None:
            following = bisect_right(starts, entry.offset)
            size = (starts[following] if following < len(starts) else end) - entry.offset
        start = min(base + entry.offset, end)
        stop = min(start + max(size, 0), end)
        yield Stored(entry.name.decode("utf-8", "surrogateescape"), kind, shape, start, stop, claims.order)
