"""Bytes changed without a thought for what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable

#: The largest file that is made: the limits on time and memory are for files below 1 MB.
MOST = 960_000


def _place(rng: random.Random, data: bytes) -> int:
    """A place; half of them near the beginning, where headers are."""
    return rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 256))


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, 300, 4096)))


def flip(rng: random.Random, data: bytes) -> bytes:
    """One bit."""
    at = _place(rng, data)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def put(rng: random.Random, data: bytes) -> bytes:
    """One byte, at an edge of its range or any."""
    at = _place(rng, data)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Some bytes more."""
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 8, 32))) + data[at:]


def delete(rng: random.Random, data: bytes) -> bytes:
    """Some bytes less."""
    start, stop = _span(rng, data)
    return data[:start] + data[stop:]


def splice(rng: random.Random, data: bytes) -> bytes:
    """A piece of it over another place."""
    (start, stop), at = _span(rng, data), _place(rng, data)
    return data[:at] + data[start:stop] + data[at + stop - start :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def extend(rng: random.Random, data: bytes) -> bytes:
    """There is more behind the end."""
    return data + rng.choice((bytes, rng.randbytes))(rng.choice((1, 4, 31, 32, 64, 5000)))


def repeat(rng: random.Random, data: bytes) -> bytes:
    """A piece of it many times."""
    start, stop = _span(rng, data)
    return data[:start] + data[start:stop] * rng.choice((2, 3, 50, 400)) + data[stop:]


def fill(rng: random.Random, data: bytes) -> bytes:
    """A span of one byte."""
    start, stop = _span(rng, data)
    return data[:start] + bytes([rng.choice((0, 0xFF, 0x20, 0x7B))]) * (stop - start) + data[stop:]


def nothing(rng: random.Random, data: bytes) -> bytes:
    """An empty file, or one that is all of a kind."""
    return rng.choice((b"", b"\0", bytes(100), b"{}", b"null", b"[]", b"GGUF", b"APR\0", b"\xff" * 64))


ALL: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    flip, flip, put, put, insert, delete, splice, truncate, truncate, extend, repeat, fill, nothing,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change bytes; what was done."""
    if not data:
        return rng.randbytes(8), "bytes/insert"
    how = rng.choice(ALL)
    return how(rng, data)[:MOST], f"bytes/{how.__name__}"
