"""tokenizer.model, a protocol buffer: fields of a tag and a value, one of them changed, at the top or within a piece."""

from __future__ import annotations

import random

from rosetta_ref.campaigns.mutate import junk, raw

#: Number, wire type, and the bytes of the value; of a length-delimited field without its length.
Field = tuple[int, int, bytes]
_SIZED = {1: 8, 5: 4}


def varint(number: int) -> bytes:
    """A number as seven bits a byte."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def fields(data: bytes) -> list[Field]:
    """The fields of a message. Raises ValueError and IndexError for anything else."""
    at, found = 0, []
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            start = at
            _, at = _varint(data, at)
            found.append((tag >> 3, kind, data[start:at]))
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("cut off")
            found.append((tag >> 3, kind, data[at : at + length]))
            at += length
        else:
            found.append((tag >> 3, kind, data[at : at + _SIZED[kind]]))
            at += _SIZED[kind]
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128 or shift > 70:
            return number, at


def packed(found: list[Field], length: int | None = None) -> bytes:
    """The bytes of a message; `length` is what every length-delimited field says of itself instead of the truth."""
    made = bytearray()
    for number, kind, value in found:
        made += varint(number << 3 | kind)
        made += varint(len(value) if length is None else length) if kind == 2 else b""
        made += value
    return bytes(made)


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change a message; what was done."""
    if rng.random() < 0.2:
        return raw.mutate(rng, data)
    try:
        found = fields(data)
        return _changed(rng, found)[: raw.MOST], "proto/field"
    except (ValueError, IndexError, KeyError):
        return raw.mutate(rng, data)


def _changed(rng: random.Random, found: list[Field], depth: int = 0) -> bytes:
    if not found:
        return junk.raw_text(rng)
    at, draw = rng.randrange(len(found)), rng.randrange(8)
    number, kind, value = found[at]
    if draw < 3 and kind == 2 and depth < 3 and (inner := _inner(value)):
        found[at] = (number, kind, _changed(rng, inner, depth + 1))
    elif draw == 3:
        found.insert(rng.randrange(len(found)), found[at])
    elif draw == 4:
        found.pop(at)
    elif draw == 5:
        found[at] = (rng.choice((0, 1, 2, 3, number + 1, 2**29 - 1, 2**60)), kind, value)
    elif draw == 6:
        return packed(found[:at]) + packed([found[at]], junk.number(rng, len(value), 64)) + packed(found[at + 1 :])
    elif kind == 2:
        found[at] = (number, kind, junk.raw_text(rng))
    else:
        found[at] = (number, 0, varint(junk.number(rng, 1, rng.choice((32, 64)))))
    return packed(found)


def _inner(value: bytes) -> list[Field]:
    try:
        return fields(value)
    except (ValueError, IndexError, KeyError):
        return []
