"""The reader's half of the metadata: JSON into plain Python values, and what is odd about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from rosetta_ref import limits
from rosetta_ref.foreign import ESCAPED_HALF, EncodingError, require_shallow, require_whole_text
from rosetta_ref.formats.apr.errors import MetadataError
from rosetta_ref.formats.apr.tables import ALIASES, NOT_NULL, TYPED_KEYS


def parse(text: bytes) -> dict[str, Any]:
    """The metadata object, keys in file order. Raises MetadataError."""
    try:
        found = json.loads(
            text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite
        )
    except MetadataError:
        raise
    except UnicodeDecodeError as error:
        raise MetadataError(f"the metadata is not UTF-8: byte {error.start} of it") from error
    except RecursionError as error:
        raise MetadataError("the metadata nests too deeply") from error
    except ValueError as error:
        raise MetadataError(f"the metadata is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise MetadataError(f"the metadata is a JSON {_json_type(found)}, not an object")
    require_shallow(found, "the metadata", None)
    limits.require("metadata-keys", len(found), "the metadata")
    if ESCAPED_HALF.search(text.decode("utf-8")):
        try:
            require_whole_text(found, "the metadata", None)
        except EncodingError as error:
            raise MetadataError(error.problem) from error
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MetadataError(f"the metadata has the key {twice[:200]!r} twice")
    return made


def _constant(word: str) -> float:
    raise MetadataError(f"the metadata holds {word}, which JSON does not have")


def _finite(word: str) -> float:
    number = float(word)
    if math.isinf(number):
        raise MetadataError(f"the metadata holds {word[:40]}, which no float64 holds")
    return number


def oddities(metadata: Mapping[str, Any]) -> list[str]:
    """What other readers would stumble over: keys beside their aliases, typed keys of another type, nulls."""
    notes = [
        f"metadata has {key!r} beside its alias {alias!r}: the engine realizar drops all metadata of such a file"
        for key, aliases in ALIASES.items()
        for alias in aliases
        if alias in metadata and any(other in metadata for other in (key, *aliases) if other != alias)
    ]
    for kind, keys in TYPED_KEYS.items():
        notes += [
            f"metadata key {key!r} is {_json_type(metadata[key])}, not {kind}: `apr` cannot read this file"
            for key in keys
            if key in metadata and not fits(metadata[key], kind, nullable=key not in NOT_NULL)
        ]
    return notes


def lookup(metadata: Mapping[str, Any], key: str) -> Any:
    """A typed key's value, under its own name, an alias, or the `model.*` spelling of aprender 0.25; None if absent."""
    return next((metadata[name] for name in spellings(key) if metadata.get(name) is not None), None)


def spellings(key: str) -> tuple[str, ...]:
    """The names under which a typed key may stand.

    >>> spellings("vocab_size")
    ('vocab_size', 'n_vocab', 'model.vocab_size')
    """
    return (key, *ALIASES.get(key, ()), f"model.{key}")


def _json_type(value: Any) -> str:
    names = {bool: "boolean", str: "string", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "number")


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "unsigned": lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
}


def fits(value: Any, kind: str, *, nullable: bool) -> bool:
    """Whether a JSON value has the type that APR asks for."""
    return nullable if value is None else _CHECKS[kind](value)
