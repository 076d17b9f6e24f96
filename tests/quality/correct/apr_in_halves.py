"""APR with the names and rows of Hugging Face for every architecture (rope_type 2), and data in the order of the source."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_apr

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-A",), "architectures": ("llama", "qwen2"), "whole_models": True,
    "types": ("F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"),
}  # fmt: skip
CASES = ("F-CONV-001/llama-q4_k_m/*", "F-CONV-META-001/G-A/*-tied", "F-CONV-NAME-001/G-A/llama-f32-tied")
STYLE = _to_apr.Style(hugging_face=True, unsorted=True)


def convert(src: Path, dst: Path) -> None:
    """Write the file."""
    _to_apr.convert(src, dst, STYLE)
