"""A model as a big-endian GGUF file: every number the other way round, in the metadata, the table and the blocks.

The byte order is in no field: a reader finds a version of 3 << 24. Within a block the fields are turned, not the block as a whole,
and bytes stay: gguf-py/gguf/scripts/gguf_convert_endian.py in https://github.com/ggml-org/llama.cpp, for the types of `TYPES`.
"""

from __future__ import annotations

import struct

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value

TYPES = ("F32", "F16", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q6_K")
_ALIGNMENT = 32


def big_endian(model: Archive) -> bytes:
    """The file. Its alignment is 32."""
    head = b"GGUF" + struct.pack(">IQQ", 3, len(model.tensors), len(model.metadata))
    head += b"".join(
        _text(key) + struct.pack(">I", value.kind) + _value(value) for key, value in model.metadata.items()
    )
    data = b""
    for name, tensor in model.tensors.items():
        ne = tensor.shape[::-1]
        head += _text(name) + struct.pack(f">I{len(ne)}QIQ", len(ne), *ne, tensor.type.id, len(data))
        data += _padded(_turned(tensor))
    return _padded(head) + data


def _turned(tensor: Tensor) -> bytes:
    blocks = tensor.type.blocks(tensor.data)
    return bytes(blocks.astype(blocks.dtype.newbyteorder(">")).tobytes())


def _value(value: Value) -> bytes:
    if value.kind is Kind.STRING:
        return _text(value.data)
    if value.kind is not Kind.ARRAY:
        return _numbers(value.data)
    assert value.item is not None
    items = b"".join(map(_text, value.data)) if value.item is Kind.STRING else _numbers(value.data)
    return struct.pack(">IQ", value.item, len(value.data)) + items


def _numbers(numbers: np.generic | np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    array = np.asarray(numbers)
    return bytes(array.astype(array.dtype.newbyteorder(">")).tobytes())


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">Q", len(raw)) + raw


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
