"""The one loop that the encoders of this package's newer families run in: cache-sized pieces, and what is true of all of them.

A kernel gets the values of some blocks, one row a block, the importance of each (or None), and the blocks to fill. It
never meets a NaN: **a NaN is encoded as 0 would be**, whatever ggml's search would have made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks, Encoder, Floats, RaggedRowError, layout_dtype

Kernel = Callable[[Floats, Floats | None, Any], None]

#: Elements that one call of a kernel works on.
_PIECE = 1 << 16


class ImportanceError(RosettaError):
    """An importance matrix has one weight for each column."""


def encoder(elements: int, layout: str, kernel: Kernel) -> Encoder:
    """An encoder made of a kernel: float32 of shape (..., n * elements) to blocks of shape (..., n)."""
    dtype = layout_dtype(layout)

    def encode(values: Any, importance: Any = None) -> Blocks:
        x = np.ascontiguousarray(values, np.float32)
        columns = x.shape[-1] if x.ndim else 1
        if columns % elements:
            raise RaggedRowError(f"a row of {columns} elements is not a whole number of blocks of {elements}")
        weights = None if importance is None else _rows(importance, columns, elements)
        rows, step = x.reshape(-1, elements), max(_PIECE // elements, 1)
        made = np.zeros(rows.shape[0], dtype)
        with np.errstate(all="ignore"):
            for first in range(0, made.size, step):
                piece = slice(first, first + step)
                kernel(_numbers(rows[piece]), _of_blocks(weights, first, made[piece].size), made[piece])
        return made.reshape(*x.shape[:-1], columns // elements)

    return encode


def _rows(importance: Any, columns: int, elements: int) -> Floats:
    weights = np.ascontiguousarray(importance, np.float32)
    if weights.shape != (columns,):
        raise ImportanceError(f"an importance of shape {weights.shape} is not one weight for each of {columns} columns")
    return weights.reshape(-1, elements)


def _of_blocks(weights: Floats | None, first: int, count: int) -> Floats | None:
    """The weights of `count` blocks from block `first` on, counted over all rows."""
    return None if weights is None else weights[np.arange(first, first + count) % weights.shape[0]]


def half(x: Floats) -> Any:
    """Rounded to f16; a NaN becomes the plain one of its sign, as C makes it."""
    halves = x.astype(np.float16)
    nan = np.isnan(x)
    return np.where(nan, np.copysign(np.float16(np.nan), halves), halves) if nan.any() else halves


def _numbers(rows: Floats) -> Floats:
    nan = np.isnan(rows)
    return np.where(nan, np.float32(0), rows) if nan.any() else rows
