"""GGUF metadata inside APR's JSON: typed, in order, nothing stored twice, and nothing that another JSON reader refuses.

The spelling is that of `typed_json`, with two additions. An entry whose value stands in the file anyway under a key of APR's
refers to it: ``{"key": "tokenizer.ggml.tokens", "type": "array:string", "apr": "tokenizer.vocabulary"}``. And a string that
is not UTF-8 is spelled as its bytes, ``{"base64": ...}``, since serde refuses the lone surrogates that Python would write.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.typed_json import value_from_json, value_to_json
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError

#: The key of an entry that names the key of APR's under which its value stands.
_PLACE = "apr"


class GgufMetadataError(RosettaError):
    """`rosetta.gguf_metadata` is a list of entries with a key, a type, and a value or a reference to a key of the file."""


def to_entries(metadata: Mapping[str, Value], standing: Mapping[str, Any], places: Mapping[str, str]) -> list[Any]:
    """The entries for typed metadata; `places` says under which key of `standing` a GGUF key's value may be found."""
    return [_entry(key, value, standing, places.get(key)) for key, value in metadata.items()]


def _entry(key: str, value: Value, standing: Mapping[str, Any], place: str | None) -> dict[str, Any]:
    made = value_to_json(value)
    if place is not None and place in standing:
        reference = {"type": made["type"], "value": standing[place]}
        if _same(reference, value):
            return {"key": _safe(key), "type": made["type"], _PLACE: place}
    return {"key": _safe(key), "type": made["type"], "value": _safe(made["value"])}


def _same(entry: Mapping[str, Any], value: Value) -> bool:
    try:
        return _value(entry["type"], entry["value"]) == value
    except (ValueError, TypeError, OverflowError):
        return False


def from_entries(entries: Any, standing: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Value]:
    """The way back of `to_entries`, with the same `places`. Raises GgufMetadataError."""
    if not isinstance(entries, list):
        raise GgufMetadataError("it is not a list")
    metadata: dict[str, Value] = {}
    for entry in entries:
        try:
            key = _unsafe(entry["key"])
            if not isinstance(key, str):
                raise TypeError("the key is no text")
            refers = _PLACE in entry
            if refers and entry[_PLACE] != places.get(key):  # a large value could stand under many keys
                raise ValueError("the value of that key does not stand there")
            value = standing[entry[_PLACE]] if refers else entry["value"]
            metadata[key] = _value(entry["type"], value)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise GgufMetadataError(
                f"the entry {shown(entry)} cannot be read: {type(error).__name__}: {error}"
            ) from error
    if len(metadata) != len(entries):
        raise GgufMetadataError("a key stands twice")
    return metadata


def _safe(value: Any) -> Any:
    """The same with every string that is not UTF-8 spelled as its bytes."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return {"base64": base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()}
        return value
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    return value


def _value(kind: str, data: Any) -> Value:
    """One typed value of its JSON spelling."""
    if not isinstance(kind, str):
        raise TypeError("the type is no text")
    if kind == "array:array":
        return Value.array(Kind.ARRAY, [_value(inner["type"], inner["value"]) for inner in data])
    if kind == "array:u8":
        raw = base64.b64decode(data["base64"], validate=True) if isinstance(data, dict) else bytes(_bytes(data))
        return Value(Kind.ARRAY, np.frombuffer(raw, np.uint8), Kind.U8)
    return value_from_json({"type": kind, "value": _unsafe(data) if kind.endswith("string") else data})


def _bytes(data: Any) -> list[int]:
    if not isinstance(data, list) or not all(type(one) is int for one in data):
        raise TypeError("not a list of bytes")
    return data


def _unsafe(value: Any) -> Any:
    """The way back of `_safe`, for a string or a list of strings."""
    if isinstance(value, list):
        return [_unsafe(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["base64"], validate=True).decode("utf-8", "surrogateescape")
    return value


def strings_are_unicode(value: Value) -> bool:
    """Whether every string of the value is UTF-8, so that any JSON reader takes it."""
    return (value.item is not Kind.STRING and value.kind is not Kind.STRING) or _safe(value.data) == value.data
