"""The one loop that every block encoder runs in: cache-sized pieces, so that a kernel may be written as plain array arithmetic.

A kernel gets some hundreds of blocks' values, shape (blocks, elements), and an array of zeroed blocks to fill in. A weighted
kernel also gets the importance of each value. Inside, groups are turned to (element, group), see `rounding`.

A NaN counts as 0 in all of them: a block with NaN has the bytes of the same block with 0 in its place, and no scale
is ever NaN because of it. (What ggml makes of a NaN depends on where in the block it stands.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks, Encoder, Floats, RaggedRowError
from rosetta_ref.quant.table import ROWS, block_dtype

#: Fill in the blocks of values of shape (blocks, elements).
Kernel = Callable[[Floats, Any], None]
#: The same with the importance of each value; the last argument is the mean square of the row that each block is part of, for
#: those that ask for it, which takes time.
WeightedKernel = Callable[[Floats, Any, Floats, Floats], None]

#: Elements that one call of a kernel works on: enough that NumPy's calls cost little beside the work, little enough for the cache.
_PIECE = 1 << 17

_HALF, _SINGLE = 65504.0, float(np.finfo(np.float32).max)
#: Up to which magnitude finite numbers stay finite without a matrix, for types that do not reach as far as float32. Plain rounding:
#: as far as the f16 scale times the largest code, or the f16 minimum. The searches may take a scale above the one that the
#: largest element asks for: half as far; and so may a scale in float32, by rounding. Beyond, values are Inf, as ggml's are, and
#: `convert` refuses the tensor.
REACH: dict[str, float] = {
    "F16": _HALF, "BF16": 3.3895313892515355e38, "Q8_K": _SINGLE / 2, "AprQ8": _SINGLE / 2, "AprQ4": 7 * _HALF,
    "Q4_0": 8 * _HALF, "Q5_0": 16 * _HALF, "Q4_1": _HALF, "Q5_1": _HALF, "Q8_0": 127 * _HALF, "Q8_1": 127 * _HALF,
    "TQ1_0": _HALF, "TQ2_0": _HALF, "Q1_0": _HALF, "Q2_0": _HALF,
    "Q2_K": 15 * _HALF / 2, "Q3_K": 32 * 4 * _HALF / 2, "Q4_K": 63 * _HALF / 2, "Q5_K": 63 * _HALF / 2,
    "Q6_K": 128 * 32 * _HALF / 2, "IQ4_NL": 113 * _HALF / 2, "IQ4_XS": 31 * 113 * _HALF / 2,
}  # fmt: skip


class ImportanceError(RosettaError):
    """An importance matrix has one weight for each column."""


def encoder(name: str, kernel: Kernel, weighted: WeightedKernel | None = None, *, mean_of_row: bool = False) -> Encoder:
    """An encoder made of kernels: float32 of shape (..., n * elements) to blocks of shape (..., n).

    With `importance`, one weight per column, the weighted kernel is used, where the type has one.
    """
    elements, dtype = ROWS[name][1], block_dtype(name)

    def encode(values: Any, importance: Any = None) -> Blocks:
        x = np.ascontiguousarray(values, np.float32)
        columns = x.shape[-1]
        if columns % elements:
            raise RaggedRowError(f"a row of {columns} elements is not a whole number of {name} blocks of {elements}")
        made = np.zeros((*x.shape[:-1], columns // elements), dtype)
        with np.errstate(all="ignore"):
            if importance is None or weighted is None:
                for values_, blocks in _pieces(x.reshape(-1, elements), made.reshape(-1)):
                    kernel(values_, blocks)
            else:
                _encode_weighted(x, _weights(importance, columns), made.reshape(-1), weighted, mean_of_row)
        return made

    return encode


def _pieces(rows: Floats, made: Any) -> Iterator[tuple[Floats, Any]]:
    step = max(_PIECE // rows.shape[1], 1)
    for first in range(0, made.size, step):
        yield numbers(rows[first : first + step]), made[first : first + step]


def _weights(importance: Any, columns: int) -> Floats:
    weights = np.asarray(importance, np.float32)
    if weights.shape != (columns,):
        raise ImportanceError(f"{columns} columns need {columns} weights, not an array of shape {weights.shape}")
    return numbers(weights)


def _encode_weighted(x: Floats, weights: Floats, made: Any, kernel: WeightedKernel, mean_of_row: bool) -> None:
    """Piece by piece of each row, since each block of a row has weights of its own."""
    columns = x.shape[-1]
    per_row = columns // (x.size // made.size) if made.size else 1
    elements = columns // per_row
    rows = max(_PIECE // columns, 1)
    for first in range(0, made.size // per_row, rows):
        some = numbers(x.reshape(-1, columns)[first : first + rows])
        blocks = made[first * per_row : (first + rows) * per_row]
        mean = np.repeat(mean_square(some), per_row) if mean_of_row else np.empty(0, np.float32)
        each = np.broadcast_to(weights, some.shape).reshape(-1, elements)
        step = _PIECE // elements
        for i in range(0, blocks.size, step):
            piece = slice(i, i + step)
            kernel(some.reshape(-1, elements)[piece], blocks[piece], each[piece], mean[piece])


def numbers(x: Floats) -> Floats:
    """The same with 0 in the place of each NaN."""
    if not x.size or not np.isnan(np.max(x)):
        return x
    without: Floats = np.where(np.isnan(x), np.float32(0), x)
    return without


def mean_square(rows: Floats) -> Floats:
    """The mean of the squares of each row, added up from the first element to the last."""
    sums: Floats = np.add.accumulate(rows * rows, axis=1)[:, -1]
    return sums / np.float32(rows.shape[1])


def groups(x: Floats, size: int) -> Floats:
    """Rows cut into groups of `size` elements, as a new array (element, group)."""
    return np.array(x.reshape(-1, size).T, order="C")


def by_block(of_groups: Floats, blocks: int) -> Floats:
    """One number a group, as (group of the block, block)."""
    return np.ascontiguousarray(of_groups.reshape(blocks, -1).T)


def ungrouped(codes: Any, elements: int) -> Any:
    """Codes of shape (element, group) as bytes of shape (block, element)."""
    return np.ascontiguousarray(codes.astype(np.uint8).T).reshape(-1, elements)
