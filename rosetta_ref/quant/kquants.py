"""ggml's K types: super-blocks of 256 elements with scales that are quantised themselves.

Read Q4_K first. Its 256 elements are 8 groups of 32 with a 6-bit scale s and a 6-bit minimum m each; value = d s q - dmin m.
Every product is exact in float32, so the subtraction is the only rounding, and there is one right answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Decoder, Floats
from rosetta_ref.quant.kernel import Words, column, decoder, each, nibbles, scaled, shifted, words


def six_bit_pairs(packed: Any) -> tuple[Any, Any]:
    """The 8 scales and 8 minima in the 12 bytes of Q4_K and Q5_K, as uint8 arrays of shape (n, 8).

    Bytes 0..3 and 4..7 hold scales and minima 0..3 in their low six bits. Scales and minima 4..7 have their low four bits
    in the nibbles of bytes 8..11, and their high two in the top bits of bytes 0..3 and 4..7.
    """
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales, minima


def _nibble_groups(blocks: Any) -> Words:
    """Words of shape (n, 8 groups, 4): each run of 32 bytes holds one group in its low nibbles, the next in its high ones."""
    codes = np.empty((blocks.size, 4, 2, 4), np.uint64)
    nibbles(words(blocks["qs"]).reshape(-1, 4, 4), low=codes[:, :, 0], high=codes[:, :, 1])
    return codes.reshape(-1, 8, 4)


def _affine(blocks: Any, codes: Words, out: Floats) -> None:
    """Fill in d s q - dmin m from the codes of 8 groups of 32."""
    scales, minima = six_bit_pairs(blocks["scales"])
    scale, minimum = column(blocks["d"]) * scales, column(blocks["dmin"]) * minima
    scaled(codes.view(np.uint8), scale[:, :, None], out.reshape(-1, 8, 32), minimum[:, :, None])


def _decode_q4_k(blocks: Any, out: Floats) -> None:
    _affine(blocks, _nibble_groups(blocks), out)


def _decode_q5_k(blocks: Any, out: Floats) -> None:
    """As Q4_K; bit g of byte i of `qh` is the fifth bit of element i in group g."""
    codes, fifth = _nibble_groups(blocks), words(blocks["qh"]).reshape(-1, 4)
    for group in range(8):
        codes[:, group] |= shifted(fifth, 4 - group) & each(0x10)
    _affine(blocks, codes, out)


def _decode_q6_k(blocks: Any, out: Floats) -> None:
    """Two halves of four groups of 32: groups 0, 1 in the low nibbles of `ql`, 2, 3 in the high ones, top bits in `qh`."""
    codes = np.empty((blocks.size, 2, 2, 2, 4), np.uint64)  # block, half, low or high nibble, group of the two, word
    nibbles(words(blocks["ql"]).reshape(-1, 2, 2, 4), low=codes[:, :, 0], high=codes[:, :, 1])
    groups, tops = codes.reshape(-1, 2, 4, 4), words(blocks["qh"]).reshape(-1, 2, 4)
    for group in range(4):  # bits 2g and 2g + 1 of byte i are bits 4 and 5 of element i of group g
        groups[:, :, group] |= shifted(tops, 4 - 2 * group) & each(0x30)
    signed = codes.view(np.int8).reshape(-1)
    signed -= np.int8(32)
    scales = column(blocks["d"]) * blocks["scales"]
    scaled(signed.reshape(-1, 16, 16), scales[:, :, None], out.reshape(-1, 16, 16))


def _two_bit_planes(qs: Any) -> Words:
    """Words of shape (n, 8 groups, 4): in each half of 32 bytes, bits 2k and 2k+1 belong to group k of 32 elements."""
    halves = words(qs).reshape(-1, 2, 4)
    planes = np.empty((halves.shape[0], 2, 4, 4), np.uint64)
    for plane in range(4):
        np.bitwise_and(shifted(halves, -2 * plane), each(0x03), out=planes[:, :, plane])
    return planes.reshape(-1, 8, 4)


def _decode_q2_k(blocks: Any, out: Floats) -> None:
    packed, codes = blocks["scales"], _two_bit_planes(blocks["qs"]).view(np.uint8)
    scale, minimum = column(blocks["d"]) * (packed & 15), column(blocks["dmin"]) * (packed >> 4)
    scaled(codes.reshape(-1, 16, 16), scale[:, :, None], out.reshape(-1, 16, 16), minimum[:, :, None])


def six_bit_scales(packed: Any) -> Any:
    """The 16 signed scales (minus 32) in the 12 bytes of Q3_K, as int8 of shape (n, 16).

    Bytes 0..7 hold the low four bits: of scales 0..7 in their low nibbles, of 8..15 in the high ones. Bytes 8..11 hold the
    high two bits: byte 8 + i % 4, bits 2 (i // 4) and up, for scale i.
    """
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    high = np.concatenate([(packed[:, 8:] >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1)
    return (low | high << 4).view(np.int8) - np.int8(32)


def _decode_q3_k(blocks: Any, out: Floats) -> None:
    codes, mask = _two_bit_planes(blocks["qs"]), words(blocks["hmask"]).reshape(-1, 4)
    for group in range(8):  # bit g of byte i of hmask: clear means 4 less, for element i of group g
        codes[:, group] |= shifted(mask, 2 - group) & each(0x04)
    signed = codes.view(np.int8).reshape(-1)
    signed -= np.int8(4)
    scales = column(blocks["d"]) * six_bit_scales(blocks["scales"])
    scaled(signed.reshape(-1, 16, 16), scales[:, :, None], out.reshape(-1, 16, 16))


def _decode_q8_k(blocks: Any, out: Floats) -> None:
    scaled(blocks["qs"], column(blocks["d"]), out)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, None]] = {
    "Q2_K": (decoder(256, _decode_q2_k), None),
    "Q3_K": (decoder(256, _decode_q3_k), None),
    "Q4_K": (decoder(256, _decode_q4_k), None),
    "Q5_K": (decoder(256, _decode_q5_k), None),
    "Q6_K": (decoder(256, _decode_q6_k), None),
    "Q8_K": (decoder(256, _decode_q8_k), None),
}
