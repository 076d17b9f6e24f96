"""The one loop that every decoder runs in: cache-sized pieces, so that a kernel may be written as plain array arithmetic.

A kernel gets a few hundred blocks and the float32 rows to fill, shape (blocks, elements). Working on that much at a time keeps
all its intermediate arrays in the cache, which is where the speed comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rosetta_ref.quant.block import Decoder, Floats

Kernel = Callable[[Any, Floats], None]

#: Elements that one call of a kernel works on.
_PIECE = 1 << 16


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
