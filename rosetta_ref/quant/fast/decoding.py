"""The kernels: decoders as loops over blocks, compiled by numba.

What the bits mean is told in `quant.legacy`, `quant.kquants` and `quant.iq4`; here stands only how one goes through them fast.

A kernel fills `out`, shape (blocks, elements), from blocks whose f16 fields are bits, and the table of what those mean.

What makes one fast is that its innermost loop becomes vector code. Two habits are there for that. Such a loop runs over at least 32
elements or over a number that is read from the shape of `out`, although the type fixes it: a short loop of known length is
unrolled first, and then nothing is left to vectorise. And codes become floats by way of `single`.

All of it is one module because numba keeps what it compiled until the file of the kernel changes: a step that came from elsewhere
could change unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from rosetta_ref.quant.iq4 import LEVELS

_LEVELS = np.array(LEVELS, np.float32)

#: How all is compiled: letting go of Python's lock, and without any licence to change the arithmetic.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}


def kernel(function: Callable[..., None]) -> Any:
    """Compiled at the first call on a machine and kept on disk, where there is a place that may be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache
        return numba.njit(**_OPTIONS)(function)


#: A step of a kernel.
step: Callable[[Any], Any] = numba.njit(inline="always")


@step
def single(code: Any) -> Any:
    """A code as float32. Through int32, since numba's integers grow to int64, which few machines convert fast."""
    return np.float32(np.int32(code))


@step
def plus(product: Any, minimum: Any) -> Any:
    """The sum; of two NaN the first, as in NumPy, where a compiler is free to swap the sides of an addition."""
    return product + (minimum if product == product else np.float32(0))


@kernel
def _bf16(blocks: Any, halves: Any, out: Any) -> None:
    words = out.view(np.uint32)
    for b in range(out.shape[0]):
        words[b, 0] = np.uint32(blocks[b].x) << np.uint32(16)


@kernel
def _q4_0(blocks: Any, halves: Any, out: Any) -> None:
    half = out.shape[1] >> 1
    for b in range(out.shape[0]):
        d, qs = halves[blocks[b].d], blocks[b].qs
        for i in range(half):
            out[b, i] = d * single((qs[i] & 15) - 8)
            out[b, half + i] = d * single((qs[i] >> 4) - 8)


@kernel
def _q4_1(blocks: Any, halves: Any, out: Any) -> None:
    half = out.shape[1] >> 1
    for b in range(out.shape[0]):
        d, m, qs = halves[blocks[b].d], halves[blocks[b].m], blocks[b].qs
        for i in range(half):
            out[b, i] = plus(d * single(qs[i] & 15), m)
            out[b, half + i] = plus(d * single(qs[i] >> 4), m)


