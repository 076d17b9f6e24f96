"""The one loop that every decoder runs in: cache-sized pieces, so that a kernel may be written as plain array arithmetic.

A kernel gets a few hundred blocks and the float32 rows to fill, shape (blocks, elements). Working on that much at a time keeps
all its intermediate arrays in the cache, which is where the speed comes from.

Two habits of the kernels are there for speed as well. Codes are unpacked eight bytes at a time (`words`): a shift
followed by a mask stays within each byte. And they are copied into the result first, then multiplied and shifted in place, since
NumPy converts and computes fastest when it does one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Floats

Kernel = Callable[[Any, Floats], None]
Words = NDArray[np.uint64]

#: Elements that one call of a kernel works on.
_PIECE = 1 << 17


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


def words(field: Any) -> Words:
    """The bytes of a field, eight to a word, flat and contiguous."""
    return np.ascontiguousarray(field).reshape(-1).view(np.uint64)


def each(byte: int) -> np.uint64:
    """A word that has this byte in each of its eight places.

    >>> hex(each(0x0F))
    '0xf0f0f0f0f0f0f0f'
    """
    return np.uint64(byte * 0x0101010101010101)


def shifted(of: Words, left: int) -> Words:
    """Words shifted to the left, or to the right by a negative number; what leaves a byte has to be masked away."""
    return of << np.uint64(left) if left > 0 else of >> np.uint64(-left)


def nibbles(packed: Words, low: Words, high: Words) -> None:
    """The low and the high four bits of each byte into two arrays of the shape of `packed`."""
    np.bitwise_and(packed, each(0x0F), out=low)
    np.bitwise_and(shifted(packed, -4), each(0x0F), out=high)


def column(field: Any) -> Floats:
    """One number a block, as float32 of shape (n, 1)."""
    return np.asarray(field, np.float32)[:, None]


def scaled(codes: Any, scale: Floats, out: Floats, minimum: Floats | None = None) -> None:
    """Fill in scale x code - minimum, rounded after each of the two steps."""
    np.copyto(out, codes)
    out *= scale
    if minimum is not None:
        out -= minimum
