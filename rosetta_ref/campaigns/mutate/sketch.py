"""GGUF in parts, and put together again as the parts say, wrong lengths and all.

Nothing here is shared with the reader: what the fields are is written down once more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
ALIGNMENT = b"general.alignment"


@dataclass
class Key:
    """A key, the kind of its value and the bytes of that."""

    name: bytes
    kind: int
    value: bytes


@dataclass
class Info:
    """A line of the tensor table; `ne` is fastest first."""

    name: bytes
    ne: list[int]
    type: int
    offset: int


@dataclass
class Sketch:
    """A file in parts."""

    order: str
    version: int
    keys: list[Key]
    infos: list[Info]
    data: bytes
    alignment: int = 32
    extra: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, raw_bytes: bytes) -> Sketch:
        """Take a valid file apart. Raises struct.error, ValueError and IndexError for others."""
        order = "<" if raw_bytes[4:6] != b"\0\0" else ">"
        version, tensors, count = struct.unpack_from(order + "Iqq", raw_bytes, 4)
        if raw_bytes[:4] != b"GGUF" or not 0 <= tensors < 10_000 or not 0 <= count < 10_000:
            raise ValueError("no such file")
        at, keys, infos = 24, [], []
        for _ in range(count):
            name, at = text_at(raw_bytes, at, order)
            (kind,) = struct.unpack_from(order + "I", raw_bytes, at)
            end = _skip(raw_bytes, at + 4, kind, order)
            keys.append(Key(name, kind, raw_bytes[at + 4 : end]))
            at = end
        for _ in range(tensors):
            name, at = text_at(raw_bytes, at, order)
            (dims,) = struct.unpack_from(order + "I", raw_bytes, at)
            ne = list(struct.unpack_from(f"{order}{dims}Q", raw_bytes, at + 4))
            infos.append(Info(name, ne, *struct.unpack_from(order + "IQ", raw_bytes, at + 4 + 8 * dims)))
            at += 16 + 8 * dims
        alignment = next(
            (struct.unpack(order + "I", key.value)[0] for key in keys if key.name == ALIGNMENT and len(key.value) == 4),
            32,
        )
        start = at + -at % max(alignment, 1)
        return cls(order, version, keys, infos, raw_bytes[start:], alignment)

    def joined(self) -> tuple[bytes, list[tuple[int, str]]]:
        """The bytes, and where each number stands with its code of `struct`."""
        out, numbers = bytearray(b"GGUF"), []

        def put(code: str, number: int) -> None:
            numbers.append((len(out), code))
            out.extend(struct.pack(self.order + code, number % (1 << 8 * struct.calcsize(code))))

        put("I", self.version)
        put("Q", self.extra.get("tensors", len(self.infos)))
        put("Q", self.extra.get("keys", len(self.keys)))
        for key in self.keys:
            put("Q", len(key.name))
            out += key.name
            put("I", key.kind)
            numbers += _inner(key, len(out))
            out += key.value
        for info in self.infos:
            put("Q", len(info.name))
            out += info.name
            put("I", len(info.ne))
            for size in info.ne:
                put("Q", size)
            put("I", info.type)
            put("Q", info.offset)
        padding = -len(out) % self.alignment if self.alignment else 0
        out += bytes([self.extra.get("padding", 0)]) * min(padding, 1 << 17)
        return bytes(out + self.data), numbers

    def text(self, value: bytes) -> bytes:
        """A string as the file has it."""
        return struct.pack(self.order + "Q", len(value)) + value

    def find(self, *beginnings: bytes) -> list[Key]:
        """The keys that begin so."""
        return [key for key in self.keys if key.name.startswith(beginnings)]


def text_at(data: bytes, at: int, order: str) -> tuple[bytes, int]:
    """A string, and where it ends. Raises ValueError, struct.error."""
    (length,) = struct.unpack_from(order + "Q", data, at)
    if at + 8 + length > len(data):
        raise ValueError("cut off")
    return data[at + 8 : at + 8 + length], at + 8 + length


def _skip(data: bytes, at: int, kind: int, order: str, depth: int = 0) -> int:
    if depth > 90:
        raise ValueError("too deep to be changed by its parts")
    if kind == STRING:
        return text_at(data, at, order)[1]
    if kind != ARRAY:
        return at + SIZES[kind]
    item, count = struct.unpack_from(order + "IQ", data, at)
    at += 12
    if item in SIZES:
        return int(at + count * SIZES[item])
    for _ in range(count):
        at = _skip(data, at, item, order, depth + 1)
    return at


def _inner(key: Key, at: int) -> list[tuple[int, str]]:
    """Where the numbers of a value stand: its length or count, or the value itself."""
    if key.kind == ARRAY:
        return [(at, "I"), (at + 4, "Q")] + ([(at + 12, "Q")] if len(key.value) >= 20 else [])
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(8 if key.kind == STRING else SIZES.get(key.kind, 0))
    return [(at, code)] if code and len(key.value) >= struct.calcsize(code) else []
