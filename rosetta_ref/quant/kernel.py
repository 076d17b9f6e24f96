"""The one loop that every decoder runs in: cache-sized pieces, so that a kernel may be written as plain array arithmetic.

A kernel gets a thousand blocks or more and the float32 rows to fill, shape (blocks, elements). Working on that much at a time keeps
all its intermediate arrays in the cache, which is where the speed comes from.

Three habits of the kernels are there for speed as well. Codes are unpacked eight bytes at a time (`planes`): a shift followed by
a mask stays within each byte. They are copied into the result first, then multiplied and shifted in place, since NumPy converts
and computes fastest when it does one at a time. And no operation runs over short rows: NumPy starts anew for each, which
takes it as long as the arithmetic of 32 elements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Floats

Kernel = Callable[[Any, Floats], None]
Words = NDArray[np.uint64]

#: Elements that one call of a kernel works on: 1 MB of result. With less the calls of NumPy take longer than what they do.
_PIECE = 1 << 18


def decoder(elements: int, kernel: Kernel) -> Decoder:
    """A decoder made of a kernel: blocks of shape (..., n) to float32 of shape (..., n * elements)."""

    def decode(blocks: Any, out: Floats | None = None) -> Floats:
        shape = (*blocks.shape[:-1], blocks.shape[-1] * elements) if blocks.ndim else (elements,)
        result = np.empty(shape, np.float32) if out is None else out
        flat, rows = blocks.reshape(-1), result.reshape(-1, elements)
        step = max(_PIECE // elements, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            for first in range(0, flat.size, step):
                kernel(flat[first : first + step], rows[first : first + step])
        return result

    return decode


def each(byte: int) -> np.uint64:
    """A word that has this byte in each of its eight places.

    >>> hex(each(0x0F))
    '0xf0f0f0f0f0f0f0f'
    """
    return np.uint64(byte * 0x0101010101010101)


@cache
def _shifts(width: int, bits: int) -> Words:
    """How far each word of `planes` is shifted, for a whole piece."""
    once = np.repeat(np.arange(0, 8, bits, dtype=np.uint64), width // 8)
    return np.tile(once, _PIECE // 8 // once.size)


def planes(field: Any, width: int, bits: int) -> Words:
    """The codes in a field, a byte each, in the order of the elements.

    Each run of `width` bytes holds as many groups of `width` codes as there are `bits` in a byte: the lowest bits of the bytes are
    the first group, the highest the last.

    >>> planes(np.arange(0x10, 0x18, dtype=np.uint8), width=8, bits=4).view(np.uint8).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    runs = field.view(f"V{width}").reshape(-1)  # one item each, so that NumPy moves them whole
    codes = np.repeat(runs, 8 // bits).view(np.uint64)
    codes >>= _shifts(width, bits)[: codes.size]
    codes &= each((1 << bits) - 1)
    return codes


def column(field: Any) -> Floats:
    """One number a block, as float32 of shape (n, 1)."""
    return np.asarray(field, np.float32)[:, None]


def spread(numbers: Floats, out: Floats) -> Floats:
    """One number for each group of elements, shape (n, groups), as one for each element, or what broadcasts to it."""
    width = out.size // max(numbers.size, 1)
    return numbers if width == out.shape[1] > 64 else np.repeat(numbers, width).reshape(out.shape)


def scaled(codes: Any, scale: Floats, out: Floats, minimum: Floats | None = None) -> None:
    """Fill in scale x code - minimum, rounded after each of the two steps; scale and minimum are of groups, shape (n, groups)."""
    np.copyto(out, codes.reshape(out.shape))
    out *= spread(scale, out)
    if minimum is not None:
        out -= spread(minimum, out)
