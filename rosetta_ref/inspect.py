"""What a file holds, in a form that people and machines can read; and one block, field by field.

The fields of a block come from the layout of its type, the same line that the decoder reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.archive import Archive, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.streaming import STEP, byte_of, index_of


class NoSuchTensorError(RosettaError):
    """A tensor is named as in the file."""


class NoSuchBlockError(RosettaError):
    """A tensor's blocks count from 0."""


@dataclass(frozen=True)
class Field:
    """A field of a block: its name, its type in the layout, its byte in the block, its bytes, and what they say."""

    name: str
    type: str
    offset: int
    hex: str
    values: list[Any]


@dataclass(frozen=True)
class Block:
    """One block of a tensor. `offset` is its byte in the file, `first` the index of its first element."""

    tensor: str
    type: str
    number: int
    of: int
    offset: int | None
    first: tuple[int, ...]
    fields: list[Field]
    decoded: list[float] | None

    def to_json(self) -> dict[str, Any]:
        """The block as plain JSON values; numbers that JSON does not have are text."""
        fields = [vars(field) | {"values": [_json(v) for v in field.values]} for field in self.fields]
        decoded = None if self.decoded is None else [_json(v) for v in self.decoded]
        return vars(self) | {"first": list(self.first), "fields": fields, "decoded": decoded}


def summary(archive: Archive) -> dict[str, Any]:
    """Files, sizes, types and notes as plain JSON values."""
    return {
        "format": archive.format,
        "path": str(archive.path),
        "parts": [
            {"file": str(part.map.path), "bytes": part.map.size, "tensors": len(part.names)} for part in archive.parts
        ],
        "parameters": sum(tensor.count for tensor in archive.tensors.values()),
        "tensor_bytes": sum(tensor.nbytes for tensor in archive.tensors.values()),
        "types": _types(archive),
        "notes": list(archive.notes),
    }


def describe(archive: Archive) -> dict[str, Any]:
    """Header, metadata and tensors as plain JSON values, in stored order."""
    return summary(archive) | {
        "metadata": {key: _metadata(value) for key, value in archive.metadata.items()},
        "tensors": [
            {
                "name": tensor.name,
                "type": tensor.type.name,
                "shape": list(tensor.shape),
                "bytes": tensor.nbytes,
                "offset": tensor.offset,
                "file": str(tensor.file),
            }
            for tensor in archive.tensors.values()
        ],
    }


def block_of(archive: Archive, name: str, number: int) -> Block:
    """Block `number` of a tensor. Raises NoSuchTensorError or NoSuchBlockError.

    A type of one block a tensor (AprQ8) is cut into stretches, each with the fields that all share.
    """
    tensor = archive.tensors.get(name)
    if tensor is None:
        near = [other for other in archive.tensors if name.lower() in other.lower()][:5]
        hint = f"There are: {', '.join(near)}." if near else None
        raise NoSuchTensorError(f"no tensor {name!r}", file=archive.path, hint=hint)
    kind = tensor.type
    elements = STEP if kind.is_whole else kind.elements
    count = -(-tensor.count // elements)
    if not 0 <= number < count:
        raise NoSuchBlockError(f"no block {number} of {count}", file=archive.path, tensor=name)
    first = number * elements
    start = byte_of(tensor, first)
    kind, data = tensor.piece(first, min(first + elements, tensor.count))
    blocks = kind.blocks(data)
    decoded = None if kind.decode is None else [float(x) for x in kind.decode(blocks)]
    offset = None if tensor.offset is None else tensor.offset + start
    return Block(name, kind.name, number, count, offset, index_of(tensor, first), _fields(blocks), decoded)


def _fields(blocks: Any) -> list[Field]:
    fields = []
    for name, (dtype, offset, *_) in (blocks.dtype.fields or {}).items():
        values = np.atleast_1d(blocks[name][0])
        shown = f"{dtype.shape[0]}x{dtype.base.name}" if dtype.shape else dtype.name
        fields.append(Field(name, shown, offset, values.tobytes().hex(), values.tolist()))
    return fields


def _types(archive: Archive) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in archive.tensors.values():
        counts[tensor.type.name] = counts.get(tensor.type.name, 0) + 1
    return counts


def _metadata(value: Any) -> Any:
    if not isinstance(value, Value):
        return value
    kind = value.kind.name.lower() if value.item is None else f"array of {value.item.name.lower()}"
    return {"type": kind, "value": _json(value.plain())}


def _json(value: Any) -> Any:
    """NaN and Inf are not JSON, and half a surrogate pair is not UTF-8."""
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
