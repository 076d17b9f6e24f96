"""GGUF without each key whose value llama.cpp takes anyway: rope base, key and value heads, vocabulary size, flags."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_gguf

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("S-G",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "types": ("F32", "F16", "BF16"),
    "safetensors_as": "directory", "whole_models": True,
}  # fmt: skip
CASES = ("F-CONV-004/qwen3-*", "F-CONV-META-001/S-G/*-f32*")
STYLE = _to_gguf.Style(silent=True)


def convert(src: Path, dst: Path) -> None:
    """Write the file."""
    _to_gguf.convert(src, dst, STYLE)
