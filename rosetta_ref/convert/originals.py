"""What of a tensor the model does not give back: values that a transform rounded, and rows that GGUF has no token for.

Most tensors come back bit for bit by the inverse of what was done to them (`architectures.transforms`), so nothing is kept of them.
Gemma's 1 + w rounds a w below 2^-16 away, and the rows of its embedding that no token uses are cut off. Both are few.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rosetta_ref import limits
from rosetta_ref.architectures import huggingface
from rosetta_ref.archive import Archive, Buffer, Bytes, Source, Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.recode import decoded

#: What is stored of a tensor, by its Hugging Face name: its bytes from that row on.
Stored = Mapping[str, Mapping[str, Any]]
STRUCTURE = {...: {"type": str, "shape": [int], "row": int, "base64": str}}


def rounded(model: Archive) -> list[str]:
    """The GGUF names of the tensors that do not come back when they go to Hugging Face's values and back."""
    found = []
    for name, tensor in model.tensors.items():
        if huggingface.rounds(name, model.metadata):
            there = huggingface.tensor_to_huggingface(tensor, model.metadata)
            if not same(huggingface.tensor_from_huggingface(there, name, model.metadata), tensor):
                found.append(name)
    return found


def of_source(source: Archive, model: Archive, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the model made of a Hugging Face directory does not give back; `names` are the names there, by GGUF name.

    Raises LimitExceededError.
    """
    found: dict[str, dict[str, Any]] = {}
    if "general.architecture" not in model.metadata:  # carried as stored
        return found
    for ours, theirs in names.items():
        original, made = source.tensors[theirs], model.tensors[ours]
        if original.shape != made.shape:
            found[theirs] = _record(original, made.shape[0])
        elif huggingface.rounds(ours, model.metadata):
            back = huggingface.tensor_to_huggingface(made, model.metadata)
            if not same(back if back.type == original.type else decoded(back, original.type.name), original):
                found[theirs] = _record(original, 0)
    size = sum(len(record["base64"]) for record in found.values())
    limits.require("left-out-bytes", size, "what GGUF has no place for", file=source.path)
    return found


def _record(tensor: Tensor, row: int) -> dict[str, Any]:
    start = tensor.nbytes // tensor.shape[0] * row
    data = base64.b64encode(tensor.source.read(start, tensor.nbytes).tobytes()).decode()
    return {"type": tensor.type.name, "shape": list(tensor.shape), "row": row, "base64": data}


def require_stored(stored: Stored, types: Mapping[str, str]) -> None:
    """Raise ValueError where a record is not of a tensor of the directory, or has another size."""
    for name, record in stored.items():
        kind, shape, row = TYPES.get(record["type"]), record["shape"], record["row"]
        if kind is None or types.get(name) != record["type"] or not shape or not 0 <= row < shape[0]:
            raise ValueError(f"{name[:200]} is no tensor of the directory")
        size = kind.nbytes([shape[0] - row, *shape[1:]])
        if len(base64.b64decode(record["base64"], validate=True)) != size:
            raise ValueError(f"{name[:200]} has another size")


def whole(name: str, record: Mapping[str, Any], tensor: Tensor, model: Archive) -> Tensor | None:
    """The tensor as it was in the directory; None where the model's is not what was made of it.

    `tensor` is the model's, with Hugging Face's values.
    """
    kind, shape, row = TYPES[record["type"]], tuple(record["shape"]), record["row"]
    data = Buffer(np.frombuffer(base64.b64decode(record["base64"]), np.uint8))
    if not row and tensor.shape != shape:
        return None
    if not row:
        made = Tensor(name, kind, shape, data)
        ours = huggingface.tensor_from_huggingface(made, None, model.metadata)
        return made if ours.name in model.tensors and same(ours, model.tensors[ours.name]) else None
    if tensor.type != kind or tensor.shape != (row, *shape[1:]):
        return None
    return replace(tensor, shape=shape, source=_Joined((tensor.source, data)), offset=None)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bytes, as the same type and shape."""
    if (one.type, one.shape) != (other.type, other.shape):
        return False
    return all(np.array_equal(a, b) for a, b in zip(one.chunks(), other.chunks(), strict=True))


@dataclass(frozen=True)
class _Joined:
    """The bytes of one source behind those of another."""

    parts: tuple[Source, ...]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def read(self, start: int, stop: int) -> Bytes:
        found = [part.read(first, last) for part, first, last in self._within(start, stop)]
        return found[0] if len(found) == 1 else np.concatenate(found or [np.empty(0, np.uint8)])

    def release(self, start: int, stop: int) -> None:
        for part, first, last in self._within(start, stop):
            part.release(first, last)

    def _within(self, start: int, stop: int) -> Iterable[tuple[Source, int, int]]:
        before = 0
        for part in self.parts:
            first, last = max(start - before, 0), min(stop - before, part.nbytes)
            if first < last:
                yield part, first, last
            before += part.nbytes