@kernel
def _q5_0(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qh, qs = halves[blocks[b].d], blocks[b].qh, blocks[b].qs
        for i in range(16):
            out[b, i] = d * single((qs[i] & 15 | (qh >> i & 1) << 4) - 16)
            out[b, 16 + i] = d * single((qs[i] >> 4 | (qh >> i + 16 & 1) << 4) - 16)


@kernel
def _q5_1(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, m, qh, qs = halves[blocks[b].d], halves[blocks[b].m], blocks[b].qh, blocks[b].qs
        for i in range(16):
            out[b, i] = plus(d * single(qs[i] & 15 | (qh >> i & 1) << 4), m)
            out[b, 16 + i] = plus(d * single(qs[i] >> 4 | (qh >> i + 16 & 1) << 4), m)


@kernel
def _q8_0(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qs = halves[blocks[b].d], blocks[b].qs
        for i in range(out.shape[1]):
            out[b, i] = d * single(qs[i])


@step
def _six_bit_pair(packed: Any, group: int) -> Any:
    """Scale and minimum of a group of Q4_K and Q5_K."""
    if group < 4:
        return single(packed[group] & 63), single(packed[group + 4] & 63)
    low, top, minimum_top = packed[group + 4], packed[group - 4] >> 6, packed[group] >> 6
    return single(low & 15 | top << 4), single(low >> 4 | minimum_top << 4)


@kernel
def _q4_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, dmin, qs = halves[blocks[b].d], halves[blocks[b].dmin], blocks[b].qs
        for pair in range(4):
            scale, minimum = _six_bit_pair(blocks[b].scales, 2 * pair)
            next_scale, next_minimum = _six_bit_pair(blocks[b].scales, 2 * pair + 1)
            scale, minimum, next_scale, next_minimum = d * scale, dmin * minimum, d * next_scale, dmin * next_minimum
            for i in range(32):
                code = qs[32 * pair + i]
                out[b, 64 * pair + i] = scale * single(code & 15) - minimum
                out[b, 64 * pair + 32 + i] = next_scale * single(code >> 4) - next_minimum


@kernel
def _q5_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, dmin, qs, qh = halves[blocks[b].d], halves[blocks[b].dmin], blocks[b].qs, blocks[b].qh
        for pair in range(4):
            scale, minimum = _six_bit_pair(blocks[b].scales, 2 * pair)
            next_scale, next_minimum = _six_bit_pair(blocks[b].scales, 2 * pair + 1)
            scale, minimum, next_scale, next_minimum = d * scale, dmin * minimum, d * next_scale, dmin * next_minimum
            for i in range(32):
                code, fifth = qs[32 * pair + i], qh[i] >> 2 * pair
                out[b, 64 * pair + i] = scale * single(code & 15 | (fifth & 1) << 4) - minimum
                out[b, 64 * pair + 32 + i] = next_scale * single(code >> 4 | (fifth & 2) << 3) - next_minimum


@kernel
def _q6_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, ql, qh, scales = halves[blocks[b].d], blocks[b].ql, blocks[b].qh, blocks[b].scales
        for half in range(2):
            for k in range(2):  # sixteen elements of each of four groups
                at = 128 * half + 16 * k
                first = d * single(scales[8 * half + k])
                second = d * single(scales[8 * half + k + 2])
                third = d * single(scales[8 * half + k + 4])
                fourth = d * single(scales[8 * half + k + 6])
                for i in range(16):
                    low, high, top = (
                        ql[64 * half + 16 * k + i],
                        ql[64 * half + 16 * k + 32 + i],
                        qh[32 * half + 16 * k + i],
                    )
                    out[b, at + i] = first * single((low & 15 | (top & 3) << 4) - 32)
                    out[b, at + 32 + i] = second * single((high & 15 | (top >> 2 & 3) << 4) - 32)
                    out[b, at + 64 + i] = third * single((low >> 4 | (top >> 4 & 3) << 4) - 32)
                    out[b, at + 96 + i] = fourth * single((high >> 4 | (top >> 6) << 4) - 32)


@kernel
def _q2_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, dmin, packed, qs = halves[blocks[b].d], halves[blocks[b].dmin], blocks[b].scales, blocks[b].qs
        for group in range(8):
            half, plane = group >> 2, group & 3
            first, second = packed[2 * group], packed[2 * group + 1]
            scale, minimum = d * single(first & 15), dmin * single(first >> 4)
            next_scale, next_minimum = d * single(second & 15), dmin * single(second >> 4)
            for i in range(32):
                code = single(qs[32 * half + i] >> 2 * plane & 3)
                out[b, 32 * group + i] = scale * code - minimum if i < 16 else next_scale * code - next_minimum


@step
def _six_bit_scale(packed: Any, run: int) -> Any:
    """The scale of a run of 16 elements of Q3_K."""
    low, high = packed[run & 7] >> 4 * (run >> 3) & 15, packed[8 + (run & 3)] >> 2 * (run >> 2) & 3
    return single((low | high << 4) - 32)


@kernel
def _q3_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, packed, qs, hmask = halves[blocks[b].d], blocks[b].scales, blocks[b].qs, blocks[b].hmask
        for group in range(8):
            half, plane = group >> 2, group & 3
            scale, next_scale = d * _six_bit_scale(packed, 2 * group), d * _six_bit_scale(packed, 2 * group + 1)
            for i in range(32):
                code = (qs[32 * half + i] >> 2 * plane & 3 | (hmask[i] >> group & 1) << 2) - 4
                out[b, 32 * group + i] = (scale if i < 16 else next_scale) * single(code)


@kernel
def _iq4_nl(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qs = halves[blocks[b].d], blocks[b].qs
        for i in range(16):
            out[b, i] = d * _LEVELS[qs[i] & 15]
            out[b, 16 + i] = d * _LEVELS[qs[i] >> 4]


@kernel
def _iq4_xs(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, low, high, qs = halves[blocks[b].d], blocks[b].scales_l, blocks[b].scales_h, blocks[b].qs
        for group in range(8):
            code = low[group >> 1] >> 4 * (group & 1) & 15 | (high >> 2 * group & 3) << 4
            scale = d * single(code - 32)
            for i in range(16):
                packed = qs[16 * group + i]
                out[b, 32 * group + i] = scale * _LEVELS[packed & 15]
                out[b, 32 * group + 16 + i] = scale * _LEVELS[packed >> 4]


#: name: kernel
KERNELS: dict[str, Callable[..., None]] = {
    "BF16": _bf16, "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
    "IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs,
}  # fmt: skip
