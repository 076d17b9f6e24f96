"""GGUF, SafeTensors and APR files of any content, from `struct` and JSON alone."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any


def text(raw: bytes | str) -> bytes:
    """A string of GGUF."""
    raw = raw.encode() if isinstance(raw, str) else raw
    return struct.pack("<Q", len(raw)) + raw


def key(name: bytes | str, kind: int, value: bytes) -> bytes:
    """A key of GGUF with its value."""
    return text(name) + struct.pack("<I", kind) + value


def string(name: bytes | str, value: bytes | str) -> bytes:
    """A key of GGUF with a string."""
    return key(name, 8, text(value))


def entry(name: bytes | str, dims: Sequence[int], kind: int, offset: int) -> bytes:
    """A line of GGUF's tensor table."""
    return text(name) + struct.pack(f"<I{len(dims)}qIQ", len(dims), *dims, kind, offset)


def gguf(
    keys: Sequence[bytes] = (), tensors: Sequence[bytes] = (), data: bytes = b"", *, align: int = 32, order: str = "<"
) -> bytes:
    """A GGUF file."""
    head = b"GGUF" + struct.pack(f"{order}Iqq", 3, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % align) + data


def safetensors(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    """A SafeTensors file."""
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def apr(
    metadata: bytes | dict[str, Any],
    entries: Iterable[tuple[str, int, Sequence[int], int, int]] = (),
    data: bytes = b"",
) -> bytes:
    """An APR file; entries are (name, code, shape, offset, bytes)."""
    raw = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    lines = []
    for name, code, shape, offset, nbytes in sorted(entries, key=lambda one: one[0].encode()):
        lines.append(struct.pack("<H", len(name.encode())) + name.encode())
        lines.append(struct.pack(f"<BB{len(shape)}QQQ", code, len(shape), *shape, offset, nbytes))
    index = b"".join(lines)
    index_at = 64 + -(-len(raw) // 64) * 64
    data_at = index_at + -(-len(index) // 64) * 64
    fields = struct.pack("<4sBBHIQIQQ", b"APR\0", 2, 0, 0x0400, len(lines) // 2, 64, len(raw), index_at, data_at)
    head = fields + struct.pack("<I", header_checksum(fields + bytes(24))) + bytes(20)
    body = head + raw.ljust(index_at - 64, b"\0") + index.ljust(data_at - index_at, b"\0") + data
    body += bytes(-len(body) % 64)
    return body + struct.pack("<I", zlib.crc32(body))


def header_checksum(head: bytes) -> int:
    """The checksum of APR's header: of its 64 bytes, without its own four."""
    return zlib.crc32(head[:40] + head[44:64])
