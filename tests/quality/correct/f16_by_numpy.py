"""All matrices to F16 by NumPy's `astype`, which rounds to nearest even as IEEE 754 says; norms stay F32."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct._gguf import rewrite

NEEDS = ("gguf",)
ENTRY = {"pairs": ("G-G",), "quantises": ("F16",), "architectures": ("llama",), "types": ("F32",), "whole_models": True}
CASES = ("F-CONV-QUANT-001/*/llama-rough",)


def convert(src: Path, dst: Path, *, type: str | None = None) -> None:  # noqa: A002
    """Write the model with its matrices in F16."""
    kinds = gguf.GGMLQuantizationType

    def encoded(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        if values.ndim == 1:
            return values, kinds.F32
        return values.astype(np.float16), kinds.F16

    rewrite(src, dst, encoded, {"general.file_type": 1})
