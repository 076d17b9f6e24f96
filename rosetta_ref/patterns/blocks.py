"""The bytes of random blocks, computed from a seed and the name of a pattern. No test library is needed for them.

Each pattern is built to show one kind of error; `random` bytes alone show few, because nearly all of their scales are ordinary.

    index     every byte says where it stands; float types count: whatever moves, shows
    zero      all bits zero, which is a number in every type
    random    any bytes at all
    special   float scales (and numbers) that are NaN, Inf, zero, subnormal, negative, the largest, over random codes
    scales    the scales of a block all distinct, each taking all its values at each place after that many blocks
    extremes  each field at an end: all bits, none, the sign, all but the sign, one nibble
    codes     code bytes that are all distinct in a block, under ordinary scales: lanes that are swapped show
    one-hot   codes of a single bit, the next one in each block, under distinct scales: shows where every bit goes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.archive import Bytes
from rosetta_ref.patterns.scales import HARD_BYTES, SUBSCALES, float_scales, put_scale_bits, scale_bits
from rosetta_ref.quant import BlockType

PATTERNS = ("index", "zero", "random", "special", "scales", "extremes", "codes", "one-hot")

#: Bits that are hard to carry: zeros, 1 and minus 1, subnormals, the largest, Inf of both signs, quiet and signalling NaN.
_HARD: dict[int, tuple[int, ...]] = {
    2: (0, 0x8000, 0x3C00, 0xBC00, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFE01),
    4: (
        0,
        0x80000000,
        0x3F800000,
        0xBF800000,
        1,
        0x807FFFFF,
        0x00800000,
        0x7F7FFFFF,
        0x7F800000,
        0xFF800000,
        0x7FC00000,
        0x7F800001,
    ),
    8: (0, 1 << 63, 1, 0x3FF << 52, 0x7FF << 52, 0xFFF << 52, (0x7FF << 52) + 1, 0x7FF8 << 48, 0x7FEFFFFFFFFFFFFF),
}
_HARD_BF16 = (0, 0x8000, 0x3F80, 0xBF80, 0x0001, 0x807F, 0x0080, 0x7F7F, 0x7F80, 0xFF80, 0x7F81, 0x7FC0)
#: Bytes at an end: of unsigned numbers, signed ones, nibbles, and every second bit.
_ENDS = (0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0, 0x55, 0xAA)


def hard_bits(kind: BlockType) -> Any:
    """The bit patterns of `hard_floats` for a type of one float an element, as unsigned integers of its size."""
    return np.array(_HARD_BF16, "<u2") if kind.name == "BF16" else hard_floats(kind.block_bytes)


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
    """Random bytes, with every float scale (or the number itself) one of the hard patterns."""
    made = rng.integers(0, 256, count * kind.block_bytes, dtype=np.uint8)
    blocks = made.view(kind.dtype)
    if kind.is_scalar:
        for name in kind.dtype.names or ():
            scalar = kind.dtype[name]
            if kind.name == "BF16":
                blocks[name] = rng.choice(hard_bits(kind), count)
            elif scalar.kind == "f":
                blocks[name] = rng.choice(hard_floats(scalar.itemsize), count).view(scalar)
        return made
    for name in float_scales(kind):
        size = scale_bits(kind, blocks, name).dtype.itemsize
        put_scale_bits(kind, blocks, name, rng.choice(hard_floats(size), count))
    if kind.name in HARD_BYTES:
        scales = SUBSCALES[kind.name]
        scales.put(blocks, rng.choice(HARD_BYTES[kind.name], (count, scales.places)))
    return made


def _ordinary(kind: BlockType, blocks: Any) -> None:
    """Float scales between 1/8 and 1/4, or with a minus in every third block, none twice in 1,024 blocks; finite values."""
    block = np.arange(blocks.size)
    for number, name in enumerate(float_scales(kind)):
        fraction = block * (37 + 16 * number) % 1024
        half = 0x3000 + fraction | (block % 3 == 2) * 0x8000
        bits = (
            half
            if scale_bits(kind, blocks, name).dtype.itemsize == 2
            else half.astype("<u2").view("<f2").astype("<f4").view("<u4")
        )
        put_scale_bits(kind, blocks, name, bits)


def _distinct(kind: BlockType, blocks: Any, rng: np.random.Generator) -> None:
    """The other scales: all distinct in each block, and at each place another in each of as many blocks as there are values."""
    if kind.name in SUBSCALES:
        scales = SUBSCALES[kind.name]
        place = np.arange(scales.places) * (scales.values // scales.places)
        order = rng.permutation(scales.values).astype(np.uint16)
        scales.put(blocks, order[(np.arange(blocks.size)[:, None] + place) % scales.values])


def _scales(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    made = rng.integers(0, 256, count * kind.block_bytes, dtype=np.uint8)
    _ordinary(kind, made.view(kind.dtype))
    _distinct(kind, made.view(kind.dtype), rng)
    return made


def _extremes(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Each field filled with one of the bytes of `_ENDS`; of fields of words every byte but the top one may be another."""
    made = np.empty(count, kind.dtype)
    for name in kind.dtype.names or ():
        field = kind.dtype[name]
        low, top = rng.choice(np.array(_ENDS, np.uint8), (2, count, 1))
        raw = np.repeat(low, field.itemsize, axis=1)
        raw[:, field.base.itemsize - 1 :: field.base.itemsize] = top
        made[name] = raw.view(field.base).reshape(made[name].shape)
    return made


def _codes(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Byte p of block b is 167 p + 89 b and a number of the seed, modulo 256: distinct in 256 places, as 167 is odd."""
    place, block = np.arange(kind.block_bytes), np.arange(count)[:, None]
    made = (place * 167 + block * 89 + int(rng.integers(256))).astype(np.uint8).reshape(-1)
    _ordinary(kind, made.view(kind.dtype))
    if kind.name in HARD_BYTES:  # finite ones: 2^-15 and more
        scales = SUBSCALES[kind.name]
        scales.put(made.view(kind.dtype), 0x70 + (block + np.arange(scales.places)) % 8)
    return made


def _one_hot(kind: BlockType, count: int, rng: np.random.Generator) -> Any:
    """Bit (first + b) of the fields in block b, modulo their number; scales are written over it."""
    made = np.zeros((count, kind.block_bytes), np.uint8)
    bit = (np.arange(count) + int(rng.integers(8 * kind.block_bytes))) % (8 * kind.block_bytes)
    made[np.arange(count), bit // 8] = 1 << bit % 8
    blocks = made.reshape(-1).view(kind.dtype)
    if not kind.is_scalar:
        _ordinary(kind, blocks)
        _distinct(kind, blocks, rng)
    return made


_MADE_BY = {
    "special": _special, "scales": _scales, "extremes": _extremes, "codes": _codes, "one-hot": _one_hot,
}  # fmt: skip


def block_bytes(kind: BlockType, count: int, pattern: str, seed: int) -> Bytes:
    """The bytes of `count` blocks of a type, as uint8: the same for the same arguments."""
    size = count * kind.block_bytes
    if pattern == "zero" or not size:
        return np.zeros(size, np.uint8)
    if pattern == "index":
        return np.ascontiguousarray(_index(kind, count)).view(np.uint8)
    rng = np.random.default_rng(seed)
    if pattern == "random":
        return rng.integers(0, 256, size, dtype=np.uint8)
    return np.ascontiguousarray(_MADE_BY[pattern](kind, count, rng)).view(np.uint8).reshape(-1)
