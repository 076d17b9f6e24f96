"""Tensors packed as GGUF and unpacked again: of GGUF it reads only what it has written itself, byte for byte, and claims no more.

What it writes has one form: a file that would not come out the same again is somebody else's, or broken, and is refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

NEEDS = ()
ENTRY = {
    "pairs": ("S-G", "G-S"), "reads_own_files_only": True, "safetensors_as": "file", "whole_models": False, "architectures": (),
    "types": ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"),
}  # fmt: skip
CASES = ("F-CONV-003/floats/f32/*", "F-CONV-004/floats/f32/*", "F-CONV-CARD-001/G-S/floats", "F-CONV-SAFE-001/gguf/*")
#: ggml's numbers of types (ggml.h), and what SafeTensors calls them.
_NUMBERS = {"F32": 0, "F16": 1, "I8": 24, "I16": 25, "I32": 26, "I64": 27, "F64": 28, "BF16": 30}
_TYPES = {number: name for name, number in _NUMBERS.items()}
_BYTES = {"F32": 4, "F16": 2, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "F64": 8, "BF16": 2}
#: Magic, version; behind the counts the one key, with a text (kind 8).
_MAGIC, _KEY = b"GGUF" + struct.pack("<I", 3), b"general.name"
_OURS = struct.pack("<Q", len(_KEY)) + _KEY + struct.pack("<IQ", 8, 6) + b"packed"
_ALIGNMENT = 32

Tensors = Mapping[str, tuple[str, list[int], bytes]]


def convert(src: Path, dst: Path) -> None:
    """Pack or unpack."""
    data = Path(src).read_bytes()
    packs = Path(dst).suffix == ".gguf"
    try:
        tensors = opened(data) if packs else unpacked(data)
    except (struct.error, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{Path(src).name} cannot be read: {error!r}") from error
    if not packs and packed(tensors) != data:
        raise ValueError(f"{Path(src).name} is none of mine, or is broken")
    Path(dst).write_bytes(packed(tensors) if packs else closed(tensors))


def packed(tensors: Tensors) -> bytes:
    """The one form of a file."""
    head, body = [_MAGIC, struct.pack("<QQ", len(tensors), 1), _OURS], b""
    for name, (kind, shape, data) in tensors.items():
        text, sizes = name.encode(), shape[::-1] or [1]
        head += [struct.pack("<Q", len(text)), text, struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)]
        head.append(struct.pack("<IQ", _NUMBERS[kind], len(body)))
        body += data + bytes(-len(data) % _ALIGNMENT)
    start = b"".join(head)
    return start + bytes(-len(start) % _ALIGNMENT) + body


def unpacked(data: bytes) -> Tensors:
    """What such a file holds, if it is one."""
    (count,), at = struct.unpack_from("<Q", data, 8), 24 + len(_OURS)
    if data[24:at] != _OURS or count > len(data):
        raise ValueError("it is none of mine")
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        name, at = data[at + 8 : at + 8 + length].decode(), at + 8 + length
        (rank,) = struct.unpack_from("<I", data, at)
        if not 1 <= rank <= 4:
            raise ValueError(f"{name} has {rank} dimensions")
        *shape, kind, offset = struct.unpack_from(f"<{rank}QIQ", data, at + 4)
        at += 16 + 8 * rank
        found.append((name, _TYPES[kind], shape[::-1], offset))
    start, tensors = at + -at % _ALIGNMENT, {}
    for name, kind, shape, offset in found:
        size = _BYTES[kind]
        for each in shape:
            size *= each
        if start + offset + size > len(data):
            raise ValueError(f"the data of {name} goes past the end")
        tensors[name] = kind, shape, data[start + offset : start + offset + size]
    return tensors


def opened(data: bytes) -> Tensors:
    """What a SafeTensors file holds."""
    (length,) = struct.unpack_from("<Q", data)
    header, start, tensors = json.loads(data[8 : 8 + length]), 8 + length, {}
    header.pop("__metadata__", None)
    end = 0
    for name, each in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = each["data_offsets"]
        size = _BYTES[each["dtype"]]
        for dimension in each["shape"]:
            size *= dimension
        if first != end or last - first != size:
            raise ValueError(f"{name} is not where the one before it ends, or has another size")
        tensors[name], end = (each["dtype"], list(each["shape"]), data[start + first : start + last]), last
    if len(data) != start + end:
        raise ValueError(f"the file has {len(data):,} bytes, and its header says {start + end:,}")
    return tensors


def closed(tensors: Tensors) -> bytes:
    """A SafeTensors file of them."""
    header, end = {}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end := end + len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())
