"""Kernels of ggml's IQ4_NL and IQ4_XS; what the bits mean is told in `quant.iq4`."""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.fast.compiled import kernel, single
from rosetta_ref.quant.iq4 import LEVELS

_LEVELS = np.array(LEVELS, np.float32)


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


KERNELS = {"IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs}
