"""Q4_0 and AprQ4 hold the same numbers, (nibble - 8) x scale, in 18 bytes a block; only the nibbles' order differs.

Q4_0: byte j holds elements j (low nibble) and j + 16 (high). AprQ4: byte j holds elements 2j (low) and 2j + 1 (high). So
one becomes the other without touching a bit of scale or code, where rows are whole blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rosetta_ref.archive import Bytes, Source, Tensor
from rosetta_ref.quant import TYPES

_BLOCK = 18


def repacked(tensor: Tensor, name: str) -> Tensor:
    """A Q4_0 tensor as AprQ4 or the other way round, lazily."""
    assert {tensor.type.name, name} == {"Q4_0", "AprQ4"}
    return replace(tensor, type=TYPES[name], source=_Repacked(tensor.source, to_apr=name == "AprQ4"), offset=None)


@dataclass(frozen=True)
class _Repacked:
    inner: Source
    to_apr: bool

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        first, last = start // _BLOCK * _BLOCK, -(-stop // _BLOCK) * _BLOCK
        blocks = self.inner.read(first, last).reshape(-1, _BLOCK).copy()
        packed = blocks[:, 2:]
        low, high = packed & 0x0F, packed >> 4
        if self.to_apr:  # elements 0..15 are the low nibbles, 16..31 the high ones; neighbours share a byte
            codes = np.concatenate([low, high], axis=1)
            blocks[:, 2:] = codes[:, 0::2] | codes[:, 1::2] << 4
        else:
            codes = np.stack([low, high], axis=2).reshape(-1, 32)
            blocks[:, 2:] = codes[:, :16] | codes[:, 16:] << 4
        return blocks.reshape(-1)[start - first : stop - first]

    def release(self, start: int, stop: int) -> None:
        self.inner.release(start, stop)
