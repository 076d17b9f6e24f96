"""Blocks that show all that a decoder can get wrong, and the comparison of two arrays of floats."""

from __future__ import annotations

import os

import numpy as np

from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import BlockType

#: Elements of the random sweep.
ELEMENTS = 1 << 22 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1 << 20


def assert_same_values(kind: BlockType, got: np.ndarray, expected: np.ndarray, *, judge: str) -> None:
    """Bit for bit; of NaN only the place counts (C and NumPy choose other payloads). Says how many were compared."""
    __tracebackhide__ = True
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == np.float32
    same = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    places = np.flatnonzero(~same)
    assert places.size == 0, (
        f"{kind.name}: {places.size} of {got.size} are not {judge}'s, first element {places[0] % kind.elements} of "
        f"block {places[0] // kind.elements}: {got[places[0]]} is not {expected[places[0]]}"
    )
    print(f"{kind.name}: {got.size} values equal to {judge}'s, {np.count_nonzero(np.isnan(got))} of them NaN")


def random_blocks(kind: BlockType) -> bytes:
    """Any bytes at all, 1M elements; four times as many with the profile nightly."""
    return block_bytes(kind, ELEMENTS // kind.elements, "random", seed=21).tobytes()


def every_word(kind: BlockType) -> bytes:
    """65,536 blocks in which each 16-bit place holds each pattern exactly once, in an order of its own.

    So: every f16 scale, every scale byte and exponent, every grid index with every sign, every code at every element.
    """
    size = kind.block_bytes
    rng = np.random.default_rng(size)
    raw = np.empty((65536, size), np.uint8)
    for place in range(0, size - 1, 2):
        raw[:, place : place + 2] = rng.permutation(65536).astype("<u2")[:, None].view(np.uint8)
    if size % 2:
        raw[:, -1] = rng.permutation(65536) % 256
    return raw.tobytes()


def every_six_bit_pair(kind: BlockType) -> bytes:
    """Q4_K and Q5_K: all 4,096 pairs of scale and minimum at each of the eight places, over random other bits."""
    scales, minima = (x.reshape(-1).astype(np.uint8) for x in np.meshgrid(np.arange(64), np.arange(64)))
    packed = kind.blocks(block_bytes(kind, 8 * 4096, "random", seed=1)).copy()
    packed["d"], packed["dmin"] = 0.37, -0.11
    for place in range(8):
        field = packed["scales"][place * 4096 : (place + 1) * 4096]
        if place < 4:
            field[:, place] = field[:, place] & 0xC0 | scales
            field[:, place + 4] = field[:, place + 4] & 0xC0 | minima
        else:
            field[:, place + 4] = scales & 15 | (minima & 15) << 4
            field[:, place - 4] = field[:, place - 4] & 0x3F | scales >> 4 << 6
            field[:, place] = field[:, place] & 0x3F | minima >> 4 << 6
    return packed.tobytes()


def every_scale_of_iq1_m() -> bytes:
    """Its f16 scale lies in four pieces, so no sweep over whole words meets all 65,536."""
    packed = TYPES["IQ1_M"].blocks(block_bytes(TYPES["IQ1_M"], 65536, "random", seed=3)).copy()
    words = packed["scales"].copy().view("<u2")
    for i in range(4):
        words[:, i] = words[:, i] & 0x0FFF | (np.arange(65536) >> (4 * i) & 15) << 12
    packed["scales"] = words.view(np.uint8)
    return packed.tobytes()


#: name of the sweep: its blocks of a type
SWEEPS = {"random": random_blocks, "every word": every_word}
