"""Types of one or two bits an element: TQ1_0 and TQ2_0 for ternary models, Q1_0 and Q2_0; one f16 scale a block.

Read TQ2_0 first: codes 0, 1, 2 (and 3, which no encoder writes) stand for -1, 0, 1 (2) times d. In each half of 32 bytes, bits 2k
and 2k + 1 of byte i are element 32 k + i. TQ1_0 holds five ternary digits in a byte as a fraction: t1 / 3 + t2 / 9 + ... in
256ths, rounded up. Multiplying by 3 moves the next digit to the front. Q2_0 has TQ2_0's codes, four neighbours to a byte;
Q1_0 a bit an element, set for +d and clear for -d.

Encoders round x / d, and d is the largest magnitude, but for Q1_0: there it is the mean magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import encoder
from rosetta_ref.quant.kernel import column, decoder, planes, scaled
from rosetta_ref.quant.rounding import half_away, inverse, total

#: For each byte its four 2-bit codes, minus 1, lowest bits first; for each byte its eight signs.
_FOURS = (np.arange(256)[:, None] >> np.arange(0, 8, 2) & 3).astype(np.int8) - np.int8(1)
_EIGHTS = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.int8) * np.int8(2) - np.int8(1)

# --- decoding --------------------------------------------------------------------------------------------------------------


def _decode_tq2_0(blocks: Any, out: Floats) -> None:
    signed = planes(blocks["qs"], width=32, bits=2).view(np.int8)
    signed -= np.int8(1)
    scaled(signed, column(blocks["d"]), out)


def _decode_tq1_0(blocks: Any, out: Floats) -> None:
    """Digit k of byte i is element 32 k + i for the first 32 bytes, 160 + 16 k + i for the next 16, 240 + 4 k + i in `qh`."""
    rest = np.zeros((blocks.size, 56), np.uint8)  # whole words
    rest[:, :48], rest[:, 48:52] = blocks["qs"], blocks["qh"]
    codes, digit = np.empty((blocks.size, 256), np.int8), np.empty(rest.shape, np.int8)
    by_words, by_halves, word = codes.view(np.uint64), codes.view(np.uint32), digit.view(np.uint64)
    for k in range(5):  # up to 85 of 256 the first digit is a 0, from 171 on a 2
        np.subtract((rest > 170).view(np.int8), (rest < 86).view(np.int8), out=digit)
        by_words[:, 4 * k : 4 * k + 4] = word[:, :4]
        by_words[:, 20 + 2 * k : 22 + 2 * k] = word[:, 4:6]
        if k < 4:
            by_halves[:, 60 + k] = digit.view(np.uint32)[:, 12]
        rest *= np.uint8(3)
    scaled(codes, column(blocks["d"]), out)


def _decode_q2_0(blocks: Any, out: Floats) -> None:
    fours = np.take(_FOURS.view("<u4")[:, 0], blocks["qs"], mode="clip")
    scaled(fours.view(np.int8), column(blocks["d"]), out)


def _decode_q1_0(blocks: Any, out: Floats) -> None:
    eights = np.take(_EIGHTS.view("<u8")[:, 0], blocks["qs"], mode="clip")
    scaled(eights.view(np.int8), column(blocks["d"]), out)


# --- encoding --------------------------------------------------------------------------------------------------------------


def _rounded(rows: Floats, unfit: int) -> tuple[Floats, NDArray[np.int32]]:
    """The largest magnitude d of each block, and x / d rounded; `unfit` where 1/d is too large, or x, for that to be a number."""
    d = np.max(np.abs(rows), axis=1)
    whole = half_away(rows * column(inverse(d)))
    return d, np.where(np.isfinite(whole), whole, np.float32(unfit)).astype(np.int32)


def _fractions(digits: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Five digits each, shape (n, 5, k), as fractions in 256ths, rounded up; shape (n, k)."""
    number = np.zeros((digits.shape[0], digits.shape[2]), np.int32)
    for place in range(5):
        number = number * 3 + digits[:, place]
    return (((number & 255) * 256 + 242) // 243).astype(np.uint8)


def _encode_tq1_0(rows: Floats, blocks: Any) -> None:
    d, whole = _rounded(rows, unfit=0)
    digits = whole + 1
    last = np.zeros((digits.shape[0], 5, 4), np.int32)
    last[:, :4] = digits[:, 240:].reshape(-1, 4, 4)
    blocks["d"] = d
    blocks["qs"][:, :32] = _fractions(digits[:, :160].reshape(-1, 5, 32))
    blocks["qs"][:, 32:] = _fractions(digits[:, 160:240].reshape(-1, 5, 16))
    blocks["qh"] = _fractions(last)


def _encode_tq2_0(rows: Floats, blocks: Any) -> None:
    d, whole = _rounded(rows, unfit=0)
    codes = (whole + 1 & 3).astype(np.uint8).reshape(-1, 2, 4, 32)
    blocks["d"] = d
    blocks["qs"] = (codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6).reshape(-1, 64)


def _encode_q2_0(rows: Floats, blocks: Any) -> None:
    d, whole = _rounded(rows, unfit=-1)
    codes = np.clip(whole + 1, 0, 3).astype(np.uint8).reshape(-1, 16, 4)
    blocks["d"] = d
    blocks["qs"] = codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6


def _encode_q1_0(rows: Floats, blocks: Any) -> None:
    blocks["d"] = total(np.ascontiguousarray(np.abs(rows).T)) / np.float32(128)
    blocks["qs"] = np.packbits(rows >= 0, axis=1, bitorder="little")


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "TQ1_0": (decoder(256, _decode_tq1_0), encoder("TQ1_0", _encode_tq1_0)),
    "TQ2_0": (decoder(256, _decode_tq2_0), encoder("TQ2_0", _encode_tq2_0)),
    "Q1_0": (decoder(128, _decode_q1_0), encoder("Q1_0", _encode_q1_0)),
    "Q2_0": (decoder(64, _decode_q2_0), encoder("Q2_0", _encode_q2_0)),
}
