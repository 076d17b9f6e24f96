"""APR taken apart into header, metadata, index and data, one of them changed, and in half of the cases sealed again."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.campaigns.mutate import junk, raw, trees

#: Fields of the header: place and code of `struct`.
_HEADER = ((4, "B"), (5, "B"), (6, "H"), (8, "I"), (12, "Q"), (20, "I"), (24, "Q"), (32, "Q"), (40, "I"), (44, "Q"))


@dataclass
class Entry:
    """A line of the index."""

    name: bytes
    code: int
    shape: list[int]
    offset: int
    nbytes: int
    dimensions: int | None = None

    def packed(self) -> bytes:
        """As the file has it."""
        count = len(self.shape) if self.dimensions is None else self.dimensions
        sizes = [size % (1 << 64) for size in self.shape]
        head = struct.pack("<H", len(self.name) % 65536) + self.name + struct.pack("<BB", self.code % 256, count % 256)
        return (
            head
            + struct.pack(f"<{len(sizes)}Q", *sizes)
            + struct.pack("<QQ", self.offset % (1 << 64), self.nbytes % (1 << 64))
        )


@dataclass
class Sketch:
    """A file in parts."""

    head: bytearray
    metadata: bytes
    entries: list[Entry]
    data: bytes
    extra: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes) -> Sketch:
        """Take a valid file apart. Raises struct.error, ValueError and IndexError for others."""
        (count,) = struct.unpack_from("<I", data, 8)
        at, size = struct.unpack_from("<QI", data, 12)
        index, start = struct.unpack_from("<QQ", data, 24)
        if data[:4] != b"APR\0" or count > 10_000 or start > len(data):
            raise ValueError("no such file")
        entries = []
        place = index
        for _ in range(count):
            (length,) = struct.unpack_from("<H", data, place)
            name, code, dims = data[place + 2 : place + 2 + length], data[place + 2 + length], data[place + 3 + length]
            shape = list(struct.unpack_from(f"<{dims}Q", data, place + 4 + length))
            place += 4 + length + 8 * dims
            entries.append(Entry(name, code, shape, *struct.unpack_from("<QQ", data, place)))
            place += 16
        return cls(bytearray(data[:64]), data[at : at + size], entries, data[start:-4])

    def joined(self) -> bytes:
        """The bytes, without checksums: `sealed` makes them."""
        index = b"".join(entry.packed() for entry in self.entries)
        index_at = 64 + -(-len(self.metadata) // 64) * 64
        start = index_at + -(-len(index) // 64) * 64
        head = bytearray(self.head)
        struct.pack_into("<I", head, 8, self.extra.get("count", len(self.entries)) % (1 << 32))
        struct.pack_into("<QIQQ", head, 12, 64, len(self.metadata), index_at, start)
        return bytes(head) + _padded(self.metadata) + _padded(index) + self.data + bytes(4)


def _padded(section: bytes) -> bytes:
    return section + bytes(-len(section) % 64)


def sealed(data: bytes) -> bytes:
    """The same with both checksums right."""
    if len(data) < 68:
        return data
    made = bytearray(data)
    made[40:44] = struct.pack("<I", zlib.crc32(made[:40] + made[44:64]))
    made[-4:] = struct.pack("<I", zlib.crc32(made[:-4]))
    return bytes(made)


def _header(rng: random.Random, sketch: Sketch) -> bytes:
    """A field of the header, at an edge of its range."""
    made = bytearray(sketch.joined())
    at, code = rng.choice(_HEADER)
    (old,) = struct.unpack_from("<" + code, made, at)
    others = (*(struct.unpack_from("<Q", made, place)[0] for place in (12, 24, 32)), len(made))
    struct.pack_into("<" + code, made, at, junk.number(rng, old, 8 * struct.calcsize(code), others))
    return bytes(made)


def _flags(rng: random.Random, sketch: Sketch) -> bytes:
    sketch.head[6:8] = struct.pack("<H", 1 << rng.randrange(16) | rng.choice((0, 0x420, rng.randrange(65536))))
    return sketch.joined()


def _entry(rng: random.Random, sketch: Sketch) -> bytes:
    """Lines of the index twice, away, in another order, of other names, shapes, types and places."""
    entries = sketch.entries
    if not entries:
        return _metadata(rng, sketch)
    draw, entry, other = rng.randrange(10), rng.choice(entries), rng.choice(entries)
    if draw == 0:
        entries.insert(rng.randrange(len(entries)), entry)
    elif draw == 1:
        entries.remove(entry)
    elif draw == 2:
        rng.shuffle(entries)
    elif draw == 3:
        entry.name = rng.choice((junk.raw_text(rng)[:60_000], other.name, b""))
    elif draw == 4:
        entry.shape = rng.choice(
            (entry.shape[::-1], other.shape, [*entry.shape, 1], [], [2**32, 2**32], [0], [1] * 9, [2**63])
        )
    elif draw == 5:
        entry.code = rng.choice((*range(32), 128, 129, 255))
    elif draw == 6:
        entry.offset = rng.choice(
            (other.offset, entry.offset + 64, entry.offset + 1, 2**63, 2**64 - 64, len(sketch.data))
        )
    elif draw == 7:
        entry.nbytes = junk.number(rng, entry.nbytes, 64, (other.nbytes, len(sketch.data)))
    elif draw == 8:
        entry.dimensions = rng.choice((0, 7, 8, 9, 255))
    else:
        sketch.extra["count"] = junk.number(rng, len(entries), 32)
    if rng.random() < 0.5:
        entries.sort(key=lambda each: each.name)
    return sketch.joined()


def _metadata(rng: random.Random, sketch: Sketch) -> bytes:
    """Another JSON; now and then a text within it that is JSON, or deflated."""
    sketch.metadata = trees.mutate(rng, sketch.metadata)[0]
    return sketch.joined()


def _remembered(rng: random.Random, sketch: Sketch) -> bytes:
    """What was remembered of a directory: companions of other names, with other bytes, or a bomb."""
    metadata = json.loads(sketch.metadata)
    found = [
        path for path in trees.places(metadata) if "rosetta" in str(path) or _says_rosetta(trees.at(metadata, path))
    ]
    if not found:
        return _metadata(rng, sketch)
    path = rng.choice(found)
    holder, key, draw = trees.at(metadata, path[:-1]), path[-1], rng.random()
    if draw < 0.3 and isinstance(holder, dict):
        holder[f"rosetta.file.{junk.name(rng)}" if rng.random() < 0.5 else junk.name(rng)] = holder.pop(key)
    elif draw < 0.5:
        bomb = base64.b64encode(zlib.compress(bytes(rng.choice((1 << 16, 1 << 22))), 9)).decode()
        holder[key] = rng.choice((bomb, {"base64": bomb}, {"type": "array:u8", "value": {"base64": bomb}}))
    else:
        holder[key] = junk.value(rng)
    sketch.metadata = trees.dumped(metadata)
    return sketch.joined()


def _says_rosetta(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("key", "")).startswith("rosetta.")


def _data(rng: random.Random, sketch: Sketch) -> bytes:
    sketch.data = raw.mutate(rng, sketch.data)[0]
    return sketch.joined()


_ALL: tuple[Callable[[random.Random, Sketch], bytes], ...] = (
    _header, _header, _flags, _entry, _entry, _entry, _metadata, _metadata, _metadata, _remembered, _remembered, _data,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change an APR file; what was done."""
    seal = rng.random() < 0.7
    if rng.random() < 0.85:
        try:
            how = rng.choice(_ALL)
            made = how(rng, Sketch.of(data))[: raw.MOST]
            return (sealed(made) if seal else made), f"apr{how.__name__.replace('_', '/', 1)}"
        except (
            struct.error,
            ValueError,
            IndexError,
            KeyError,
            OverflowError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            pass
    made, label = raw.mutate(rng, data)
    return (sealed(made) if seal else made), label
