"""Blocks as ggml loads them, where that is not as it declares them: what a big-endian file has swapped.

IQ2_XXS declares 16-bit words and loads, for each 32 elements, four single bytes and a word of 32 bits; IQ1_M declares bytes and
loads its scales as 16-bit words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rosetta_ref.quant.block import BlockType, layout_dtype

_LOADED = {
    "IQ2_XXS": "d:f16 | " + " | ".join(f"indices{i}:4xu8 | signs{i}:u32" for i in range(8)),
    "IQ1_M": "qs:32xu8 | qh:16xu8 | scales:4xu16",
}


def loaded_dtype(kind: BlockType) -> np.dtype[Any]:
    """The structured type of a block as ggml loads it: each field of more than one byte is one number, or some of them."""
    return layout_dtype(_LOADED[kind.name]) if kind.name in _LOADED else kind.dtype
