"""Kernels of ggml's K types; what the bits mean is told in `quant.kquants`."""

from __future__ import annotations

from typing import Any

from rosetta_ref.quant.fast.compiled import kernel, single, step


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
                    low, high, top = ql[64 * half + 16 * k + i], ql[64 * half + 16 * k + 32 + i], qh[32 * half + 16 * k + i]
                    out[b, at + i] = first * single((low & 15 | (top & 3) << 4) - 32)
                    out[b, at + 32 + i] = second * single((high & 15 | (top >> 2 & 3) << 4) - 32)
                    out[b, at + 64 + i] = third * single((low >> 4 | (top >> 4 & 3) << 4) - 32)
                    out[b, at + 96 + i] = fourth * single((high >> 4 | (top >> 6) << 4) - 32)


@kernel
def _q2_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, dmin, packed, qs = halves[blocks[b].d], halves[blocks[b].dmin], blocks[b].scales, blocks[b].qs
        for run in range(16):
            half, group, k = run >> 3, run >> 1 & 3, run & 1
            scale, minimum = d * single(packed[run] & 15), dmin * single(packed[run] >> 4)
            for i in range(16):
                code = qs[32 * half + 16 * k + i] >> 2 * group & 3
                out[b, 16 * run + i] = scale * single(code) - minimum


@kernel
def _q3_k(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, packed, qs, hmask = halves[blocks[b].d], blocks[b].scales, blocks[b].qs, blocks[b].hmask
        for run in range(16):
            half, group, k = run >> 3, run >> 1 & 3, run & 1
            low, high = packed[run & 7] >> 4 * half & 15, packed[8 + (run & 3)] >> 2 * (run >> 2) & 3
            scale = d * single((low | high << 4) - 32)
            for i in range(16):
                third = hmask[16 * k + i] >> 4 * half + group & 1
                code = qs[32 * half + 16 * k + i] >> 2 * group & 3 | third << 2
                out[b, 16 * run + i] = scale * single(code - 4)


KERNELS = {"Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k}
