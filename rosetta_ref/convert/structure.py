"""The structure of JSON that this tool wrote, checked when it comes back: it may have been edited since.

A pattern is JSON with holes: a type stands for its values, a tuple for any of its patterns, a list of one pattern for a list,
an object whose one key is `...` for an object of any keys. Other objects name the keys that have to be there.
"""

from __future__ import annotations

from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.quant import TYPES

#: SafeTensors sets no limit to the number of dimensions; a product of 100,000 numbers takes its time.
_DIMENSIONS = 32


class _MisfitError(ValueError):
    """What does not fit, and the way to it: put together only now, for a name may be as long as the file."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.way: list[str] = []

    def __str__(self) -> str:
        return f"it{''.join(reversed(self.way))} {self.problem}"


def require(value: Any, pattern: Any) -> None:
    """Raise ValueError, which names the place, where the value does not fit the pattern."""
    if isinstance(pattern, tuple):
        if not any(_fits(value, one) for one in pattern):
            raise _MisfitError("is none of what it can be")
    elif isinstance(pattern, list):
        _of(value, list)
        for index, inner in enumerate(value):
            _inside(inner, pattern[0], index)
    elif isinstance(pattern, dict):
        _of(value, dict)
        wanted = dict.fromkeys(value, pattern[...]) if ... in pattern else pattern
        for key, inner in wanted.items():
            if key not in value:
                raise _MisfitError(f"has no {key}")
            _inside(value[key], inner, key)
    elif pattern is not None:
        _of(value, pattern)
    elif value is not None:
        raise _MisfitError("is not null")


def _inside(value: Any, pattern: Any, place: str | int) -> None:
    try:
        require(value, pattern)
    except _MisfitError as error:
        error.way.append(f"[{place}]" if isinstance(place, int) else f".{place[:200]}")
        raise


def _of(value: Any, kind: type) -> None:
    if type(value) is not kind:  # true is no number
        raise _MisfitError(f"is no {kind.__name__}")


def _fits(value: Any, pattern: Any) -> bool:
    try:
        require(value, pattern)
    except ValueError:
        return False
    return True


def require_tensor(record: dict[str, Any], place: str) -> None:
    """Raise ValueError where `type` and `shape` of a record are not those of a tensor."""
    if record["type"] not in TYPES:
        raise ValueError(f"{place[:200]} has the type {shown(record['type'])}")
    shape = record["shape"]
    if len(shape) > _DIMENSIONS or any(not 0 <= size < 1 << 63 for size in shape):
        raise ValueError(f"{place[:200]} has the shape {shown(shape)}")
