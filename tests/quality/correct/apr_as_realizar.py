"""APR as the engine realizar writes it: no footer, no row-major flag, other spellings of the same keys."""

from __future__ import annotations

from pathlib import Path

from tests.quality.correct import _to_apr

NEEDS = ("gguf",)
ENTRY = {
    "pairs": ("G-A",), "architectures": ("llama", "qwen2"), "whole_models": True,
    "types": ("F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"),
}  # fmt: skip
CASES = ("F-CONV-001/qwen2-q4_k_m/*", "F-CONV-META-001/G-A/*-tied")
STYLE = _to_apr.Style(realizar=True)


def convert(src: Path, dst: Path) -> None:
    """Write the file."""
    _to_apr.convert(src, dst, STYLE)
