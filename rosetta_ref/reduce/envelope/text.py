"""JSON as it stands in a file: the keys of an object, and where a value ends that no length tells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rosetta_ref.reduce.envelope.parts import Key

#: As much is looked through for the end of a text whose length lies.
_MOST = 16 << 20
#: Levels of objects and lists within each other; what nests deeper stays one text.
_DEEPEST = 64


def dumps(value: Any) -> bytes:
    """As writers write it: nothing between the words. Half of a pair of surrogates stays what it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def pairs_of(raw: bytes) -> list[tuple[str, Any]] | None:
    """The members of an object, one that stands there twice, too; None for what is no object, or nests deeply."""
    try:
        found = json.JSONDecoder(object_pairs_hook=_Pairs).decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, _Pairs) or not _is_shallow(found):
        return None
    return [(name, plain(value)) for name, value in found]


def _is_shallow(value: Any) -> bool:
    """Whether values nest so little that what walks them may call itself."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [one for outer in level for one in _inside(outer) if isinstance(one, list)]
        if not inner:
            return True
        level = inner
    return False


def _inside(value: list[Any]) -> Iterable[Any]:
    return (one for _, one in value) if isinstance(value, _Pairs) else value


class _Pairs(list[tuple[str, Any]]):
    """The members of an object."""


def plain(value: Any) -> Any:
    """A value whose objects are plain again."""
    if isinstance(value, _Pairs):
        return {name: plain(item) for name, item in value}
    return [plain(item) for item in value] if isinstance(value, list) else value


def keys_of(raw: bytes) -> tuple[Key, ...]:
    """The members of an object as keys; none where it is no object."""
    return tuple(Key(dumps(name), dumps(value)) for name, value in pairs_of(raw) or ())


def of_keys(keys: Iterable[Key]) -> bytes:
    """The object of these keys."""
    return b"{" + b",".join(key.name + b":" + bytes(key.value) for key in keys) + b"}"


def length_of(view: memoryview) -> int | None:
    """The bytes of the JSON value that begins there; None where there is none."""
    raw = bytes(view[:_MOST]).decode("latin-1")  # a character a byte
    try:
        return json.JSONDecoder().raw_decode(raw)[1]
    except (ValueError, RecursionError):
        return None


def object_of(members: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The object of members that are JSON already."""
    return b"{" + b",".join(name + b":" + value for name, value in members) + b"}"
