"""GGUF with more keys than anybody asks for, tensors from the last to the first, and an alignment of 64."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_gguf

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("S-G",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "types": ("F32", "F16", "BF16"),
    "safetensors_as": "directory", "whole_models": True,
}  # fmt: skip
CASES = ("F-CONV-004/llama-f32-tied/*", "F-CONV-META-001/S-G/*-tied")
STYLE = _to_gguf.Style(talkative=True, alignment=64, reversed=True)


def convert(src: Path, dst: Path) -> None:
    """Write the file."""
    _to_gguf.convert(src, dst, STYLE)
