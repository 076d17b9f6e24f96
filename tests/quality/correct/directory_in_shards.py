"""Shards whose index says no size, and config.json as transformers 5 writes it: rope_theta in rope_parameters."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_directory
from tests.quality.correct._to_directory import TYPES

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-S",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "safetensors_as": "directory", "whole_models": True,
    "types": TYPES,
}  # fmt: skip
CASES = ("F-CONV-003/llama-f32-tied/*", "F-CONV-META-001/G-S/qwen2-*")
STYLE = _to_directory.Style(shards=3, newest=True, sorted=True)


def convert(src: Path, dst: Path) -> None:
    """Write the directory."""
    _to_directory.convert(src, dst, STYLE)
