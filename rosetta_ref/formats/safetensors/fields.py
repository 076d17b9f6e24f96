"""The walk over a SafeTensors file: a length, a JSON text, and the data that it says where to find. See `formats.fields`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rosetta_ref.formats.fields.reader import MOST_FIELDS, LostError, Walk
from rosetta_ref.formats.fields.stored import Stored
from rosetta_ref.formats.safetensors.table import DTYPES, METADATA_KEY

#: Dimensions at most, and a size that no file has.
_MOST, _HUGE = 256, 1 << 64


def walk(data: bytes, most: int = MOST_FIELDS) -> Walk:
    """All that is known of a file; of so many fields of the header at most."""
    made = Walk(data, most=most)
    try:
        header = made.raw(made.number("Q", "length", "header.length"), "json", "header.json")
    except LostError as error:
        made.lose(error)
        return made
    made.tensors += _stored(parsed(header), made.position, len(data))
    return made


def parsed(text: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where the text is none."""
    try:
        value = json.loads(text.decode())  # of the kinds of UTF this format has one
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def numbers(value: Any) -> tuple[int, ...] | None:
    """A list of numbers that can be sizes and places; None for anything else."""
    if not isinstance(value, list) or len(value) > _MOST:
        return None
    if not all(type(one) is int and 0 <= one < _HUGE for one in value):
        return None
    return tuple(value)


def _stored(header: dict[str, Any], base: int, end: int) -> Iterator[Stored]:
    for name, entry in header.items():
        if name == METADATA_KEY or not isinstance(entry, dict):
            continue
        shape, offsets = numbers(entry.get("shape")), numbers(entry.get("data_offsets"))
        if offsets is None or len(offsets) != 2:
            continue
        dtype = entry.get("dtype")
        kind = DTYPES.get(dtype) if shape is not None and isinstance(dtype, str) else None
        start, stop = (min(base + offset, end) for offset in offsets)
        yield Stored(name, kind, shape or (), start, max(start, stop))
