"""Tensors in another type, computed as their bytes are asked for.

A recoded tensor is as lazy as a mapped one: any span of its bytes is made from the blocks that cover it, so that a
model streams through whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rosetta_ref.archive import Bytes, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES, BlockType, libggml
from rosetta_ref.quant.block import Encoder, Floats, NoDecoderError
from rosetta_ref.quant.grid import WHY_NOT
from rosetta_ref.streaming import value_chunks


class NoEncoderError(RosettaError):
    """Values are only rounded to types with an encoder."""


class ImportanceShapeError(RosettaError):
    """An importance matrix has one weight for each column of each expert."""


def decoded(tensor: Tensor, name: str = "F32") -> Tensor:
    """The tensor's values as F32, F16 or BF16, lazily. Raises NoDecoderError for a type that cannot be decoded."""
    if tensor.type.decode is None:
        raise NoDecoderError(
            f"type {tensor.type.name} has no decoder", file=tensor.file, tensor=tensor.name, offset=tensor.offset
        )
    return _recoded(tensor, TYPES[name], TYPES[name].encode)


def encoded(tensor: Tensor, name: str, importance: Floats | None = None) -> Tensor:
    """The tensor's values rounded to another type, lazily.

    `importance` is a weight for each column, of shape (experts, columns): the first dimension of a 3-D tensor is its experts,
    and any other tensor has one. A type without an encoder here (`TYPES[name].encode` is None) is encoded by libggml where that
    is installed. Raises NoEncoderError, NoDecoderError, and RaggedRowError where rows are no whole number of blocks.
    """
    kind = TYPES[name]
    encoder = kind.encode or (libggml.encoder(kind) if name in WHY_NOT else None)
    if encoder is None:
        raise NoEncoderError(
            f"type {name} has no encoder here" + (f": {WHY_NOT[name]}" if name in WHY_NOT else ""),
            file=tensor.file,
            tensor=tensor.name,
            hint="With llama-cpp-python installed, ggml's own library encodes it." if name in WHY_NOT else None,
        )
    if tensor.type.decode is None:
        return decoded(tensor, name)
    made = _recoded(tensor, kind, encoder)
    if importance is None or kind.is_scalar or kind.is_whole:
        return made
    expected = (tensor.shape[0] if len(tensor.shape) > 2 else 1, tensor.shape[-1])
    if importance.shape != expected:
        raise ImportanceShapeError(f"{list(importance.shape)}, expected {list(expected)}", tensor=tensor.name)
    return replace(made, source=_RecodedRows(tensor, kind, made.nbytes, importance, encoder))


def _recoded(tensor: Tensor, kind: BlockType, encoder: Encoder | None) -> Tensor:
    size = kind.nbytes(tensor.shape)
    if kind.is_whole:
        return Tensor(tensor.name, kind, tensor.shape, _RecodedWhole(tensor, kind, size), tensor.file)
    assert encoder is not None
    return Tensor(tensor.name, kind, tensor.shape, _Recoded(tensor, kind, size, encoder), tensor.file)


@dataclass(frozen=True)
class _Recoded:
    inner: Tensor
    kind: BlockType
    nbytes: int
    encoder: Encoder

    def read(self, start: int, stop: int) -> Bytes:
        size, elements = self.kind.block_bytes, self.kind.elements
        first, last = start // size, -(-min(stop, self.nbytes) // size)
        values = _values(self.inner, first * elements, last * elements)
        if self.kind.name == "F32":
            made = values.view(np.uint8)
        else:
            made = np.ascontiguousarray(self.encoder(values)).view(np.uint8).reshape(-1)
        return made[start - first * size : stop - first * size]

    def release(self, start: int, stop: int) -> None:
        size, elements = self.kind.block_bytes, self.kind.elements
        first, last = start // size * elements, min(-(-stop // size) * elements, self.inner.count)
        if last > first:
            self.inner.source.release(*_span(self.inner, first, last))


@dataclass(frozen=True)
class _RecodedRows:
    """Weighted blocks: an encoder that is given weights looks at all of a row (Q4_0 takes its mean square), so rows are made whole.

    The weights belong to columns and to an expert, so the rows of two experts never go to the encoder together.
    """

    inner: Tensor
    kind: BlockType
    nbytes: int
    importance: Floats
    encoder: Encoder

    def read(self, start: int, stop: int) -> Bytes:
        size = self._row_bytes
        first, last = start // size, -(-min(stop, self.nbytes) // size)
        rows = self.inner.count // self.inner.shape[-1] // len(self.importance)
        pieces = [np.empty(0, np.uint8)]
        while first < last:
            expert = first // rows
            after = min(last, (expert + 1) * rows)
            pieces.append(self._encoded(first, after, self.importance[expert]))
            first = after
        made = pieces[1] if len(pieces) == 2 else np.concatenate(pieces)
        skipped = start // size * size
        return made[start - skipped : stop - skipped]

    def release(self, start: int, stop: int) -> None:
        columns, size = self.inner.shape[-1], self._row_bytes
        first, last = start // size * columns, min(-(-stop // size) * columns, self.inner.count)
        if last > first:
            self.inner.source.release(*_span(self.inner, first, last))

    @property
    def _row_bytes(self) -> int:
        return self.kind.nbytes((self.inner.shape[-1],))

    def _encoded(self, first: int, last: int, weights: Floats) -> Bytes:
        columns = self.inner.shape[-1]
        values = _values(self.inner, first * columns, last * columns).reshape(-1, columns)
        return np.ascontiguousarray(self.encoder(values, weights)).view(np.uint8).reshape(-1)


@dataclass(frozen=True)
class _RecodedWhole:
    """A type of one block a tensor (AprQ8): one scale, of the largest of all values, then a code for each."""

    inner: Tensor
    kind: BlockType
    nbytes: int

    @cached_property
    def largest(self) -> Floats:
        """The element that the scale comes from, as an array of one; of NaN nothing comes."""
        found = np.zeros(1, np.float32)
        for _, values in value_chunks(self.inner):
            magnitudes = np.abs(values)
            found = np.fmax(found, np.fmax.reduce(magnitudes, initial=np.float32(0)))
        return found

    def read(self, start: int, stop: int) -> Bytes:
        header = self.kind.block_bytes
        first, last = max(start - header, 0), min(stop, self.nbytes) - header
        values = _values(self.inner, first, last) if last > first else np.empty(0, np.float32)
        assert self.kind.encode is not None
        # With the largest element beside them, any few values get the scale and the codes they have among all.
        block = self.kind.encode(np.append(values, self.largest))
        made = np.concatenate([block["d"].view(np.uint8), block["qs"][0][:-1].view(np.uint8)])
        return made[start if start < header else header :][: stop - start]

    def release(self, start: int, stop: int) -> None:
        header = self.kind.block_bytes
        first, last = max(start - header, 0), min(stop - header, self.inner.count)
        if last > first:
            self.inner.source.release(*_span(self.inner, first, last))


def _span(tensor: Tensor, first: int, last: int) -> tuple[int, int]:
    """The bytes of the blocks of elements first..last, of which there is at least one."""
    start, stop = tensor.type.span(first, last)
    return start, min(stop, tensor.nbytes)


def _values(tensor: Tensor, first: int, last: int) -> Floats:
    """Elements first..last as float32, from the blocks that cover them; fewer where the tensor ends before."""
    last = min(last, tensor.count)
    kind, data = tensor.piece(first, last)
    assert kind.decode is not None
    before = 0 if tensor.type.is_whole else first % kind.elements
    return kind.decode(kind.blocks(data))[before : before + last - first]
