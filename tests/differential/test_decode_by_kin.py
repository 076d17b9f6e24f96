"""Types that ggml has no decoder for, by the one it has of a type with the same arithmetic: bit for bit.

Q8_1 is Q8_0 with a sum beside it; AprQ4 is Q4_0 with its nibbles in another order; AprQ8 over 256 elements is Q8_K without sums. The
blocks are rewritten byte by byte, by offsets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rosetta_ref.quant import TYPES
from tests.support import ggml, sweeps

Rewritten = Callable[[np.ndarray], np.ndarray]


def _without_sum(raw: np.ndarray) -> np.ndarray:
    return np.concatenate([raw[:, :2], raw[:, 4:]], axis=1)


def _nibbles_of_q4_0(raw: np.ndarray) -> np.ndarray:
    """Element j: nibble j % 2 of byte j // 2 there, nibble j // 16 of byte j % 16 here."""
    made = np.zeros_like(raw)
    made[:, :2] = raw[:, :2]
    for j in range(32):
        made[:, 2 + j % 16] |= (raw[:, 2 + j // 2] >> 4 * (j % 2) & 15) << 4 * (j // 16)
    return made


def _with_sums(raw: np.ndarray) -> np.ndarray:
    return np.concatenate([raw, np.zeros((len(raw), 32), np.uint8)], axis=1)


#: name: its kin's ggml id, and how its blocks become those of its kin
KIN: dict[str, tuple[int, Rewritten]] = {
    "Q8_1": (8, _without_sum),
    "AprQ4": (2, _nibbles_of_q4_0),
    "AprQ8": (15, _with_sums),
}


@pytest.mark.parametrize("name", list(KIN))
def test_decode(name: str) -> None:
    """Any bytes at all, as many as in the sweeps."""
    kind = TYPES[name].sized(256)
    number, rewritten = KIN[name]
    data = sweeps.random_blocks(kind)
    raw = np.frombuffer(data, np.uint8).reshape(-1, kind.block_bytes)
    got = kind.decode(kind.blocks(data))
    assert got.size == sweeps.ELEMENTS
    sweeps.assert_same_values(kind, got, ggml.decode(number, rewritten(raw).tobytes(), got.size), judge="ggml")
