"""The scales inside a block: where each type keeps them, to write them there.

Written from the layouts and apart from the decoders, which take the same bits out: a test that puts a scale in here and
finds it in the decoded numbers has met two readings of the format. Read `SUBSCALES` first: each entry says how many
scales a block has beside its float `d`, how many values one can take, and how they are packed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.quant import BlockType

#: Write codes, uint16 of shape (blocks, places), into blocks; all other bits stay.
Put = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Subscales:
    """`places` scales in each block, each below `values`, written by `put`."""

    places: int
    values: int
    put: Put


def _bytes(field: str) -> Put:
    def put(blocks: Any, codes: Any) -> None:
        blocks[field] = codes.astype(np.uint8).view(blocks[field].dtype).reshape(blocks[field].shape)

    return put


def _pairs(blocks: Any, codes: Any) -> None:
    """Q4_K, Q5_K: eight scales, then eight minima, in 12 bytes; 4..7 of each are split into four bits and two."""
    scales, minima = codes[:, :8], codes[:, 8:]
    low = [scales[:, :4] | scales[:, 4:] >> 4 << 6, minima[:, :4] | minima[:, 4:] >> 4 << 6]
    blocks["scales"] = np.concatenate([*low, scales[:, 4:] & 15 | (minima[:, 4:] & 15) << 4], axis=1)


def _q3_k(blocks: Any, codes: Any) -> None:
    """Sixteen scales in 12 bytes: nibbles of 0..7 and 8..15, then the top two bits, four scales a byte."""
    tops = sum((codes[:, 4 * i : 4 * i + 4] >> 4) << (2 * i) for i in range(4))
    blocks["scales"] = np.concatenate([codes[:, :8] & 15 | (codes[:, 8:] & 15) << 4, tops], axis=1)


def _iq4_xs(blocks: Any, codes: Any) -> None:
    """Eight scales: four bits each in `scales_l`, two each in `scales_h`, the first one lowest."""
    blocks["scales_l"] = codes[:, 0::2] & 15 | (codes[:, 1::2] & 15) << 4
    blocks["scales_h"] = sum((codes[:, i] >> 4) << (2 * i) for i in range(8))


def _top_bits(field: str, word: str, every: int, shift: int, width: int) -> Put:
    """Some bits of every word, or every second one: the grid types whose scales ride above signs and indices."""

    def put(blocks: Any, codes: Any) -> None:
        words = np.ascontiguousarray(blocks[field]).view(word)
        mask = words.dtype.type((1 << width) - 1 << shift)
        chosen = words[:, every - 1 :: every]
        words[:, every - 1 :: every] = chosen & ~mask | codes.astype(word) << words.dtype.type(shift)
        blocks[field] = words.view(blocks.dtype[field].base)

    return put


def _iq1_m(blocks: Any, codes: Any) -> None:
    """Four words, each four scales of three bits; above them a quarter of the block's f16."""
    words = np.ascontiguousarray(blocks["scales"]).view("<u2")
    blocks["scales"] = (words & 0xF000 | codes.astype("<u2")).view(np.uint8)


#: name: the scales that a block has beside floats. IQ1_M counts a word of four scales as one.
SUBSCALES: dict[str, Subscales] = {
    "Q2_K": Subscales(16, 256, _bytes("scales")),
    "Q3_K": Subscales(16, 64, _q3_k),
    "Q4_K": Subscales(16, 64, _pairs),
    "Q5_K": Subscales(16, 64, _pairs),
    "Q6_K": Subscales(16, 256, _bytes("scales")),
    "IQ2_XXS": Subscales(8, 16, _top_bits("qs", "<u4", every=2, shift=28, width=4)),
    "IQ2_XS": Subscales(8, 256, _bytes("scales")),
    "IQ2_S": Subscales(8, 256, _bytes("scales")),
    "IQ3_XXS": Subscales(8, 16, _top_bits("signs", "<u4", every=1, shift=28, width=4)),
    "IQ3_S": Subscales(4, 256, _bytes("scales")),
    "IQ1_S": Subscales(8, 8, _top_bits("qh", "<u2", every=1, shift=12, width=3)),
    "IQ1_M": Subscales(4, 4096, _iq1_m),
    "IQ4_XS": Subscales(8, 64, _iq4_xs),
    "MXFP4": Subscales(1, 256, _bytes("e")),
    "NVFP4": Subscales(4, 256, _bytes("d")),
}

#: Scale bytes that are a float of one byte, at their ends: zero, NaN or what stands for it, subnormal, largest, signed.
HARD_BYTES = {
    "MXFP4": (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF),
    "NVFP4": (0x00, 0x7F, 0x80, 0xFF, 0x7E, 0x01, 0x07, 0x38, 0xB8),
}


def float_scales(kind: BlockType) -> tuple[str, ...]:
    """The float fields of a block that scale its codes: none in types that are numbers themselves."""
    names = kind.dtype.names or ()
    found = tuple(name for name in names if kind.dtype[name].base.kind == "f")
    return () if kind.is_scalar else ("spread d",) if kind.name == "IQ1_M" else found


def scale_bits(kind: BlockType, blocks: Any, field: str) -> Any:
    """One of `float_scales`, as unsigned integers, one a block."""
    if field == "spread d":
        words = np.ascontiguousarray(blocks["scales"]).view("<u2")
        return sum((words[:, i] >> 12) << (4 * i) for i in range(4))
    return blocks[field].view(f"<u{kind.dtype[field].itemsize}")


def put_scale_bits(kind: BlockType, blocks: Any, field: str, bits: Any) -> None:
    """Write one of `float_scales`, one pattern a block."""
    if field != "spread d":
        scalar = kind.dtype[field]
        blocks[field] = np.asarray(bits).astype(f"<u{scalar.itemsize}").view(scalar)
        return
    words = np.ascontiguousarray(blocks["scales"]).view("<u2")
    for i in range(4):
        words[:, i] = words[:, i] & 0x0FFF | (bits >> (4 * i) & 15) << 12
    blocks["scales"] = words.view(np.uint8)
