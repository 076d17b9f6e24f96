"""Smaller tensors: a window of rows and blocks, another type, other values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES, BlockType

Window = tuple[range, range]


def grid(tensor: Tensor) -> tuple[int, int]:
    """Rows and the blocks of a row; elements where blocks go over the ends of rows, or a tensor is one block."""
    width = tensor.shape[-1] if tensor.shape else 1
    rows = math.prod(tensor.shape[:-1])
    return rows, width // unit(tensor)


def unit(tensor: Tensor) -> int:
    """The elements that a row is cut by: those of a block, where rows are whole blocks."""
    return tensor.type.unit if tensor.type.splits_rows(tensor.shape[-1] if tensor.shape else 1) else 1


def window(tensor: Tensor, rows: range, blocks: range) -> Tensor:
    """Those rows and blocks of it. A vector stays a vector, more than two dimensions become two. Raises ValueError."""
    size, (count, across) = unit(tensor), grid(tensor)
    shape = (len(blocks) * size,) if len(tensor.shape) < 2 else (len(rows), len(blocks) * size)
    chosen = slice(rows.start, rows.stop), slice(blocks.start, blocks.stop)
    if tensor.type.splits_rows(size):
        data = tensor.data.reshape(count, across, -1)[chosen]
        return Tensor.of(tensor.name, tensor.type, shape, data.reshape(-1))
    return of_values(tensor, tensor.values().reshape(count, across)[chosen].reshape(shape))


def resized(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Its leading rows and columns in another shape of as many dimensions; decoded where its blocks do not fit."""
    kind = tensor.type
    if len(shape) != len(tensor.shape) or any(new > old for new, old in zip(shape, tensor.shape, strict=True)):
        raise ValueError(f"{tensor.name}: {list(tensor.shape)} cannot be cut to {list(shape)}")
    if unit(tensor) == kind.elements and kind.splits_rows(shape[-1]):
        rows = range(math.prod(shape[:-1]))
        return replace(window(tensor, rows, range(shape[-1] // kind.elements)), name=tensor.name)
    values = tensor.values()[tuple(slice(n) for n in shape)]
    return of_values(tensor, values, TYPES["F32"] if not kind.is_scalar else kind)


def of_values(tensor: Tensor, values: NDArray[Any], kind: BlockType | None = None) -> Tensor:
    """A tensor of its name with those values, in its type or another one. Raises ValueError for a type that nothing encodes."""
    kind = kind or tensor.type
    encode = kind.sized(values.size).encode
    if encode is None:
        raise ValueError(f"nothing encodes {kind.name}")
    flat = np.ascontiguousarray(values.reshape(-1), np.float32)
    return Tensor.of(tensor.name, kind, values.shape, np.asarray(encode(flat)).reshape(-1).view(np.uint8))
