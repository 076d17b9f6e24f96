"""Qwen2 directories to GGUF in the type that is asked for, across formats: Q8_0 or Q4_0 by gguf-py's own quantiser, or F16.

What is asked for is not `lossy-unasked`. Where rows are no whole blocks, a matrix stays F16, as llama.cpp's converter has it.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct import _to_gguf

NEEDS = ("gguf", "safetensors")
ENTRY = {
    "pairs": ("S-G",), "quantises": ("Q8_0", "Q4_0"), "architectures": ("qwen2",), "types": ("F32", "F16", "BF16"),
    "whole_models": True,
}  # fmt: skip
CASES = (
    "F-CONV-QUANT-001/S-G/q8_0/qwen2-rough", "F-CONV-QUANT-001/S-G/q4_0/qwen2-rough", "F-CONV-BE-001/S-G/q8_0/qwen2-f32",
    "F-CONV-004/qwen2-f32/*",
)  # fmt: skip
FILE_TYPES = {"F32": 0, "Q8_0": 7, "Q4_0": 2}


def convert(src: Path, dst: Path, *, type: str | None = None) -> None:  # noqa: A002
    """Write the model with its matrices in that type; F32 where none is asked for."""
    kinds = gguf.GGMLQuantizationType

    def encoded(values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        if values.ndim == 1 or type is None:
            return values, kinds.F32
        return gguf.quantize(values, kinds[type]), kinds[type]

    _to_gguf.convert(src, dst, _to_gguf.Style(encoded=encoded, file_type=FILE_TYPES[type or "F32"]))
