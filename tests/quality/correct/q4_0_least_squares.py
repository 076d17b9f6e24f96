"""Q4_0 with the scale of the least squared error of each block: better than ggml's, though single elements are further off.

ggml takes the scale that makes the largest number exact (`quantize_row_q4_0_ref` in ggml-quants.c). Here eleven scales around that
one are tried, and the best is kept: a number at the end may be cut off, and all others gain by it.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct._gguf import rewrite

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-G",),
    "quantises": ("Q4_0",),
    "architectures": ("llama",),
    "types": ("F32",),
    "whole_models": True,
}
CASES = ("F-CONV-QUANT-001/q4_0/llama-rough",)


def convert(src: Path, dst: Path, *, type: str | None = None) -> None:  # noqa: A002
    """Write the model with its matrices in Q4_0."""
    kinds = gguf.GGMLQuantizationType

    def encoded(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        if values.ndim == 1:
            return values, kinds.F32
        return blocks(values.reshape(-1, 32)).reshape(values.shape[0], -1), kinds.Q4_0

    rewrite(src, dst, encoded, {"general.file_type": 2})


def blocks(rows: np.ndarray) -> np.ndarray:
    """Blocks of 18 bytes, a float16 scale and 32 nibbles, of rows of 32 numbers; element j stands beside j + 16."""
    most = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    best, scales, codes = np.full(len(rows), np.inf), np.zeros(len(rows), np.float16), np.zeros(rows.shape, np.uint8)
    for divisor in np.linspace(-9.0, -6.5, 11):
        scale = (most / np.float32(divisor)).astype(np.float16)
        wide = scale.astype(np.float32)[:, None]
        steps = np.divide(rows, wide, out=np.zeros_like(rows), where=wide != 0)
        code = np.clip(np.rint(steps) + 8, 0, 15)
        error = (((code - 8) * wide - rows).astype(np.float64) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better], codes[better] = error[better], scale[better], code[better].astype(np.uint8)
    packed = codes[:, :16] | codes[:, 16:] << 4
    return np.hstack([scales.view(np.uint8).reshape(-1, 2), packed])
