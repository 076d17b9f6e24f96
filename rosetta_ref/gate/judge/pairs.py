"""Two tensors of one shape side by side, a piece at a time: what is judged takes the memory of a piece, however large it is.

A piece is a tensor of whole blocks, so every rule that looks at one block or one element at a time may look at pieces instead. What
was read is let go of: pages of a mapped file count as memory of the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Buffer, Bytes, Source, Tensor
from rosetta_ref.gate.judge import mapping
from rosetta_ref.quant import TYPES

Array = NDArray[Any]
#: Elements of a piece, as far as blocks allow: a few arrays of float64 of that size stay in the cache.
STEP = 1 << 18
FLOATS = ("F16", "BF16", "F32", "F64")


def numbers(tensor: Tensor) -> Array:
    """The exact values: float64 and integers as they are, everything else as float32, which holds them."""
    if tensor.type.name == "F64" or (tensor.type.is_scalar and tensor.type.name not in (*FLOATS, "BOOL")):
        stored: Array = tensor.type.blocks(tensor.data)
        field = stored.dtype.names
        made: Array = stored[field[0]] if field else stored
        return made.reshape(tensor.shape)
    return tensor.values()


def part(tensor: Tensor, first: int, last: int) -> Tensor:
    """Elements first..last, flat; `first` begins a block, and `last` ends one or the tensor."""
    return replace(tensor, shape=(last - first,), source=Buffer(tensor.piece(first, last)[1]))


def within(tensor: Tensor, first: int, last: int) -> Tensor:
    """The same of any length, read when it is asked for; of a type of scalars."""
    start, stop = tensor.type.span(first, last)
    return replace(tensor, shape=(last - first,), source=_Within(tensor.source, start, stop - start))


def release(tensor: Tensor, first: int, last: int) -> None:
    """Those elements are done with."""
    tensor.source.release(*tensor.type.span(first, last))


@dataclass(frozen=True)
class Pair:
    """A tensor and what became of it, of one shape."""

    source: Tensor
    target: Tensor

    def numbers(self, *, whole: bool = False) -> Iterator[tuple[int, Array, Array]]:
        """The index of the first element of a piece, and the numbers of both, flat; `whole` makes it one piece."""
        unit = math.lcm(*(tensor.type.unit for tensor in (self.source, self.target)))
        count = self.source.count
        step = max(count, 1) if whole else max(STEP // unit, 1) * unit
        for first in range(0, count, step):
            last = min(first + step, count)
            yield first, numbers(part(self.source, first, last)), numbers(part(self.target, first, last))
            release(self.source, first, last)
            release(self.target, first, last)

    def bytes(self) -> Iterator[tuple[int, Bytes, Bytes]]:
        """The place of the first byte, and the bytes of both, which are as many; whole blocks."""
        size, block = self.source.nbytes, self.source.type.block_bytes
        step = max(4 * STEP // block, 1) * block
        for start in range(0, size, step):
            stop = min(start + step, size)
            yield start, self.source.source.read(start, stop), self.target.source.read(start, stop)
            self.source.source.release(start, stop)
            self.target.source.release(start, stop)

    def same_bytes(self) -> bool:
        """Whether all bytes are the same, whatever type and shape they are given."""
        if self.source.nbytes != self.target.nbytes:
            return False
        return all(np.array_equal(before, after) for _, before, after in self.bytes())

    def same_numbers(self) -> bool:
        """Whether all numbers are the same, NaN for NaN."""
        return all(_equal(before, after) for _, before, after in self.numbers())


def _equal(before: Array, after: Array) -> bool:
    with np.errstate(invalid="ignore"):  # NaN that signals
        return np.array_equal(before.astype(np.float64), after.astype(np.float64), equal_nan=True)


def transposed(source: Tensor, target: Tensor) -> bool:
    """Whether the numbers of one are those of the other with the dimensions turned around; both are of scalars."""
    if not source.count:
        return True
    row = source.count // source.shape[0]
    step = max(STEP // row, 1)
    stored = target.type.blocks(target.data).reshape(target.shape)
    for first in range(0, source.shape[0], step):
        last = min(first + step, source.shape[0])
        rows = numbers(part(source, first * row, last * row)).reshape(-1, *source.shape[1:])
        columns = stored[..., first:last]
        found = numbers(Tensor.of(target.name, target.type, columns.shape, np.ascontiguousarray(columns)))
        release(source, first * row, last * row)
        release(target, 0, target.count)
        if not _equal(rows.transpose(), found):
            return False
    return True


def whole_rows(tensor: Tensor) -> bool:
    """Whether each row is bytes of its own: no block holds elements of two, and no scale stands for all of them."""
    fits = bool(tensor.shape) and tensor.type.splits_rows(tensor.shape[-1])
    return fits and tensor.nbytes % max(tensor.shape[0], 1) == 0


def turned(tensor: Tensor, turn: tuple[int, bool] | None) -> Tensor:
    """The tensor with its rows in the other order; `turn` is (heads, to halves). In F32 where its rows are not whole blocks."""
    if turn is None:
        return tensor
    heads, halves = turn
    order = (mapping.to_halves if halves else mapping.to_pairs)(np.arange(tensor.shape[0]), heads)
    if not tensor.count:
        return tensor
    if not whole_rows(tensor):
        return replace(Tensor.of(tensor.name, TYPES["F32"], tensor.shape, numbers(tensor)[order]), file=tensor.file)
    return replace(tensor, source=_Rows(tensor.source, order))


@dataclass(frozen=True)
class _Within:
    """So many bytes of another source, from there on."""

    inner: Source
    start: int
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        return self.inner.read(self.start + start, self.start + stop)

    def release(self, start: int, stop: int) -> None:
        self.inner.release(self.start + start, self.start + stop)


@dataclass(frozen=True)
class _Rows:
    """The rows of another source, in this order."""

    inner: Source
    order: NDArray[np.intp]

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        low, high, size = self._around(start, stop)
        rows = self.inner.read(low * size, high * size).reshape(-1, size)
        wanted = rows[self.order[start // size : -(-stop // size)] - low]
        return wanted.reshape(-1)[start % size :][: stop - start]

    def release(self, start: int, stop: int) -> None:
        low, high, size = self._around(start, stop)
        self.inner.release(low * size, high * size)

    def _around(self, start: int, stop: int) -> tuple[int, int, int]:
        """The rows that these bytes come from lie between two, of so many bytes each: a head or two around them."""
        size = self.nbytes // len(self.order)
        rows = self.order[start // size : -(-stop // size)]
        return int(rows.min()), int(rows.max()) + 1, size
