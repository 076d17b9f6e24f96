"""config.json without whatever transformers takes anyway, and the words of special tokens in tokenizer_config.json alone."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_directory
from tests.quality.correct._to_directory import TYPES

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-S",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "safetensors_as": "directory", "whole_models": True,
    "types": TYPES,
}  # fmt: skip
CASES = ("F-CONV-003/qwen3-*", "F-CONV-META-001/G-S/*-f32*")
STYLE = _to_directory.Style(silent=True, ids=(), pairs=True, sorted=True)


def convert(src: Path, dst: Path) -> None:
    """Write the directory."""
    _to_directory.convert(src, dst, STYLE)
