"""What stands in a model file, by readers that share nothing with the package: dimensions, types and places as stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import ggml

#: Type codes of APR whose numbers are not ggml's.
_APR_FLOATS = {0: "<f4", 1: "<f2"}
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class Stored:
    """`type` is ggml's id, APR's code or SafeTensors' dtype; `dims` are in the order of the file; `data` reaches to the next tensor."""

    type: int | str
    dims: tuple[int, ...]
    offset: int
    data: bytes


@dataclass(frozen=True)
class File:
    """A file: its metadata (GGUF's as plain values, APR's JSON, `config.json` beside weights), flags of APR, tensors by name."""

    kind: str
    metadata: dict[str, Any]
    tensors: dict[str, Stored]
    flags: int = 0
    #: Names of the other files of a directory.
    beside: tuple[str, ...] = ()
    #: What the other JSON files of a directory hold.
    texts: dict[str, Any] = field(default_factory=dict)
    #: The number of the kind of each key of a GGUF file.
    kinds: dict[str, int] = field(default_factory=dict)

    def values(self, name: str) -> np.ndarray:
        """float32 of the logical, row-major shape."""
        one = self.tensors[name]
        shape = one.dims[::-1] if self.kind == "gguf" else one.dims
        count = int(np.prod(shape))
        if self.kind == "safetensors":
            raw = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[str(one.type)]
            flat = np.frombuffer(one.data, raw)[:count]
            return (_of_bf16(flat) if one.type == "BF16" else flat.astype(np.float32)).reshape(shape)
        assert isinstance(one.type, int)
        if one.type in (0, 1):
            return np.frombuffer(one.data, _APR_FLOATS[one.type])[:count].astype(np.float32).reshape(shape)
        if one.type == 30:
            return _of_bf16(np.frombuffer(one.data, "<u2")[:count]).reshape(shape)
        _, elements, size = ggml.sizes(one.type)
        return ggml.decode(one.type, one.data[: count // elements * size], count).reshape(shape)

    def all_values(self) -> dict[str, np.ndarray]:
        return {name: self.values(name) for name in self.tensors}


def _of_bf16(words: np.ndarray) -> np.ndarray:
    return (words.astype(np.uint32) << 16).view(np.float32)


def read(path: Path) -> File:
    """A little-endian file, or a directory of one SafeTensors file with its config.json."""
    if path.is_dir():
        made = read(path / "model.safetensors")
        beside = tuple(sorted(file.name for file in path.iterdir() if file.name != "model.safetensors"))
        texts = {name: json.loads((path / name).read_text("utf-8")) for name in beside if name.endswith(".json")}
        return File(made.kind, texts.get("config.json", {}), made.tensors, beside=beside, texts=texts)
    data = path.read_bytes()
    return {b"GGUF": _gguf, b"APR\0": _apr}.get(data[:4], _safetensors)(data)


def _gguf(data: bytes) -> File:
    cursor = _Cursor(data, 4)
    _, count, keys = cursor.take("<Iqq")
    metadata, kinds = {}, {}
    for _ in range(keys):
        key = cursor.text()
        (kind,) = cursor.take("<I")
        kinds[key], metadata[key] = kind, cursor.value(kind)
    rows = []
    for _ in range(count):
        name = cursor.text()
        (dims,) = cursor.take("<I")
        ne = cursor.take(f"<{dims}q")
        rows.append((name, ne, *cursor.take("<IQ")))
    alignment = metadata.get("general.alignment", 32)
    base = -(-cursor.at // alignment) * alignment
    ends = sorted([row[3] for row in rows] + [len(data) - base])
    tensors = {
        name: Stored(kind, ne, offset, data[base + offset : base + next((e for e in ends if e > offset), offset)])
        for name, ne, kind, offset in rows
    }
    return File("gguf", metadata, tensors, kinds=kinds)


@dataclass
class _Cursor:
    data: bytes
    at: int

    def take(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return found

    def text(self) -> str:
        (size,) = self.take("<Q")
        (raw,) = self.take(f"{size}s")
        return raw.decode()

    def value(self, kind: int) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            item, count = self.take("<IQ")
            return [self.value(item) for _ in range(count)]
        return self.take("<" + _FORMATS[kind])[0]


def _apr(data: bytes) -> File:
    (flags,) = struct.unpack_from("<H", data, 6)
    count, start, size, index, base = struct.unpack_from("<IQIQQ", data, 8)
    return File("apr", json.loads(data[start : start + size]), dict(_apr_entries(data, count, index, base)), flags)


def _apr_entries(data: bytes, count: int, at: int, base: int) -> Iterator[tuple[str, Stored]]:
    cursor = _Cursor(data, at)
    for _ in range(count):
        (length,) = cursor.take("<H")
        (raw,) = cursor.take(f"{length}s")
        code, dims = cursor.take("<BB")
        shape = cursor.take(f"<{dims}Q")
        offset, nbytes = cursor.take("<QQ")
        yield raw.decode(), Stored(code, shape, offset, data[base + offset : base + offset + nbytes])


def _safetensors(data: bytes) -> File:
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            span = data[8 + size + first : 8 + size + last]
            tensors[name] = Stored(entry["dtype"], tuple(entry["shape"]), first, span)
    return File("safetensors", {}, tensors)
