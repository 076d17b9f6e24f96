"""The structure of JSON that this tool wrote, checked when it comes back: it may have been edited since.

A pattern is JSON with holes: a type stands for its values, a tuple for any of its patterns, a list of one pattern for a list,
an object whose one key is `...` for an object of any keys. Other objects name the keys that have to be there.
"""

from __future__ import annotations

from typing import Any

from rosetta_ref.quant import TYPES


def require(value: Any, pattern: Any, place: str = "it") -> None:
    """Raise ValueError, which names the place, where the value does not fit the pattern."""
    if isinstance(pattern, tuple):
        if not any(_fits(value, one) for one in pattern):
            raise ValueError(f"{place} is none of what it can be")
    elif isinstance(pattern, list):
        _of(value, list, place)
        for index, inner in enumerate(value):
            require(inner, pattern[0], f"{place}[{index}]")
    elif isinstance(pattern, dict):
        _of(value, dict, place)
        wanted = dict.fromkeys(value, pattern[...]) if ... in pattern else pattern
        for key, inner in wanted.items():
            if key not in value:
                raise ValueError(f"{place} has no {key}")
            require(value[key], inner, f"{place}.{key}")
    elif pattern is not None:
        _of(value, pattern, place)
    elif value is not None:
        raise ValueError(f"{place} is not null")


def _of(value: Any, kind: type, place: str) -> None:
    if type(value) is not kind:  # true is no number
        raise ValueError(f"{place} is no {kind.__name__}")


def _fits(value: Any, pattern: Any) -> bool:
    try:
        require(value, pattern)
    except ValueError:
        return False
    return True


def require_tensor(record: dict[str, Any], place: str) -> None:
    """Raise ValueError where `type` and `shape` of a record are not those of a tensor."""
    if record["type"] not in TYPES:
        raise ValueError(f"{place} has the type {record['type']!r}")
    if any(size < 0 for size in record["shape"]):
        raise ValueError(f"{place} has the shape {record['shape']}")
