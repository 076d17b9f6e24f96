"""JSON with one node that is something else, and JSON texts that readers disagree on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from rosetta_ref.campaigns.mutate import junk, raw

Path = tuple[Any, ...]


def places(node: Any, depth: int = 0) -> Iterator[Path]:
    """Paths to every value that is not too deep; of long lists and tables to the first two, one in the middle and the last."""
    if depth > 80:
        return
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    if len(keys) > 40:
        keys = [*keys[:2], keys[len(keys) // 2], keys[-1]]
    for key in keys:
        yield (key,)
        yield from ((key, *rest) for rest in places(node[key], depth + 1))


def at(node: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        node = node[key]
    return node


def _replace(rng: random.Random, holder: Any, key: Any) -> None:
    holder[key] = junk.value(rng)


def _nudge(rng: random.Random, holder: Any, key: Any) -> None:
    """Near what was there: a number off by a little, a text with something behind it."""
    old = holder[key]
    if isinstance(old, bool) or not isinstance(old, int | float | str):
        holder[key] = [old] if rng.random() < 0.5 else {"a": old}
    elif isinstance(old, str):
        holder[key] = old[:-1] if rng.random() < 0.3 else old + junk.text(rng)
    else:
        holder[key] = rng.choice((old + 1, old - 1, -old, old * 2, old / 2, old * 10**9, str(old), [old], 2**32 - 1))


def _remove(rng: random.Random, holder: Any, key: Any) -> None:
    del holder[key]


def _rename(rng: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[junk.name(rng)] = holder.pop(key)
    else:
        holder.insert(0, holder.pop(key))


def _double(rng: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder[key:key] = [holder[key]] * rng.choice((1, 2, 100))
    else:
        holder[rng.choice((junk.name(rng), str(key).upper(), f"{key} "))] = holder[key]


def _exchange(rng: random.Random, holder: Any, key: Any) -> None:
    other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _many(rng: random.Random, holder: Any, key: Any) -> None:
    """Very many entries."""
    count = rng.choice((1_000, 5_000))
    if isinstance(holder, dict):
        holder.update({f"{str(key)[:100]}{i}": holder[key] for i in range(count)})
    else:
        holder.extend([holder[key]] * count)


_EDITS: tuple[Callable[[random.Random, Any, Any], None], ...] = (
    _replace, _replace, _replace, _nudge, _nudge, _remove, _rename, _double, _exchange,
)  # fmt: skip


def edit(rng: random.Random, value: Any) -> str:
    """Change one node of a value in place; what was done, and where."""
    found = list(places(value))
    if not found:
        return "json/unchanged"
    path = rng.choice(found)
    how = _many if rng.random() < 0.01 else rng.choice(_EDITS)
    if how is _many and len(json.dumps(at(value, path))) > 200:
        how = _replace
    how(rng, at(value, path[:-1]), path[-1])
    return f"json{how.__name__.replace('_', '/', 1)}"


def dumped(value: Any) -> bytes:
    """As bytes; halves of surrogate pairs stay escapes."""
    return json.dumps(value).encode()


def _twice(rng: random.Random, text: bytes) -> bytes:
    """Each key of the outermost object again."""
    body = text.strip()
    return body[:-1] + b"," + body[1:] if body[:1] == b"{" and body != b"{}" else b'{"a": 1, "a": 2}'


def _deep(rng: random.Random, text: bytes) -> bytes:
    depth = rng.choice((60, 64, 66, 500, 990, 1_000, 5_000, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opened * depth + (text[:2000] if rng.random() < 0.5 else b"1") + closed * depth


def _surrogate(rng: random.Random, text: bytes) -> bytes:
    where = [i for i in range(len(text)) if text[i : i + 1] == b'"'][:200]
    if not where:
        return b'"\\ud800"'
    i = rng.choice(where)
    return (
        text[: i + 1]
        + rng.choice((b"\\ud800", b"\\udfff", b"\xed\xa0\x80", b"\xff", b"\\u0000", b"\\u202e"))
        + text[i + 1 :]
    )


def _token(rng: random.Random, text: bytes) -> bytes:
    """Spellings that some readers take."""
    words = (
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b"01",
        b"+1",
        b"'a'",
        b"//",
        b"1.",
        b"\xef\xbb\xbf{}",
        b"-",
        b"1E400",
    )
    at = next((i for i in range(len(text)) if text[i : i + 1] in b"0123456789" and rng.random() < 0.2), 0)
    return text[:at] + rng.choice(words) + text[at + 1 :]


def _odd(rng: random.Random, text: bytes) -> bytes:
    return rng.choice((
        b"", b"null", b"[]", b"7", b'"x"', b"{", b"{} {}", b"{}", b'{"model": "x"}', b"[" * 100_000,
         text.decode("latin-1").encode("utf-16"),
        b"\xef\xbb\xbf" + text, text + b"\0", text.replace(b":", b": ", 1), b"\0" + text,
    ))  # fmt: skip


_TEXTS = (_twice, _deep, _surrogate, _token, _odd)


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change a JSON text; what was done."""
    draw = rng.random()
    if draw < 0.75:
        try:
            value = json.loads(data)
            label = edit(rng, value)
            return dumped(value)[: raw.MOST], label
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, OverflowError):
            pass
    if draw < 0.9:
        how = rng.choice(_TEXTS)
        return how(rng, data)[: raw.MOST], f"json{how.__name__.replace('_', '/', 1)}"
    return raw.mutate(rng, data)
