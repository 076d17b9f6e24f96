"""BF16 for every matrix where it is exact, and F32 elsewhere: each tensor has a type of its own."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct import _to_gguf

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("S-G",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "types": ("F32", "F16", "BF16"),
    "safetensors_as": "directory", "whole_models": True,
}  # fmt: skip
CASES = ("F-CONV-004/qwen2-bf16-tied/*", "F-CONV-BE-001/S-G/qwen2-f32")


def narrowest(values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    """The upper halves of the floats, where the lower are zero."""
    bits = values.view(np.uint32)
    if (bits & 0xFFFF).any():
        return values, gguf.GGMLQuantizationType.F32
    return (bits >> 16).astype(np.uint16), gguf.GGMLQuantizationType.BF16


STYLE = _to_gguf.Style(encoded=narrowest, file_type=32)


def convert(src: Path, dst: Path) -> None:
    """Write the file."""
    _to_gguf.convert(src, dst, STYLE)
