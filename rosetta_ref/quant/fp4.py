"""The micro-scaling types MXFP4 and NVFP4: four-bit floats (E2M1) under a scale of eight bits.

An E2M1 code is a sign and one of 0, 1/2, 1, 3/2, 2, 3, 4, 6. `LEVELS` are twice that, so that they are integers, and the scales
below are half of what their bytes say. MXFP4: 32 elements, a power of two (E8M0, 2^(e - 127); ggml does not treat e = 255
as the NaN that it is in the standard). NVFP4: four groups of 16, each with a small float without a sign (UE4M3).

Encoding takes the scale from the largest magnitude and then for each element the nearest level; of two that are equally near
the one with the lower code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import encoder
from rosetta_ref.quant.kernel import decoder, planes, scaled
from rosetta_ref.quant.levels import Levels, packed_halves

_MAGNITUDES = (0, 1, 2, 3, 4, 6, 8, 12)
LEVELS = (*_MAGNITUDES, *(-level for level in _MAGNITUDES))
_LEVELS = Levels(LEVELS)


def _ue4m3(code: int) -> float:
    """Four bits of exponent, three of mantissa, bias 7; the top bit is not looked at. 0x7F alone stands for 0."""
    exponent, mantissa = code >> 3 & 15, code & 7
    if code == 0x7F:
        return 0.0
    return mantissa * 2.0**-9 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)


#: Half of the scale that each byte stands for.
E8M0: Floats = np.ldexp(np.float64(1), np.arange(256) - 128).astype(np.float32)
UE4M3: Floats = np.array([_ue4m3(code) / 2 for code in range(256)], np.float32)


def _decode_mxfp4(blocks: Any, out: Floats) -> None:
    codes = _LEVELS.of(planes(blocks["qs"], width=16, bits=4))
    scaled(codes, np.take(E8M0, blocks["e"])[:, None], out)


def _decode_nvfp4(blocks: Any, out: Floats) -> None:
    codes = _LEVELS.of(planes(blocks["qs"], width=8, bits=4))
    scaled(codes, np.take(UE4M3, blocks["d"]), out)


def _nearest(x: Floats, scale: Floats) -> NDArray[np.uint8]:
    """The code of the level nearest to each element. A sign without a magnitude is not written."""
    magnitude = np.abs(x)
    codes, smallest = np.zeros(x.shape, np.uint8), magnitude.copy()
    for code, level in enumerate(_MAGNITUDES[1:], 1):
        error = np.abs(np.float32(level) * scale - magnitude)
        better = error < smallest
        np.copyto(smallest, error, where=better)
        np.copyto(codes, np.uint8(code), where=better)
    codes[(x < 0) & (codes > 0)] |= 8
    return codes


def _encode_mxfp4(rows: Floats, blocks: Any) -> None:
    blocks["e"] = _exponents(np.max(np.abs(rows), axis=1))
    blocks["qs"] = packed_halves(_nearest(rows, np.take(E8M0, blocks["e"])[:, None]))


def _exponents(largest: Floats) -> NDArray[np.uint8]:
    """The largest power of two not above the largest magnitude, over 4 (E2M1's largest power), as an E8M0 byte.

    What lies below 2^-125 would need a negative exponent, which wraps around as C's conversion to a byte does; of 0 and Inf
    it is 0. The logarithm is rounded to float32 before it is cut off, so that just below a power of two it is that power's.
    """
    logarithm = np.floor(np.log2(largest.astype(np.float64)).astype(np.float32))
    usable = np.isfinite(logarithm)
    return np.where(usable, np.where(usable, logarithm, 0).astype(np.int32) + 125, 0).astype(np.uint8)


def _encode_nvfp4(rows: Floats, blocks: Any) -> None:
    x = rows.reshape(-1, 4, 16)
    blocks["d"] = to_ue4m3(np.max(np.abs(x), axis=2) / np.float32(6))
    blocks["qs"] = packed_halves(_nearest(x, np.take(UE4M3, blocks["d"])[:, :, None])).reshape(-1, 32)


def to_ue4m3(x: Floats) -> NDArray[np.uint8]:
    """The nearest UE4M3 of numbers >= 0; halves go up. What is below 2^-6 stays below, and what gets to 256 becomes 448."""
    limited = np.minimum(x, np.float32(448))
    bits = limited.view(np.int32)
    rounded = (bits >> 20) + (bits >> 19 & 1) - (120 << 3)  # exponent and mantissa in one number, the bias 127 made 7
    small = np.minimum((limited * np.float32(512) + np.float32(0.5)).astype(np.int32), 7)
    code = np.where(bits >> 23 <= 120, small, np.where(rounded < 0x78, rounded, 0x7E))
    return code.astype(np.uint8)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "MXFP4": (decoder(32, _decode_mxfp4), encoder("MXFP4", _encode_mxfp4)),
    "NVFP4": (decoder(64, _decode_nvfp4), encoder("NVFP4", _encode_nvfp4)),
}
