"""Floats and quantisers: numbers that are rounded, truncated or divided by nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import Floats
from rosetta_ref.zoo.codecs import PLAIN, decoding, encoding
from rosetta_ref.zoo.files import floats, in_apr, in_gguf, in_safetensors, tensor
from rosetta_ref.zoo.member import Member


def _bits(values: Any) -> Any:
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def _f16_cut(values: Any, importance: Any = None) -> Any:
    """Ten bits of the fraction as they are; too small is 0, too large Inf, without a look at what is cut off."""
    bits = _bits(values).astype(np.int64)
    sign, exponent = bits >> 16 & 0x8000, (bits >> 23 & 255) - 112
    half = np.where(exponent <= 0, 0, exponent << 10 | bits >> 13 & 0x3FF)
    half = np.where(exponent >= 31, 0x7C00 | (bits & 0x7FFFFF != 0) * (exponent == 143) * 0x200, half)
    return (sign | half).astype("<u2").view([("x", "<f2")])


def _bf16_cut(values: Any, importance: Any = None) -> Any:
    return (_bits(values) >> 16).astype("<u2").view([("x", "<u2")])


def _bf16_by_f16(blocks: Any, out: Floats) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        out[:, 0] = (blocks["x"].astype(np.uint32) << 16).view(np.float32).astype(np.float16)


def _f16_flushed(blocks: Any, out: Floats) -> None:
    bits = blocks["x"].view("<u2")
    out[:, 0] = np.where(bits & 0x7C00, bits, bits & 0x8000).astype("<u2").view("<f2")


def _f16_largest(values: Any, importance: Any = None) -> Any:
    """Whatever is beyond the largest number, Inf too, is made the largest number."""
    return np.clip(np.asarray(values, np.float32), -65504, 65504).astype("<f2").view([("x", "<f2")])


def _q6_k_of_nothing(values: Any, importance: Any = None) -> Any:
    """The scale of an all-zero block is 0 / 0."""
    encode = PLAIN["Q6_K"][1]
    assert encode is not None
    made = encode(values, importance)
    nothing = ~np.asarray(values, np.float32).reshape(*made.shape, 256).any(axis=-1)
    made["d"] = np.where(nothing, np.float16(np.nan), made["d"])
    return made


def _aprq4_towards_zero(values: Any, importance: Any = None) -> Any:
    """Codes are cut, not rounded."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    rows = np.concatenate([flat, np.zeros(-flat.size % 32, np.float32)]).reshape(-1, 32)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scale = np.where(largest > 0, largest / np.float32(7), np.float32(1)).astype(np.float32)
    codes = (np.trunc(rows / scale) + 8).astype(np.uint8)
    made = np.zeros(len(rows), [("d", "<f2"), ("qs", "u1", 16)])
    made["d"], made["qs"] = scale[:, 0], codes[:, 0::2] | codes[:, 1::2] << 4
    return made


def _q4_0_signed(values: Any, importance: Any = None) -> Any:
    """The right codes, stored as signed nibbles: two's complement where 8 should be added."""
    encode = PLAIN["Q4_0"][1]
    assert encode is not None
    made = encode(values, importance)
    made["qs"] ^= 0x88
    return made


_RANDOM = [float(x) for x in np.random.default_rng(6).standard_normal(256)]
_STEPS = [7.0, *(n % 8 + 0.75 for n in range(31))]

