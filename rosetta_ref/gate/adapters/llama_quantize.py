"""llama.cpp's quantiser, as llama-quantize calls it with --pure and --allow-requantize: GGUF to GGUF, all matrices to one type."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from llama_cpp import llama_cpp as c

#: The file types of llama.h that stand for one block type.
FILE_TYPES = {
    "F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7,
    "Q2_K": 10, "Q3_K": 11, "Q4_K": 14, "Q5_K": 16, "Q6_K": 18,
}  # fmt: skip


def convert(src: str | Path, dst: str | Path, *, type: str) -> None:  # noqa: A002
    """Write the model anew. Raises ValueError where llama.cpp refuses; it says why on standard error."""
    c.llama_backend_init()
    params = c.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[type]
    params.allow_requantize = params.pure = True
    params.nthread = 1
    code = c.llama_model_quantize(os.fsencode(src), os.fsencode(dst), ctypes.byref(params))
    if code:
        raise ValueError(f"llama_model_quantize gave {code}")
