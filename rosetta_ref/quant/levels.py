"""Four-bit codes that are indices into a table of sixteen levels: the step that IQ4 and FP4 share.

A gather costs NumPy about the same whatever it fetches, so two neighbouring codes are looked up at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.kernel import Words


class Levels:
    """Sixteen levels, each an int8."""

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = np.array(levels, np.int8)
        pair = np.arange(16 << 8)
        both = np.stack([self.levels[pair & 15], self.levels[pair >> 8]], axis=1)
        self._pairs: NDArray[np.uint16] = both.view(np.uint16)[:, 0]

    def of(self, codes: Words) -> NDArray[np.int8]:
        """The levels of codes below 16, flat."""
        pairs = codes.view("<u2")
        return np.take(self._pairs, pairs, mode="clip").view(np.int8)


def packed_halves(codes: NDArray[np.uint8]) -> Any:
    """Codes of shape (..., 2 width) to bytes of shape (..., width): each holds code j and, above it, code j + width."""
    low, high = np.split(codes, 2, axis=-1)
    return low | high << 4
