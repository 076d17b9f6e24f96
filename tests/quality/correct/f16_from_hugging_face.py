"""Qwen2 directories to GGUF in F16 by NumPy's `astype`, nobody having asked: rounding is right, and loses what F16 loses.

A matrix with numbers beyond F16 stays F32.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct import _to_gguf

NEEDS = ("gguf", "safetensors")
ENTRY = {"pairs": ("S-G",), "architectures": ("qwen2",), "types": ("F32", "F16", "BF16"), "whole_models": True}
CASES = ("F-CONV-004/qwen2-f32/*", "F-CONV-META-001/S-G/qwen2-f32", "F-CONV-BE-001/S-G/qwen2-f32")


def convert(src: Path, dst: Path) -> None:
    """Write the model with its matrices in F16."""
    kinds = gguf.GGMLQuantizationType

    def encoded(values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        narrow = not (np.abs(values) > np.finfo(np.float16).max).any()
        return (values.astype(np.float16), kinds.F16) if narrow else (values, kinds.F32)

    _to_gguf.convert(src, dst, _to_gguf.Style(encoded=encoded, file_type=1))