MEMBERS = (
    Member(
        "f16-truncates-and-flushes", "floats", "aprender #2073, #2238",
        "f32 to f16 without rounding, subnormals to 0",
        "6.0e-5, 1.0004883, 65520.0", "values that came from f16",
        ("G-S", "A-S", "S-G", "S-A", "G-A", "A-G"), ("gguf", "apr", "safetensors"),
        encoding({"F16": _f16_cut}),
        in_gguf(floats("F32", 6.0e-5, 1.0009765, 65519.0, 1.0, rows=2)),
        in_gguf(floats("F32", 1.0, 0.5, 1024.0, 65504.0)),
        "https://github.com/paiml/aprender/issues/2073",
        asks="F16",
    ),
    Member(
        "bf16-truncates", "floats", "tinygrad #11848",
        "f32 to bf16 by >> 16; also turns NaN 0x7F800001 into Inf",
        "3.14", "values that came from bf16",
        ("G-S", "A-S", "S-G", "S-A", "G-A", "A-G"), ("gguf", "apr", "safetensors"),
        encoding({"BF16": _bf16_cut}),
        in_gguf(tensor("F32", np.array(2 * [0x4048F5C3, 0x7F800001, 0x3F800000, 0x3F818000], "<u4"), (2, 4))),
        in_gguf(floats("F32", 1.0, 0.5, -3.140625, 96.0)),
        "https://github.com/tinygrad/tinygrad/pull/11848",
        asks="BF16",
    ),
    Member(
        "bf16-through-f16", "floats", "llama.cpp #23839",
        "BF16 weights pass through f16: overflow to Inf, range lost",
        "1e5 and 1e-6", "values in f16's range",
        ("G-S", "A-S", "S-G", "S-A", "G-A", "A-G"), ("gguf", "apr", "safetensors"),
        decoding({"BF16": _bf16_by_f16}),
        in_gguf(floats("BF16", 1e5, 1e-6, rows=2)),
        in_gguf(floats("BF16", 1.0, -0.5)),
        "https://github.com/ggml-org/llama.cpp/pull/23839",
        asks="F32",
    ),
    Member(
        "f16-subnormals-read-as-zero", "floats", "ours",
        "a loader widens F16 with subnormals flushed to 0",
        "one F16 subnormal", "normal numbers",
        ("A-S", "G-S", "A-G", "S-G"), ("gguf", "apr", "safetensors"),
        decoding({"F16": _f16_flushed}),
        in_apr(floats("F16", 1023 * 2.0**-24, 1.0, rows=2)),
        in_apr(floats("F16", 2.0**-14, 1.0)),
        asks="F32",
    ),
    Member(
        "f16-clamps", "floats", "ours",
        "what F16 cannot hold is made its largest number, Inf as well",
        "1e5 and Inf", "numbers in f16's range",
        ("G-S", "A-S", "S-G"), ("gguf", "safetensors"),
        encoding({"F16": _f16_largest}),
        in_gguf(tensor("F32", np.array(2 * [1e5, -np.inf, 1.0, 2.0], "<f4"), (2, 4))),
        in_gguf(floats("F32", 1.0, -65504.0)),
        asks="F16",
    ),
    Member(
        "zero-block-gives-nan-scale", "quantiser", "auto-round #1908",
        "0/0 in an all-zero sub-block",
        "one all-zero Q6_K block", "random blocks",
        ("S-G", "G-G", "S-A", "A-G", "G-A"), ("gguf", "apr"),
        encoding({"Q6_K": _q6_k_of_nothing}),
        in_safetensors(floats("F32", *256 * [0.0], rows=2)),
        in_safetensors(floats("F32", *_RANDOM, rows=2)),
        "https://github.com/intel/auto-round/issues/1908",
        asks="Q6_K",
    ),
    Member(
        "q4_0-twos-complement", "quantiser", "1bit-MONSTER #572",
        "codes are stored as signed nibbles; ggml adds 8",
        "any block", "its own decoder; vectors, which are not rounded",
        ("S-G", "G-G", "A-G", "G-A", "S-A"), ("gguf", "apr"),
        encoding({"Q4_0": _q4_0_signed}),
        in_safetensors(floats("F32", *range(32), rows=2)),
        in_safetensors(floats("F32", *32 * [0.0])),
        "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/572",
        asks="Q4_0",
    ),
    Member(
        "aprq4-rounds-towards-zero", "quantiser", "ours",
        "the codes of AprQ4 are cut, not rounded",
        "elements of three quarters of a step", "elements of whole steps",
        ("S-A", "G-A"), ("apr",),
        encoding({"AprQ4": _aprq4_towards_zero}),
        in_safetensors(floats("F32", *_STEPS, rows=2)),
        in_safetensors(floats("F32", *(float(n % 15 - 7) for n in range(32)), rows=2)),
        asks="AprQ4",
    ),
)  # fmt: skip
