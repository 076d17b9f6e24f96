"""Kernels of ggml's 32-element types (see `quant.legacy`) and of BF16."""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.fast.compiled import kernel, single


@kernel
def _bf16(blocks: Any, halves: Any, out: Any) -> None:
    words = out.view(np.uint32)
    for b in range(out.shape[0]):
        words[b, 0] = np.uint32(blocks[b].x) << np.uint32(16)


@kernel
def _q4_0(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qs = halves[blocks[b].d], blocks[b].qs
        for i in range(16):
            out[b, i] = d * single((qs[i] & 15) - 8)
            out[b, 16 + i] = d * single((qs[i] >> 4) - 8)


@kernel
def _q4_1(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, m, qs = halves[blocks[b].d], halves[blocks[b].m], blocks[b].qs
        for i in range(16):
            out[b, i] = d * single(qs[i] & 15) + m
            out[b, 16 + i] = d * single(qs[i] >> 4) + m


@kernel
def _q5_0(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qh, qs = halves[blocks[b].d], np.uint32(blocks[b].qh), blocks[b].qs
        for i in range(16):
            out[b, i] = d * single((qs[i] & 15 | (qh >> i & 1) << 4) - 16)
            out[b, 16 + i] = d * single((qs[i] >> 4 | (qh >> i + 16 & 1) << 4) - 16)


@kernel
def _q5_1(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, m, qh, qs = halves[blocks[b].d], halves[blocks[b].m], blocks[b].qh, blocks[b].qs
        for i in range(16):
            out[b, i] = d * single(qs[i] & 15 | (qh >> i & 1) << 4) + m
            out[b, 16 + i] = d * single(qs[i] >> 4 | (qh >> i + 16 & 1) << 4) + m


@kernel
def _q8_0(blocks: Any, halves: Any, out: Any) -> None:
    for b in range(out.shape[0]):
        d, qs = halves[blocks[b].d], blocks[b].qs
        for i in range(32):
            out[b, i] = d * single(qs[i])


KERNELS = {"BF16": _bf16, "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0}
