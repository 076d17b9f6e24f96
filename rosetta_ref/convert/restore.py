"""Weights, and what was kept beside them, back to the model they came from.

A tensor whose digest still matches gets its original blocks back, once these have been seen to decode to the weights, bit for
bit: blocks that were damaged are never taken for the original. One that was changed (fine-tuned) is taken from the weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rosetta_ref.architectures.huggingface import NameClashError, tensor_from_huggingface, tensor_to_huggingface
from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.convert.kept import BadKeptError, Kept, Record
from rosetta_ref.errors import RosettaError
from rosetta_ref.recode import decoded
from rosetta_ref.streaming import each

#: What a tensor may have been that is not kept as blocks.
_FLOATS = ("F32", "F16", "BF16")


class MissingWeightError(RosettaError):
    """Every tensor that `rosetta/source.json` names is in the weights."""


@dataclass(frozen=True)
class _Orders:
    """How tensors go between the weights and the model; `as_stored` is for weights that were written with --keep-names."""

    metadata: Mapping[str, Value]
    as_stored: bool

    def to_weights(self, tensor: Tensor) -> Tensor:
        return tensor if self.as_stored else tensor_to_huggingface(tensor, self.metadata)

    def to_model(self, weight: Tensor, name: str | None) -> Tensor:
        if self.as_stored:
            return replace(weight, name=name or weight.name)
        return tensor_from_huggingface(weight, name, self.metadata)


def restored(archive: Archive, known: Kept, metadata: Mapping[str, Value]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the model in their order, and the names of those that are no longer what was written.

    `metadata` is the model's, which may have changed since. Raises MissingWeightError where a recorded tensor is gone,
    BadKeptError where blocks were damaged.
    """
    named = {name: record.name for name, record in known.records.items() if record.name is not None}
    for name, weight in named.items():
        if weight not in archive.tensors:
            raise MissingWeightError(f"{name} came from it", file=archive.path, tensor=weight)
    orders = _Orders(metadata, as_stored=bool(named) and all(name == weight for name, weight in named.items()))

    def one(name: str) -> tuple[str, Tensor, bool]:
        record, block = known.records[name], known.blocks.get(name)
        if record.name is None:
            assert block is not None
            return name, block, False
        weight = archive.tensors[record.name]
        if not _is_changed(weight, record, None if block is None else orders.to_weights(block)):
            return name, block or _as_it_was(orders.to_model(weight, name), record), False
        return name, orders.to_model(weight, name), True

    by_size = sorted(known.records, key=lambda name: -archive.tensors[named[name]].nbytes if name in named else 0)
    nbytes = sum(tensor.nbytes for tensor in archive.tensors.values())
    found = {name: (tensor, changed) for name, tensor, changed in each(one, by_size, nbytes)}
    tensors = {name: found[name][0] for name in known.records}
    changed = [name for name in known.records if found[name][1]]
    for stray in sorted(archive.tensors.keys() - set(named.values())):
        tensor = orders.to_model(archive.tensors[stray], None)
        if tensor.name in tensors:
            raise NameClashError(f"becomes {tensor.name}, which is there already", file=archive.path, tensor=stray)
        tensors[tensor.name] = tensor
        changed.append(tensor.name)
    return tensors, sorted(changed)


def _is_changed(weight: Tensor, record: Record, block: Tensor | None) -> bool:
    """Whether a weight is no longer what was written for it; `block` is the kept original, in the order of the weights."""
    if block is None:
        return _crc32(weight) != record.crc32 or not _narrows(weight, record)
    if _crc32(weight) != record.crc32:
        return True
    if (
        block.shape == weight.shape
        and weight.type.encode is not None
        and _same(decoded(block, weight.type.name), weight)
    ):
        return False
    raise BadKeptError(
        "the weights are as they were written, and its original blocks do not decode to them: they were damaged",
        file=block.file, tensor=block.name, hint="Remove the folder to go on without it.",
    )  # fmt: skip


def _same(a: Tensor, b: Tensor) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.chunks(), b.chunks(), strict=True))


def _crc32(tensor: Tensor) -> int:
    crc = 0
    for chunk in tensor.chunks():
        crc = zlib.crc32(chunk, crc)
    return crc


def _narrows(weight: Tensor, record: Record) -> bool:
    """Whether nothing is lost when a weight goes back to its type: only BF16 within F32 could lose something."""
    if (record.type.name, weight.type.name) != ("BF16", "F32"):
        return True
    return not any(chunk.view("<u2")[::2].any() for chunk in weight.chunks())


def _as_it_was(tensor: Tensor, record: Record) -> Tensor:
    if tensor.type.name != record.type.name and record.type.name not in _FLOATS:
        raise BadKeptError(
            f"weights of {tensor.type.name} for {record.type.name}", file=tensor.file, tensor=tensor.name
        )
    return tensor if tensor.type.name == record.type.name else decoded(tensor, record.type.name)
