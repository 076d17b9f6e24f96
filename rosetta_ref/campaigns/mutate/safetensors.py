"""SafeTensors: a length, a header of JSON, and data; one of them changed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

from rosetta_ref.campaigns.mutate import junk, raw, trees

_DTYPES = (
    "F32",
    "F16",
    "BF16",
    "F64",
    "I8",
    "U8",
    "I16",
    "I32",
    "I64",
    "U64",
    "BOOL",
    "F8_E4M3",
    "F4",
    "C64",
    "f32",
    "",
    "Q8_0",
)


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a valid file. Raises struct.error, ValueError for others."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise TypeError("no object")
    return header, data[8 + length :]


def joined(header: bytes, data: bytes, length: int | None = None) -> bytes:
    """A file of such a header."""
    return struct.pack("<Q", (len(header) if length is None else length) % (1 << 64)) + header + data


def _tensor(rng: random.Random, header: dict[str, Any], data: bytes) -> bytes:
    """An entry of another name, type, shape or place; twice, away, or nested."""
    names = [name for name in header if name != "__metadata__"]
    if not names:
        return _header(rng, header, data)
    name, other = rng.choice(names), rng.choice(names)
    entry, draw = header[name], rng.randrange(8)
    if draw == 0:
        entry["dtype"] = rng.choice(_DTYPES)
    elif draw == 1:
        entry["shape"] = rng.choice(
            (entry["shape"][::-1], [], [0], [2**32, 2**32], [-1], [1.0], [True], header[other]["shape"], [1] * 70)
        )
    elif draw == 2:
        start, stop = entry["data_offsets"]
        entry["data_offsets"] = rng.choice((
            [stop, start], [start + 1, stop + 1], header[other]["data_offsets"], [start, 2**63], [0, 0], [start, stop, stop],
            [-1, stop],
            [float(start), stop], [start - 1, stop - 1], [start, start], [2**64, 2**64 + stop],
        ))  # fmt: skip
    elif draw == 3:
        header[junk.name(rng)] = header.pop(name)
    elif draw == 4:
        del header[name]
    elif draw == 5:
        header[name], header[other] = header[other], header[name]
    elif draw == 6:
        header[junk.name(rng)] = entry
    elif rng.random() < 0.05:
        header |= {
            f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(rng.choice((200, 10_000)))
        }
    return joined(trees.dumped(header), data)


def _header(rng: random.Random, header: dict[str, Any], data: bytes) -> bytes:
    """Any node of the header."""
    return joined(trees.mutate(rng, trees.dumped(header))[0], data)


def _about(rng: random.Random, header: dict[str, Any], data: bytes) -> bytes:
    """The text pairs under `__metadata__`."""
    header["__metadata__"] = rng.choice((
        junk.value(rng), {"format": junk.value(rng)}, {junk.name(rng): junk.text(rng)}, {str(i): "" for i in range(2000)},
        {"format": "pt", "a": junk.text(rng)},
    ))  # fmt: skip
    return joined(trees.dumped(header), data)


def _length(rng: random.Random, header: dict[str, Any], data: bytes) -> bytes:
    """The length says something else; blanks around the header."""
    text = trees.dumped(header)
    if rng.random() < 0.4:
        return joined(rng.choice((b" ", b"\n\t", b"\0")) * rng.choice((1, 7, 100_000)) + text, data)
    if rng.random() < 0.3:
        return joined(text + b" " * rng.choice((1, 8, 300_000)), data)
    return joined(text, data, junk.number(rng, len(text), 64, (len(text) + len(data), 100_000_000)))


def _data(rng: random.Random, header: dict[str, Any], data: bytes) -> bytes:
    return joined(trees.dumped(header), raw.mutate(rng, data)[0])


_ALL: tuple[Callable[[random.Random, dict[str, Any], bytes], bytes], ...] = (
    _tensor, _tensor, _tensor, _tensor, _header, _header, _about, _length, _data,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change a SafeTensors file; what was done."""
    if rng.random() < 0.85:
        try:
            header, rest = parts(data)
            how = rng.choice(_ALL)
            return how(rng, header, rest)[: raw.MOST], f"safetensors{how.__name__.replace('_', '/', 1)}"
        except (
            struct.error,
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            OverflowError,
            RecursionError,
            AttributeError,
        ):
            pass
    return raw.mutate(rng, data)
