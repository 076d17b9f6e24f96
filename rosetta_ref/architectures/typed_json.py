"""GGUF metadata in JSON and back: every type, order and bit.

An entry is ``{"key": ..., "type": "u32", "value": 7}``; an array's type is ``"array:f32"``. JSON has one kind of number and no
NaN, so a float that JSON would not give back, and every long array of numbers, is spelled as its little-endian bytes in
base64: ``"value": {"base64": ...}``. Strings that are not UTF-8 keep their bytes as surrogate escapes, which JSON can hold.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Kind, Value

_LONGEST_LIST = 64


def metadata_to_json(metadata: Mapping[str, Value]) -> list[dict[str, Any]]:
    """Typed metadata as a list of entries, in order."""
    return [{"key": key, **value_to_json(value)} for key, value in metadata.items()]


def metadata_from_json(entries: list[dict[str, Any]]) -> dict[str, Value]:
    """The way back. Raises ValueError, KeyError or TypeError for anything else than `metadata_to_json` makes."""
    metadata = {_strings(entry["key"], many=False): _of_key(entry) for entry in entries}
    if len(metadata) != len(entries):
        raise ValueError("a key stands twice")
    return metadata


def _of_key(entry: Mapping[str, Any]) -> Value:
    try:
        return value_from_json(entry)
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise ValueError(f"the key {shown(entry['key'])}: {type(error).__name__}: {error}") from error


def value_to_json(value: Value) -> dict[str, Any]:
    """One value as ``{"type": ..., "value": ...}``.

    >>> value_to_json(Value.scalar(Kind.F32, 0.5))
    {'type': 'f32', 'value': 0.5}
    """
    if value.item is Kind.ARRAY:
        return {"type": "array:array", "value": [value_to_json(inner) for inner in value.data]}
    name = f"array:{value.item.name.lower()}" if value.item is not None else value.kind.name.lower()
    if isinstance(value.data, (str, list)):
        return {"type": name, "value": value.data}
    plain = value.data.tolist()
    array = np.asarray(value.data)
    if array.size > _LONGEST_LIST or not np.isfinite(array).all():
        return {"type": name, "value": {"base64": base64.b64encode(array.tobytes()).decode()}}
    return {"type": name, "value": plain}


def value_from_json(entry: Mapping[str, Any]) -> Value:
    """The way back of `value_to_json`. Raises ValueError, KeyError, TypeError or OverflowError."""
    if not isinstance(entry["type"], str):
        raise TypeError("the type is no text")
    name, _, item = entry["type"].partition(":")
    kind, inner, data = Kind[name.upper()], Kind[item.upper()] if item else None, entry["value"]
    if (kind is Kind.ARRAY) != (inner is not None):
        raise ValueError(f"the type {entry['type']}")
    if inner is Kind.ARRAY:
        return Value(kind, [value_from_json(one) for one in data], inner)
    if Kind.STRING in (kind, inner):
        return Value(kind, _strings(data, many=inner is not None), inner)
    dtype = (kind if inner is None else inner).dtype  # Kind.U8 is 0, and false
    assert dtype is not None
    if isinstance(data, dict):
        try:
            array = np.frombuffer(base64.b64decode(data["base64"], validate=True), dtype)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from error
    else:
        _require_numbers(data if inner is not None else [data], floats=dtype.kind == "f")
        array = np.asarray(data, dtype)
    if inner is None and array.size != 1:
        raise ValueError(f"{array.size} numbers where one belongs")
    return Value(kind, array if inner is not None else array.reshape(())[()], inner)


def _require_numbers(data: Any, *, floats: bool) -> None:
    """Raise TypeError unless that is a list of numbers: NumPy would take true, texts and fractions for whole numbers."""
    allowed = (int, float) if floats else (int,)
    if not isinstance(data, list) or not all(type(one) in allowed for one in data):
        raise TypeError(f"{shown(data)} where {'numbers' if floats else 'whole numbers'} belong")


def _strings(data: Any, *, many: bool) -> Any:
    if many and not (isinstance(data, list) and all(isinstance(text, str) for text in data)):
        raise TypeError("not a list of strings")
    if not many and not isinstance(data, str):
        raise TypeError("not a string")
    for text in data if many else (data,):
        text.encode("utf-8", "surrogateescape")  # raises for a half that stands for no byte
    return data
