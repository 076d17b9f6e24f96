"""ggml's K types: super-blocks of 256 elements with scales that are quantised themselves.

Read Q4_K first. Its 256 elements are 8 groups of 32 with a 6-bit scale s and a 6-bit minimum m each; value = d s q - dmin m.
Every product is exact in float32, so the subtraction is the only rounding, and there is one right answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Decoder, Floats
from rosetta_ref.quant.kernel import decoder


def _f32(field: Any) -> Floats:
    return np.asarray(field, np.float32)[:, None]


def six_bit_pairs(packed: Any) -> tuple[Any, Any]:
    """The 8 scales and 8 minima in the 12 bytes of Q4_K and Q5_K, as uint8 arrays of shape (n, 8).

    Bytes 0..3 and 4..7 hold scales and minima 0..3 in their low six bits. Scales and minima 4..7 have their low four bits
    in the nibbles of bytes 8..11, and their high two in the top bits of bytes 0..3 and 4..7.
    """
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales, minima


def _contiguous(field: Any) -> Any:
    """A field of many blocks back to back: flat arrays are where NumPy is fast, a row at a time is where it is not."""
    return np.ascontiguousarray(field)


def _decode_q4_k(blocks: Any, out: Floats) -> None:
    """Each run of 32 bytes holds one group in its low nibbles and the next one in its high nibbles."""
    qs = _contiguous(blocks["qs"])
    _affine(blocks, qs & 15, qs >> 4, out)


def _affine(blocks: Any, even: Any, odd: Any, out: Floats) -> None:
    """Fill in d s q - dmin m; codes of the even groups and of the odd ones, each of shape (n, 128)."""
    scales, minima = six_bit_pairs(blocks["scales"])
    scale, minimum = _f32(blocks["d"]) * scales, _f32(blocks["dmin"]) * minima
    groups = out.reshape(-1, 4, 2, 32)
    for parity, codes in enumerate((even, odd)):
        # Converting first, then arithmetic of one type, is faster than both at once.
        values = codes.astype(np.float32).reshape(-1, 4, 32)
        values *= scale[:, parity::2, None]
        np.subtract(values, minimum[:, parity::2, None], out=groups[:, :, parity])


def _decode_q5_k(blocks: Any, out: Floats) -> None:
    """As Q4_K; bit g of byte i of `qh` is the fifth bit of element i in group g."""
    qs, qh = _contiguous(blocks["qs"]), _contiguous(blocks["qh"])
    even, odd = qs & 15, qs >> 4
    for pair in range(4):
        even[:, 32 * pair : 32 * pair + 32] |= ((qh >> (2 * pair)) & 1) << 4
        odd[:, 32 * pair : 32 * pair + 32] |= ((qh >> (2 * pair + 1)) & 1) << 4
    _affine(blocks, even, odd, out)


def _decode_q6_k(blocks: Any, out: Floats) -> None:
    """Two halves of four groups of 32: groups 0, 1 in the low nibbles of `ql`, 2, 3 in the high ones, top bits in `qh`."""
    ql, qh = _contiguous(blocks["ql"]), _contiguous(blocks["qh"])
    codes = np.empty((blocks.size, 2, 2, 2, 32), np.uint8)  # block, half, low or high nibble, group of the two, element
    tops = (qh << 4, qh << 2, qh, qh >> 2)
    for group, top in enumerate(tops):
        np.bitwise_and(top.reshape(-1, 2, 32), 0x30, out=codes[:, :, group // 2, group % 2])
    nibbles = ql.reshape(-1, 2, 64)
    codes[:, :, 0] |= (nibbles & 15).reshape(-1, 2, 2, 32)
    codes[:, :, 1] |= (nibbles >> 4).reshape(-1, 2, 2, 32)
    values = codes.reshape(-1).astype(np.float32)
    values -= 32
    scales = _f32(blocks["d"]) * blocks["scales"]
    np.multiply(values.reshape(-1, 16, 16), scales[:, :, None], out=out.reshape(-1, 16, 16))


def _two_bit_planes(qs: Any) -> Any:
    """64 bytes to (n, 2, 4, 32): in each half of 32 bytes, bits 2k and 2k+1 belong to group k of 32 elements."""
    halves = qs.reshape(-1, 2, 32)
    planes = np.empty((halves.shape[0], 2, 4, 32), np.uint8)
    for plane in range(4):
        np.right_shift(halves, 2 * plane, out=planes[:, :, plane])
    planes &= 3
    return planes


def _decode_q2_k(blocks: Any, out: Floats) -> None:
    packed = blocks["scales"]
    values = out.reshape(-1, 16, 16)
    scales, minima = _f32(blocks["d"]) * (packed & 15), _f32(blocks["dmin"]) * (packed >> 4)
    np.multiply(_two_bit_planes(blocks["qs"]).reshape(-1, 16, 16), scales[:, :, None], out=values)
    values -= minima[:, :, None]


def six_bit_scales(packed: Any) -> Any:
    """The 16 signed scales (minus 32) in the 12 bytes of Q3_K, as int8 of shape (n, 16).

    Bytes 0..7 hold the low four bits: of scales 0..7 in their low nibbles, of 8..15 in the high ones. Bytes 8..11 hold the
    high two bits: byte 8 + i % 4, bits 2 (i // 4) and up, for scale i.
    """
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    high = np.concatenate([(packed[:, 8:] >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1)
    return (low | high << 4).view(np.int8) - np.int8(32)


def _decode_q3_k(blocks: Any, out: Floats) -> None:
    codes = _two_bit_planes(blocks["qs"]).reshape(-1, 8, 32)
    for group in range(8):  # bit g of byte i of hmask: clear means 4 less, for element i of group g
        codes[:, group] |= ((blocks["hmask"] >> group) & 1) << 2
    signed = codes.view(np.int8)
    signed -= np.int8(4)
    scales = _f32(blocks["d"]) * six_bit_scales(blocks["scales"])
    np.multiply(signed.reshape(-1, 16, 16), scales[:, :, None], out=out.reshape(-1, 16, 16))


def _decode_q8_k(blocks: Any, out: Floats) -> None:
    np.multiply(blocks["qs"], _f32(blocks["d"]), out=out)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, None]] = {
    "Q2_K": (decoder(256, _decode_q2_k), None),
    "Q3_K": (decoder(256, _decode_q3_k), None),
    "Q4_K": (decoder(256, _decode_q4_k), None),
    "Q5_K": (decoder(256, _decode_q5_k), None),
    "Q6_K": (decoder(256, _decode_q6_k), None),
    "Q8_K": (decoder(256, _decode_q8_k), None),
}
