"""Tensors in another type, computed as their bytes are asked for.

A recoded tensor is as lazy as a mapped one: any span of its bytes is made from the blocks that cover it, so that a
model streams through whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rosetta_ref.archive import Bytes, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import Floats, NoDecoderError
from rosetta_ref.streaming import byte_of


class NoEncoderError(RosettaError):
    """Values are only rounded to types with an encoder."""


def decoded(tensor: Tensor, name: str = "F32") -> Tensor:
    """The tensor's values as F32, F16 or BF16, lazily. Raises NoDecoderError for a type that cannot be decoded."""
    if tensor.type.decode is None:
        raise NoDecoderError(
            f"type {tensor.type.name} has no decoder", file=tensor.file, tensor=tensor.name, offset=tensor.offset
        )
    return _recoded(tensor, TYPES[name])


def encoded(tensor: Tensor, name: str) -> Tensor:
    """The tensor's values rounded to another type, lazily.

    Raises NoEncoderError, NoDecoderError, and RaggedRowError where rows are no whole number of blocks.
    """
    if TYPES[name].encode is None:
        raise NoEncoderError(f"type {name} has no encoder here yet", file=tensor.file, tensor=tensor.name)
    return decoded(tensor, name)


def _recoded(tensor: Tensor, kind: BlockType) -> Tensor:
    return Tensor(tensor.name, kind, tensor.shape, _Recoded(tensor, kind, kind.nbytes(tensor.shape)), tensor.file)


@dataclass(frozen=True)
class _Recoded:
    inner: Tensor
    kind: BlockType
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        size, elements = self.kind.block_bytes, self.kind.elements
        first, last = start // size, -(-min(stop, self.nbytes) // size)
        values = _values(self.inner, first * elements, last * elements)
        if self.kind.name == "F32":
            made = values.view(np.uint8)
        else:
            assert self.kind.encode is not None
            made = np.ascontiguousarray(self.kind.encode(values)).view(np.uint8).reshape(-1)
        return made[start - first * size : stop - first * size]

    def release(self, start: int, stop: int) -> None:
        size, elements = self.kind.block_bytes, self.kind.elements
        first, last = start // size * elements, min(-(-stop // size) * elements, self.inner.count)
        kind = self.inner.type
        end = byte_of(self.inner, last - 1) + kind.block_bytes if last > first else 0
        if last > first:
            self.inner.source.release(byte_of(self.inner, first), min(end, self.inner.nbytes))


def _values(tensor: Tensor, first: int, last: int) -> Floats:
    """Elements first..last as float32, from the blocks that cover them."""
    kind = tensor.type
    assert kind.decode is not None
    if not kind.elements:  # one block a tensor: its scale, then the codes asked for
        header = kind.block_bytes
        head = tensor.source.read(0, header)
        data = np.concatenate([head, tensor.source.read(header + first, header + last)])
        piece = kind.sized(last - first)
        assert piece.decode is not None
        return piece.decode(piece.blocks(data))
    before = first // kind.elements
    after = -(-last // kind.elements)
    blocks = kind.blocks(tensor.source.read(before * kind.block_bytes, after * kind.block_bytes))
    return kind.decode(blocks)[first - before * kind.elements : last - before * kind.elements]
