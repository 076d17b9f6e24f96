"""The bytes of big-endian tensors, swapped as they are asked for.

Swapped is what ggml loads as one number, since that is what a big-endian machine finds in the other order. That is every
field of the layout, but for two types, see `quant.loaded`. gguf-py's own script refuses all IQ types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.archive import Bytes, Source


@dataclass(frozen=True)
class Swapped:
    """Another source with every field of more than one byte turned around; `dtype` is the block's, see `loaded_dtype`."""

    source: Source
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Total number of bytes."""
        return self.source.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop; whole blocks are swapped for it."""
        size = self.dtype.itemsize
        first = start // size * size
        last = min(-(-stop // size) * size, self.nbytes)
        blocks = self.source.read(first, last).copy().view(self.dtype)
        for name in self.dtype.names or ():
            if blocks[name].dtype.itemsize > 1:
                blocks[name] = blocks[name].byteswap()
        return blocks.view(np.uint8)[start - first : stop - first]

    def release(self, start: int, stop: int) -> None:
        """Let go of what lies behind those bytes."""
        self.source.release(start, stop)


def has_wide_fields(dtype: np.dtype[Any]) -> bool:
    """Whether a block has any field that byte order matters for."""
    return any(dtype[name].base.itemsize > 1 for name in dtype.names or ())
