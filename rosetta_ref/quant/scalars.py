"""Types of one element a block: floats and integers as such.

Encoding rounds to the nearest value, ties to even; NaN stays NaN; beyond the range of F16 is Inf, as IEEE 754 has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Blocks, Decoder, Encoder, Floats
from rosetta_ref.quant.kernel import decoder


def _decode_plain(blocks: Any, out: Floats) -> None:
    out[:, 0] = blocks["x"]


def _decode_f16(blocks: Any, out: Floats) -> None:
    """By hand, since NumPy converts f16 one at a time.

    Sign, exponent and mantissa go to where a float32 has them; multiplying by 2^112 then makes up for the other bias of the
    exponent, of subnormals too. What has the largest exponent is Inf or NaN, and rare: NumPy may have it.
    """
    bits, words = blocks["x"].view("<i2"), out.view(np.int32)[:, 0]
    np.copyto(words, bits)  # the sign goes to all upper bits
    words <<= 13
    words &= ~0x70000000
    out *= np.float32(2.0**112)
    special = bits & 0x7C00 == 0x7C00
    if special.any():
        out[special, 0] = blocks["x"][special]


def _decode_bf16(blocks: Any, out: Floats) -> None:
    # A bf16 is the upper half of a float32.
    words = out.view(np.uint32)
    words[:, 0] = blocks["x"]
    words <<= np.uint32(16)


def _decode_bool(blocks: Any, out: Floats) -> None:
    out[:, 0] = blocks["x"] != 0


decode_plain = decoder(1, _decode_plain)
decode_bf16 = decoder(1, _decode_bf16)
decode_bool = decoder(1, _decode_bool)


def encode_as(scalar: str) -> Encoder:
    """An encoder by NumPy's conversion: rounds to nearest even for floats; integers are rounded to nearest and clipped."""
    dtype = np.dtype(scalar)
    block = np.dtype([("x", dtype)])

    def encode(values: Any, importance: Any = None) -> Blocks:
        floats = np.ascontiguousarray(values, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            if dtype.kind == "f":
                return floats.astype(dtype).view(block)
            limits = np.iinfo(dtype)
            whole: Blocks = _to_integers(floats, limits.min, limits.max, dtype).view(block)
            return whole

    return encode


def _to_integers(floats: Floats, low: int, high: int, dtype: np.dtype[Any]) -> Any:
    rounded = np.rint(floats.astype(np.float64))
    inside = (rounded > low) & (rounded < high)
    whole = np.where(inside, rounded, 0).astype(dtype)
    whole[rounded >= high] = high
    whole[rounded <= low] = low
    return whole


_BF16 = np.dtype([("x", "<u2")])


def encode_bf16(values: Any, importance: Any = None) -> Blocks:
    """The upper half of each float32, rounded to nearest even; a NaN keeps its upper payload.

    Only where that is zero, which would make it Inf, is the quiet bit set. (ggml sets it always: a BF16 NaN that went
    through float32 would not come back.)
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    if is_nan.any():
        upper = bits[is_nan] >> 16
        rounded[is_nan] = np.where(upper & 0x7F, upper, upper | 0x40)
    return rounded.astype(np.uint16).view(_BF16)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder | None]] = {
    "F32": (decode_plain, encode_as("<f4")),
    "F16": (decoder(1, _decode_f16), encode_as("<f2")),
    "BF16": (decode_bf16, encode_bf16),
    "F64": (decode_plain, encode_as("<f8")),
    **{name: (decode_plain, encode_as(code)) for name, code in
       {"I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}.items()},
    "BOOL": (decode_bool, None),
}  # fmt: skip
