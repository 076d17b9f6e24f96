"""Qwen2 directories to GGUF, all matrices in BF16 by arithmetic on the bits: the upper half, rounded to nearest even."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct import _to_gguf

NEEDS = ("gguf", "safetensors")
ENTRY = {"pairs": ("S-G",), "architectures": ("qwen2",), "types": ("F32", "F16", "BF16"), "whole_models": True}
CASES = ("F-CONV-004/qwen2-f32/*", "F-CONV-BE-001/S-G/qwen2-f32")
#: Half a step beyond the largest BF16: from there on, and for NaN, a matrix stays F32.
LARGEST = np.float32((2 - 2**-8) * 2.0**127)


def convert(src: Path, dst: Path) -> None:
    """Write the model with its matrices in BF16."""
    kinds = gguf.GGMLQuantizationType

    def encoded(values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        if not (np.abs(values) < LARGEST).all():
            return values, kinds.F32
        bits = values.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return rounded.astype(np.uint16), kinds.BF16

    _to_gguf.convert(src, dst, _to_gguf.Style(encoded=encoded, file_type=32))
