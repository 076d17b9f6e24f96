"""Metadata, from bytes to `Value`: kinds and order exactly as stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rosetta_ref import limits
from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats.gguf import layout
from rosetta_ref.formats.gguf.cursor import Cursor
from rosetta_ref.formats.gguf.errors import (
    AlignmentValueError,
    BoolValueError,
    DeepArrayError,
    DuplicateKeyError,
    EmptyKeyError,
    LongArrayError,
    LongKeyError,
    SmallAlignmentError,
    UnknownKindError,
)

#: Characters of a key in messages about what it holds.
_SHOWN = 100
_KINDS = {kind.value: kind for kind in Kind}


def read_metadata(cursor: Cursor, count: int) -> dict[str, Value]:
    """The next `count` keys with their values."""
    cursor.expect(count, layout.KEY_LEAST, "keys")
    limits.require("metadata-keys", count, "the metadata", offset=16)
    arrays = _Arrays()
    metadata: dict[str, Value] = {}
    for number in range(count):
        at = cursor.position
        key = cursor.text(f"key {number}")
        if not key:
            raise EmptyKeyError(f"key {number} is empty", offset=at)
        size = cursor.position - at - layout.STRING_LEAST
        if size > layout.KEY_LIMIT:
            cursor.bend(LongKeyError(f"key {number} has {size} bytes", offset=at))
        if key in metadata:
            raise DuplicateKeyError(f"key {key!r} again", offset=at)
        shown = repr(key[:_SHOWN])  # in the name of each item of an array: a long key would be copied that often
        metadata[key] = _value(cursor, _kind(cursor, shown), shown, arrays)
    return metadata


def _kind(cursor: Cursor, what: str) -> Kind:
    at = cursor.position
    kind = cursor.number(layout.KIND, f"the kind of {what}")
    if kind not in _KINDS:
        raise UnknownKindError(f"{what} has kind {kind}", offset=at)
    return _KINDS[kind]


@dataclass
class _Arrays:
    """How many arrays there are in a file, those within others included."""

    count: int = 0


def _value(cursor: Cursor, kind: Kind, what: str, arrays: _Arrays) -> Value:
    if kind is Kind.STRING:
        return Value(kind, cursor.text(what))
    if kind is Kind.ARRAY:
        return _array(cursor, what, 1, arrays)
    at = cursor.position
    data = cursor.numbers(kind, 1, what)
    if kind is Kind.BOOL and data[0] > 1:
        cursor.bend(BoolValueError(f"{what} is {data[0]}", offset=at))
    return Value(kind, data[0])


def _array(cursor: Cursor, what: str, depth: int, arrays: _Arrays) -> Value:
    at = cursor.position
    arrays.count += 1
    if depth > layout.DEPTH_LIMIT:
        raise DeepArrayError(f"{what} is nested {depth} deep", offset=at)
    item = _kind(cursor, f"the items of {what}")
    count = cursor.number(layout.LENGTH, f"the count of {what}")
    if count > layout.LENGTH_LIMIT:
        raise LongArrayError(f"{what} of {count} items", offset=at + 4)
    if item is Kind.STRING:
        cursor.expect(count, layout.STRING_LEAST, f"strings in {what}")
        limits.require("strings", count, what, offset=at)
        return Value(Kind.ARRAY, cursor.texts(count, what), item)
    if item is Kind.ARRAY:
        cursor.expect(count, layout.ARRAY_LEAST, f"arrays in {what}")
        limits.require("nested-arrays", arrays.count + count, what, offset=at)
        return Value(Kind.ARRAY, [_array(cursor, f"{what}[{i}]", depth + 1, arrays) for i in range(count)], item)
    assert item.dtype is not None, item
    cursor.expect(count, item.dtype.itemsize, f"items in {what}")
    at = cursor.position
    data = cursor.numbers(item, count, what)
    if item is Kind.BOOL and count and data.max() > 1:
        place = int(np.argmax(data > 1))
        cursor.bend(BoolValueError(f"{what}[{place}] is {data[place]}", offset=at + place))
    return Value(Kind.ARRAY, data, item)


def alignment_of(metadata: dict[str, Value]) -> int:
    """The alignment that the metadata asks for, in bytes.

    Raises AlignmentValueError. What is smaller than the document allows is for the caller to judge: `small_alignment`.
    """
    value = metadata.get(layout.ALIGNMENT_KEY)
    if value is None:
        return layout.ALIGNMENT_DEFAULT
    if value.kind is not layout.ALIGNMENT_KIND:
        raise AlignmentValueError(f"{layout.ALIGNMENT_KEY} is of kind {value.kind.name}")
    alignment = int(value.data)
    limits.require("alignment", alignment, layout.ALIGNMENT_KEY)
    if alignment <= 0 or alignment & (alignment - 1):
        raise AlignmentValueError(f"{layout.ALIGNMENT_KEY} is {alignment}")
    return alignment


def small_alignment(alignment: int) -> SmallAlignmentError | None:
    """The error of an alignment below what the document allows, or None."""
    if alignment >= layout.ALIGNMENT_LEAST:
        return None
    return SmallAlignmentError(f"{layout.ALIGNMENT_KEY} is {alignment}")
