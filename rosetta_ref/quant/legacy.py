"""ggml's 32-element types: one scale (and, in the `_1` types, one minimum) for 32 elements.

Nibbles come in halves: element j is the low nibble of byte j and element j + 16 the high one. In the 5-bit types bit j of
`qh` is the fifth bit of element j.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Blocks, Decoder, Encoder, Floats, layout_dtype
from rosetta_ref.quant.kernel import column, decoder, nibbles, scaled, words


def _codes(blocks: Any) -> Any:
    """Low nibbles to elements 0..15, high ones to 16..31."""
    codes = np.empty((blocks.size, 2, 2), np.uint64)
    nibbles(words(blocks["qs"]).reshape(-1, 2), low=codes[:, 0], high=codes[:, 1])
    return codes.view(np.uint8).reshape(-1, 32)


def _five_bit_codes(blocks: Any) -> Any:
    bits = np.ascontiguousarray(blocks["qh"]).view(np.uint8).reshape(-1, 4)
    fifth = np.unpackbits(bits, axis=1, bitorder="little")
    fifth <<= 4
    fifth |= _codes(blocks)
    return fifth


def _signed(codes: Any, half: int) -> Any:
    signed = codes.view(np.int8)
    signed -= np.int8(half)
    return signed


def _decode_q4_0(blocks: Any, out: Floats) -> None:
    scaled(_signed(_codes(blocks), 8), column(blocks["d"]), out)


def _decode_q4_1(blocks: Any, out: Floats) -> None:
    scaled(_codes(blocks), column(blocks["d"]), out)
    out += column(blocks["m"])


def _decode_q5_0(blocks: Any, out: Floats) -> None:
    scaled(_signed(_five_bit_codes(blocks), 16), column(blocks["d"]), out)


def _decode_q5_1(blocks: Any, out: Floats) -> None:
    scaled(_five_bit_codes(blocks), column(blocks["d"]), out)
    out += column(blocks["m"])


def _decode_q8(blocks: Any, out: Floats) -> None:
    scaled(blocks["qs"], column(blocks["d"]), out)


def _rows(values: Any) -> Floats:
    return np.ascontiguousarray(values, np.float32).reshape(-1, 32)


def _inverse(d: Floats) -> Floats:
    """1 / d where d is not 0, else 0: the code is taken before d is rounded to f16."""
    with np.errstate(divide="ignore"):
        return np.where(d != 0, np.float32(1) / d, np.float32(0)).astype(np.float32)


def _truncated(scaled: Floats, top: int) -> Any:
    """C's conversion of a float to int8, then the clip from above."""
    return np.minimum(np.nan_to_num(scaled, nan=0.0).astype(np.int32).astype(np.int8), np.int8(top)).astype(np.uint8)


def _pack(codes: Any) -> Any:
    return (codes[:, :16] & 0x0F) | ((codes[:, 16:] & 0x0F) << 4)


def _blocks(layout: str, values: Any, **fields: Any) -> Blocks:
    shape = np.shape(values)
    made = np.zeros(np.size(values) // 32, layout_dtype(layout))
    for name, field in fields.items():
        made[name] = field
    return made.reshape(*shape[:-1], shape[-1] // 32) if len(shape) > 1 else made


def _symmetric(values: Any, half: int) -> tuple[Floats, Any]:
    """Scale and codes of Q4_0 and Q5_0: the first element of largest magnitude gets the code 0 (value -half)."""
    x = _rows(values)
    first = np.argmax(np.where(np.isnan(x), np.float32(0), np.abs(x)), axis=1)
    extreme = np.take_along_axis(x, first[:, None], axis=1)
    extreme = np.where(np.abs(extreme) > 0, extreme, np.float32(0))
    d = extreme / np.float32(-half)
    scaled = x * _inverse(d) + np.float32(half + 0.5)
    return d[:, 0], _truncated(scaled, 2 * half - 1)


def _affine(values: Any, top: int) -> tuple[Floats, Floats, Any]:
    """Scale, minimum and codes of Q4_1 and Q5_1."""
    x = _rows(values)
    low, high = np.fmin.reduce(x, axis=1), np.fmax.reduce(x, axis=1)
    d = (high - low) / np.float32(top)
    scaled = (x - low[:, None]) * _inverse(d)[:, None] + np.float32(0.5)
    return d, low, scaled


def encode_q4_0(values: Any, importance: Any = None) -> Blocks:
    """Round to Q4_0 as ggml does; `importance` is not used by the plain rounding."""
    with np.errstate(all="ignore"):
        d, codes = _symmetric(values, 8)
        return _blocks("d:f16 | qs:16xu8", values, d=d, qs=_pack(codes))


def encode_q4_1(values: Any, importance: Any = None) -> Blocks:
    """Round to Q4_1 as ggml does."""
    with np.errstate(all="ignore"):
        d, low, scaled = _affine(values, 15)
        return _blocks("d:f16 | m:f16 | qs:16xu8", values, d=d, m=low, qs=_pack(_truncated(scaled, 15)))


def _qh(codes: Any) -> Any:
    return np.packbits((codes >> 4) & 1, axis=1, bitorder="little").view("<u4")[:, 0]


def encode_q5_0(values: Any, importance: Any = None) -> Blocks:
    """Round to Q5_0 as ggml does."""
    with np.errstate(all="ignore"):
        d, codes = _symmetric(values, 16)
        return _blocks("d:f16 | qh:u32 | qs:16xu8", values, d=d, qh=_qh(codes), qs=_pack(codes))


def encode_q5_1(values: Any, importance: Any = None) -> Blocks:
    """Round to Q5_1 as ggml does: the codes are truncated to a byte, not clipped."""
    with np.errstate(all="ignore"):
        d, low, scaled = _affine(values, 31)
        codes = np.nan_to_num(scaled, nan=0.0).astype(np.int32).astype(np.uint8)
        return _blocks("d:f16 | m:f16 | qh:u32 | qs:16xu8", values, d=d, m=low, qh=_qh(codes), qs=_pack(codes))


def encode_q8_0(values: Any, importance: Any = None) -> Blocks:
    """Round to Q8_0 as ggml does: half away from zero."""
    with np.errstate(all="ignore"):
        x = _rows(values)
        d = np.fmax.reduce(np.abs(x), axis=1, initial=np.float32(0)) / np.float32(127)
        scaled = x * _inverse(d)[:, None]
        whole = np.trunc(scaled)
        away = np.where(np.abs(scaled - whole) >= 0.5, np.copysign(np.float32(1), scaled), np.float32(0))
        codes = np.nan_to_num(whole + away, nan=0.0).astype(np.int32).astype(np.int8)
        return _blocks("d:f16 | qs:32xi8", values, d=d, qs=codes)


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder | None]] = {
    "Q4_0": (decoder(32, _decode_q4_0), encode_q4_0),
    "Q4_1": (decoder(32, _decode_q4_1), encode_q4_1),
    "Q5_0": (decoder(32, _decode_q5_0), encode_q5_0),
    "Q5_1": (decoder(32, _decode_q5_1), encode_q5_1),
    "Q8_0": (decoder(32, _decode_q8), encode_q8_0),
    "Q8_1": (decoder(32, _decode_q8), None),
}
