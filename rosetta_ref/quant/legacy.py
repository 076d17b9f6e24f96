"""ggml's 32-element types: one scale (and, in the `_1` types, one minimum) for 32 elements.

Nibbles come in halves: element j is the low nibble of byte j and element j + 16 the high one. In the 5-bit types bit j of
`qh` is the fifth bit of element j.

Encoding is plain rounding to the scale that the extremes of the block ask for. With an importance matrix it is another algorithm:
the searches of the K types (`rosetta_ref.quant.search`), weighted. Q8_0 takes a matrix and does not use it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant import search
from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import Kernel, WeightedKernel, encoder, groups, ungrouped
from rosetta_ref.quant.kernel import column, decoder, planes, scaled, spread
from rosetta_ref.quant.rounding import extreme, half_away, inverse, smallest, to_int


def _codes(blocks: Any) -> Any:
    """Low nibbles to elements 0..15, high ones to 16..31."""
    return planes(blocks["qs"], width=16, bits=4).view(np.uint8)


def _five_bit_codes(blocks: Any) -> Any:
    bits = np.ascontiguousarray(blocks["qh"]).view(np.uint8)
    codes = np.unpackbits(bits, bitorder="little").view(np.uint64)
    codes <<= np.uint64(4)
    codes |= planes(blocks["qs"], width=16, bits=4)
    return codes.view(np.uint8)


def _signed(codes: Any, half: int) -> Any:
    signed = codes.view(np.int8)
    signed -= np.int8(half)
    return signed


def _decode_q4_0(blocks: Any, out: Floats) -> None:
    scaled(_signed(_codes(blocks), 8), column(blocks["d"]), out)


def _decode_q4_1(blocks: Any, out: Floats) -> None:
    scaled(_codes(blocks), column(blocks["d"]), out)
    out += spread(column(blocks["m"]), out)


def _decode_q5_0(blocks: Any, out: Floats) -> None:
    scaled(_signed(_five_bit_codes(blocks), 16), column(blocks["d"]), out)


def _decode_q5_1(blocks: Any, out: Floats) -> None:
    scaled(_five_bit_codes(blocks), column(blocks["d"]), out)
    out += spread(column(blocks["m"]), out)


def _decode_q8(blocks: Any, out: Floats) -> None:
    scaled(blocks["qs"], column(blocks["d"]), out)


def _truncated(scaled: Floats) -> Any:
    """C's conversion of a float to int8 by way of an integer."""
    return to_int(scaled).astype(np.int8)


def _packed(codes: Any) -> Any:
    """Elements 0..15 to low nibbles, 16..31 to high ones; of the low ones all eight bits are stored, as ggml does."""
    return codes[:, :16] | codes[:, 16:] << 4


def _store(blocks: Any, codes: Any) -> None:
    """Fill in `qs`, and `qh` where the type has one, from codes of shape (n, 32)."""
    if "qh" in blocks.dtype.names:
        blocks["qh"] = np.packbits(codes >> 4 & 1, axis=1, bitorder="little").view("<u4")[:, 0]
        codes = codes & 15
    blocks["qs"] = _packed(codes)


# --- plain rounding --------------------------------------------------------------------------------------------------------


def _symmetric(half: int) -> Kernel:
    """Q4_0 and Q5_0: the first element of largest magnitude gets the code 0 (value -half)."""

    def kernel(x: Floats, blocks: Any) -> None:
        d = extreme(x.T) / np.float32(-half)
        scaled = x * inverse(d)[:, None]
        scaled += np.float32(half + 0.5)
        blocks["d"] = d
        _store(blocks, np.minimum(_truncated(scaled), np.int8(2 * half - 1)).view(np.uint8))

    return kernel


def _affine(top: int) -> Kernel:
    """Q4_1 and Q5_1: the smallest element gets the code 0, the largest `top`."""

    def kernel(x: Floats, blocks: Any) -> None:
        limit = np.finfo(np.float32).max  # C starts from it, so that Inf is no minimum
        low, high = smallest(x.T, limit), np.fmax.reduce(x, axis=1, initial=-limit)
        d = (high - low) / np.float32(top) + np.float32(0)  # never -0
        scaled = x - low[:, None]
        scaled *= inverse(d)[:, None]
        scaled += np.float32(0.5)
        blocks["d"], blocks["m"] = d, low
        codes = _truncated(scaled)
        _store(blocks, (codes if top > 15 else np.minimum(codes, np.int8(top))).view(np.uint8))

    return kernel


def _eight_bits(x: Floats, blocks: Any) -> None:
    """Q8_0 and Q8_1: the largest magnitude gets the code 127; half away from zero. `s` is the sum of all values."""
    d = np.max(np.abs(x), axis=1) / np.float32(127)
    codes = _truncated(half_away(x * inverse(d)[:, None]))
    blocks["d"], blocks["qs"] = d, codes
    if "s" in blocks.dtype.names:
        blocks["s"] = codes.sum(axis=1, dtype=np.int32).astype(np.float32) * d


# --- with an importance matrix ---------------------------------------------------------------------------------------------


def _weights(group: Floats, importance: Floats, mean: Floats) -> Floats:
    """Importance x root of (mean square of the row + square)."""
    weights = groups(importance, 32)
    weights *= np.sqrt(mean + group * group)
    return weights


def _symmetric_weighted(half: int) -> WeightedKernel:
    def kernel(x: Floats, blocks: Any, importance: Floats, mean: Floats) -> None:
        group = groups(x, 32)
        found = search.symmetric(group, _weights(group, importance, mean), half)
        blocks["d"] = found.scale
        _store(blocks, ungrouped(found.stored(group), 32))

    return kernel


def _affine_weighted(top: int) -> WeightedKernel:
    def kernel(x: Floats, blocks: Any, importance: Floats, mean: Floats) -> None:
        group = groups(x, 32)
        found = search.affine(group, _weights(group, importance, mean), top, search.trials(-0.9, 0.05, 37, top))
        blocks["d"], blocks["m"] = found.scale, found.low
        _store(blocks, ungrouped(found.codes(group), 32))

    return kernel


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "Q4_0": (decoder(32, _decode_q4_0), encoder("Q4_0", _symmetric(8), _symmetric_weighted(8), mean_of_row=True)),
    "Q4_1": (decoder(32, _decode_q4_1), encoder("Q4_1", _affine(15), _affine_weighted(15), mean_of_row=True)),
    "Q5_0": (decoder(32, _decode_q5_0), encoder("Q5_0", _symmetric(16), _symmetric_weighted(16), mean_of_row=True)),
    "Q5_1": (decoder(32, _decode_q5_1), encoder("Q5_1", _affine(31), _affine_weighted(31), mean_of_row=True)),
    "Q8_0": (decoder(32, _decode_q8), encoder("Q8_0", _eight_bits)),
    "Q8_1": (decoder(32, _decode_q8), encoder("Q8_1", _eight_bits)),
}
