"""The K types with a scale alone, for groups of 16: Q6_K, then Q3_K; and Q8_K, which has one scale for all 256.

Encoding one super-block of Q6_K and Q3_K: a search gives each group's best scale, as a float with a sign (the element of largest
magnitude gets the code furthest from zero, and codes reach further down than up); the scale of largest magnitude becomes
-128 (-32) in the same way; and the codes are rounded once more with what is stored. With an importance matrix Q3_K searches for the
scales' scale too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant import search
from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import by_block, encoder, groups, ungrouped
from rosetta_ref.quant.kernel import column, decoder, planes, scaled
from rosetta_ref.quant.kquants.packing import (
    bit_planes,
    packed_bit_plane,
    packed_six_bit_scales,
    packed_two_bit_planes,
    six_bit_scales,
    two_bit_planes,
)
from rosetta_ref.quant.rounding import Integers, extreme, nearest_int, total

# --- decoding --------------------------------------------------------------------------------------------------------------


def _decode_q6_k(blocks: Any, out: Floats) -> None:
    """Two halves of four groups of 32: groups 0, 1 in the low nibbles of `ql`, 2, 3 in the high ones, top bits in `qh`."""
    codes = planes(blocks["ql"], width=64, bits=4)
    codes |= two_bit_planes(blocks["qh"]) << np.uint64(4)
    signed = codes.view(np.int8)
    signed -= np.int8(32)
    scaled(signed, column(blocks["d"]) * blocks["scales"], out)


def _decode_q3_k(blocks: Any, out: Floats) -> None:
    """A clear bit of `hmask` means 4 less."""
    codes = two_bit_planes(blocks["qs"])
    codes |= bit_planes(blocks["hmask"]) << np.uint64(2)
    signed = codes.view(np.int8)
    signed -= np.int8(4)
    scaled(signed, column(blocks["d"]) * six_bit_scales(blocks["scales"]), out)


def _decode_q8_k(blocks: Any, out: Floats) -> None:
    scaled(blocks["qs"], column(blocks["d"]), out)


# --- encoding --------------------------------------------------------------------------------------------------------------


def _codes(group: Floats, d: Any, scales: Any, half: int) -> tuple[Integers, Any]:
    """The stored codes of x / scale, with the scales of shape (n, 16) that are stored, and where that scale is 0."""
    scale = (column(d) * scales).reshape(-1)
    return np.clip(nearest_int(group / scale), -half, half - 1) + np.int32(half), scale == 0


def _encode_q6_k(x: Floats, blocks: Any, importance: Floats | None = None, mean: Floats | None = None) -> None:
    """Weights are the importance itself, or the squares."""
    group = groups(x, 16)
    weights = group * group if importance is None else groups(importance, 16)
    found = search.symmetric(group, weights, 32)
    nothing = scales_of_q6_k(by_block(found.scale, x.shape[0]), blocks)
    codes, unscaled = _codes(group, blocks["d"], blocks["scales"], 32)
    if unscaled.any():
        np.copyto(codes, found.stored(group), where=unscaled)
    store_q6_k(blocks, ungrouped(codes, 256))
    blocks[nothing] = np.zeros((), blocks.dtype)


def scales_of_q6_k(of_block: Floats, blocks: Any) -> Any:
    """Fill in d and scales, the largest of the 16 becoming -128; which blocks count as zeros."""
    largest = extreme(of_block)
    factor = np.float32(-128) / largest
    blocks["d"] = np.float32(1) / factor
    blocks["scales"] = np.minimum(nearest_int(factor * of_block), 127).astype(np.int8).T
    return np.abs(largest) < search.NOTHING


def store_q6_k(blocks: Any, codes: Any) -> None:
    """Fill in `ql` and `qh` from codes of shape (n, 256)."""
    quarters = codes.reshape(-1, 2, 2, 2, 32)  # block, half, low or high nibble, group of the two, element
    blocks["ql"] = (quarters[:, :, 0] & 15 | quarters[:, :, 1] << 4).reshape(-1, 128)
    blocks["qh"] = packed_two_bit_planes(codes >> 4)


def _encode_q3_k(x: Floats, blocks: Any) -> None:
    group = groups(x, 16)
    scale, searched = search.descended(group, 4)
    scales_of_q3_k(by_block(scale, x.shape[0]), blocks)
    _codes_of_q3_k(group, searched, blocks)


def scales_of_q3_k(of_block: Floats, blocks: Any) -> None:
    """Fill in d and scales, the largest of the 16 becoming -32."""
    largest = extreme(of_block)
    factor = np.float32(-32) / largest
    steps = np.clip(nearest_int(factor * of_block).astype(np.int8), -32, 31) + np.int8(32)
    some = largest != 0
    blocks["d"] = np.where(some, np.float32(1) / factor, np.float32(0))
    blocks["scales"] = packed_six_bit_scales(np.where(some, steps, 0).T.astype(np.uint8))


def _encode_q3_k_weighted(x: Floats, blocks: Any, importance: Floats, mean: Floats) -> None:
    """Weights are importance x root of (twice the block's mean square + square); of a scale, the sum of its group."""
    group = groups(x, 16)
    block_mean = np.float32(2) * np.add.accumulate(x * x, axis=1)[:, -1] / np.float32(256)
    weights = groups(importance, 16)
    weights *= np.sqrt(np.repeat(block_mean, 16) + group * group)
    found = search.symmetric(group, weights, 4)
    of_block, of_group = (by_block(a, x.shape[0]) for a in (found.scale, total(weights)))
    of_scales = search.symmetric(of_block, of_group, 32)
    blocks["d"], blocks["scales"] = (
        of_scales.scale,
        packed_six_bit_scales(of_scales.stored(of_block).T.astype(np.uint8)),
    )
    _codes_of_q3_k(group, found.stored(group), blocks)


def _codes_of_q3_k(group: Floats, searched: Integers, blocks: Any) -> None:
    """Round with the scales that are stored; the codes of the search stay where the scale is 0."""
    codes, unscaled = _codes(group, blocks["d"], six_bit_scales(blocks["scales"]), 4)
    np.copyto(codes, searched, where=unscaled)
    store_q3_k(blocks, ungrouped(codes, 256))


def store_q3_k(blocks: Any, codes: Any) -> None:
    """Fill in `hmask` and `qs` from codes of shape (n, 256)."""
    blocks["hmask"], blocks["qs"] = packed_bit_plane(codes >> 2), packed_two_bit_planes(codes)


def _encode_q8_k(x: Floats, blocks: Any) -> None:
    """The element of largest magnitude gets the code -127. Of a block of zeros the sums are 0 (ggml leaves them as they were)."""
    largest = extreme(x.T)
    factor = np.float32(-127) / largest
    codes = nearest_int(x * factor[:, None]).astype(np.int8)
    codes[largest == 0] = 0
    blocks["d"], blocks["qs"] = np.where(largest != 0, np.float32(1) / factor, np.float32(0)), codes
    # Sums of small integers are exact in float32, in any order, and a product of matrices is NumPy's fastest way to them.
    blocks["bsums"] = codes.reshape(-1, 16, 16).astype(np.float32) @ np.ones(16, np.float32)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "Q6_K": (decoder(256, _decode_q6_k), encoder("Q6_K", _encode_q6_k, _encode_q6_k)),
    "Q3_K": (decoder(256, _decode_q3_k), encoder("Q3_K", _encode_q3_k, _encode_q3_k_weighted)),
    "Q8_K": (decoder(256, _decode_q8_k), encoder("Q8_K", _encode_q8_k)),
}
