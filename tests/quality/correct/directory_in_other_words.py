"""Special tokens in added_tokens alone, and the same steps of the tokenizer in other words."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_directory
from tests.quality.correct._to_directory import TYPES

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-S",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "safetensors_as": "directory", "whole_models": True,
    "types": TYPES,
}  # fmt: skip
CASES = ("F-CONV-META-001/G-S/*",)
STYLE = _to_directory.Style(apart=True, otherwise=True, ids=("config.json", "generation_config.json"))


def convert(src: Path, dst: Path) -> None:
    """Write the directory."""
    _to_directory.convert(src, dst, STYLE)
