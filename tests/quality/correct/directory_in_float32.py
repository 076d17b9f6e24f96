"""Everything in float32; ids of special tokens in generation_config.json, the chat template in a file of its own."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_directory
from tests.quality.correct._to_directory import TYPES

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-S",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "safetensors_as": "directory", "whole_models": True,
    "types": TYPES,
}  # fmt: skip
CASES = ("F-CONV-003/llama-q4_k_m/*", "F-CONV-META-001/G-S/llama-f32*")
STYLE = _to_directory.Style(wide=True, template="chat_template.jinja", ids=("generation_config.json",))


def convert(src: Path, dst: Path) -> None:
    """Write the directory."""
    _to_directory.convert(src, dst, STYLE)
