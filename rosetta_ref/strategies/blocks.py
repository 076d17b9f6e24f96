"""Random blocks of any type, and payloads of whole tensors.

Only a seed and a pattern are drawn; the bytes are computed from them, so that an example is small to print and quick to
shrink, whatever its size. Patterns: `index` (position-coded: whatever moves, shows), `zero`, `random` (any bytes at all) and
`special` (scales, or the numbers themselves, that are NaN, Inf, subnormal, minus zero or the largest). Shrinks towards one block
of the pattern `index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.archive import Bytes
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import Blocks

PATTERNS = ("index", "zero", "random", "special")

#: Bits that are hard to carry: minus zero, 1, subnormals, the largest, Inf of both signs, quiet and signalling NaN.
_HARD: dict[int, tuple[int, ...]] = {
    2: (0x8000, 0x3C00, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFE01, 0x7F80, 0xFF81),
    4: (0x80000000, 0x3F800000, 1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001),
    8: (1 << 63, 1, 0x3FF << 52, 0x7FF << 52, 0xFFF << 52, (0x7FF << 52) + 1, 0x7FF8 << 48, 0x7FEFFFFFFFFFFFFF),
}


def hard_floats(size: int) -> Any:
    """Bit patterns, as unsigned integers of `size` bytes, that float converters get wrong."""
    return np.array(_HARD[size], f"<u{size}")


def _index(kind: BlockType, count: int) -> Any:
    """Bytes that name their position; in float types, numbers that do (exact: the index, modulo what the type counts to)."""
    if kind.dtype.names == ("x",) and kind.encode is not None and kind.name not in ("BF16", "F16", "I8", "U8"):
        numbers = np.arange(count) % 32768
        return numbers.astype(kind.dtype["x"]).view(np.uint8)
    if kind.name in ("F16", "BF16") and kind.encode is not None:
        exact = 2048 if kind.name == "F16" else 256
        return kind.encode((np.arange(count) % exact).astype(np.float32)).view(np.uint8)
    places = np.arange(count * kind.block_bytes, dtype=np.uint64)
    if kind.block_bytes == 1:
        return (places % 251).astype(np.uint8)  # a prime: no row lines up with it
    # Mixed twice: counting, and one multiplication too, repeat where blocks line up.
    mixed = places * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(40)).astype(np.uint8)


def _special(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Random bytes, with every float field (and BF16's word) one of the hard patterns."""
    made = rng.integers(0, 256, count * kind.block_bytes, dtype=np.uint8)
    fields = made.view(kind.dtype)
    for name in kind.dtype.names or ():
        scalar = kind.dtype[name].base
        if scalar.kind == "f" or kind.name == "BF16":
            hard = np.array([0x8000, 0x3F80, 1, 0x7F80, 0xFF80, 0x7F81, 0x7FC0], "<u2") if kind.name == "BF16" else None
            bits = hard_floats(scalar.itemsize) if hard is None else hard
            fields[name] = rng.choice(bits, fields[name].shape).view(scalar)
    return made


def block_bytes(kind: BlockType, count: int, pattern: str, seed: int) -> Bytes:
    """The bytes of `count` blocks of a type, as uint8."""
    size = count * kind.block_bytes
    if pattern == "zero" or not size:
        return np.zeros(size, np.uint8)
    if pattern == "index":
        return np.ascontiguousarray(_index(kind, count)).view(np.uint8)
    rng = np.random.default_rng(seed)
    return _special(kind, count, rng) if pattern == "special" else rng.integers(0, 256, size, dtype=np.uint8)


_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def blocks(draw: Any, type_name: str, *, min_blocks: int = 1, max_blocks: int = 40) -> Blocks:
    """An array of blocks of that type, shape (n,); of AprQ8 one block of n elements."""
    count = draw(st.integers(min_blocks, max_blocks))
    kind = TYPES[type_name]
    if not kind.elements:
        kind, count = kind.sized(count), 1
    return kind.blocks(block_bytes(kind, count, draw(st.sampled_from(PATTERNS)), draw(_SEEDS)))


@st.composite
def payload(draw: Any, type_name: str, shape: Sequence[int]) -> Bytes:
    """The bytes of a tensor of that type and logical shape, as uint8 of exactly `nbytes(shape)`."""
    kind = TYPES[type_name]
    size = kind.nbytes(shape)
    if not kind.elements:
        kind = kind.sized(int(np.prod(shape)))
    return block_bytes(kind, size // kind.block_bytes, draw(st.sampled_from(PATTERNS)), draw(_SEEDS))
