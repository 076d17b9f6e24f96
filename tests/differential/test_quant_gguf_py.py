"""Every decoder against gguf-py, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from rosetta_ref.patterns.blocks import PATTERNS, block_bytes
from rosetta_ref.quant import BY_ID, TYPES

pytestmark = pytest.mark.usefixtures("decoded_by")

#: What gguf-py decodes: all but Q8_1, Q8_K, Q1_0 and Q2_0.
SHARED = (
    *("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    *("TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
)
COUNT = 3000


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", SHARED)
def test_decode(name: str, pattern: str) -> None:
    kind = TYPES[name]
    data = block_bytes(kind, COUNT, pattern, seed=11)
    got = kind.decode(kind.blocks(data))
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(data.reshape(-1, kind.block_bytes), gguf.GGMLQuantizationType[name]).reshape(-1)
    assert got.size == expected.size == COUNT * kind.elements
    numbers = ~np.isnan(expected)
    assert numbers.any()
    assert np.array_equal(np.isnan(got), ~numbers)
    assert np.array_equal(got[numbers].view(np.uint32), expected[numbers].view(np.uint32))


def test_names_and_sizes() -> None:
    known = {kind.value: kind for kind in gguf.GGMLQuantizationType}
    shared = BY_ID.keys() & known.keys()
    assert len(shared) >= 33
    for number in shared:
        kind = BY_ID[number]
        assert kind.name == known[number].name
        if kind.name != "Q8_1":  # gguf's table says 40 bytes: two float32 where ggml has two float16
            assert (kind.elements, kind.block_bytes) == gguf.GGML_QUANT_SIZES[known[number]]
