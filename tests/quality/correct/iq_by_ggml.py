"""Types that nothing of the reference encodes, by ggml's own quantiser: judged by what the blocks decode to."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.quality.correct._gguf import rewrite
from tests.support import ggml

NEEDS = ("gguf", "llama_cpp")
#: Types, and the file types of llama.h that stand for them.
FILE_TYPES = {"IQ3_S": 26, "IQ3_XXS": 23, "IQ2_S": 28}
ENTRY = {
    "pairs": ("G-G",), "quantises": tuple(FILE_TYPES), "architectures": ("llama",), "types": ("F32",), "whole_models": True,
}  # fmt: skip
CASES = ("F-CONV-QUANT-001/iq3_s/llama-rough",)


def convert(src: Path, dst: Path, *, type: str | None = None) -> None:  # noqa: A002
    """Write the model with its matrices in that type, as far as their rows are whole blocks of 256."""
    kinds = gguf.GGMLQuantizationType
    kind = kinds[type or "IQ3_S"]

    def encoded(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        if values.ndim == 1 or values.shape[-1] % 256:
            return values, kinds.F32
        blocks = np.frombuffer(ggml.encode(kind.value, values), np.uint8)
        return blocks.reshape(values.shape[0], -1), kind

    rewrite(src, dst, encoded, {"general.file_type": FILE_TYPES[kind.name]})
