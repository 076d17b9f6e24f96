"""Every decoder against ggml itself, bit for bit, and the encoders of F16 and BF16; those of blocks are in test_encode_ggml."""

from __future__ import annotations

import numpy as np
import pytest

from rosetta_ref.patterns.blocks import PATTERNS, block_bytes
from rosetta_ref.quant import BY_ID, TYPES
from tests.support import ggml

pytestmark = pytest.mark.usefixtures("decoded_by")

DECODED = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K")
SCALED = tuple(name for name in DECODED if name not in ("F16", "BF16", "Q8_K"))
COUNT = 2000


def assert_same_floats(got: np.ndarray, expected: np.ndarray) -> None:
    """Bit for bit; of NaN only the place (C and NumPy choose other payloads)."""
    __tracebackhide__ = True
    assert expected.size > 0
    assert got.shape == expected.shape
    assert np.count_nonzero(~np.isnan(expected)) > 0, "nothing but NaN: nothing was compared"
    same = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    places = np.flatnonzero(~same)
    assert places.size == 0, (
        f"{places.size} differ, first at {places[0]}: {got[places[0]]} is not {expected[places[0]]}"
    )


def test_sizes_of_every_type() -> None:
    assert len(BY_ID) == 35
    for number, kind in BY_ID.items():
        assert ggml.sizes(number) == (ggml.sizes(number)[0], kind.elements, kind.block_bytes), kind
        assert ggml.sizes(number)[0].lower() == kind.name.lower()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", DECODED)
def test_decode(name: str, pattern: str) -> None:
    kind = TYPES[name]
    data = block_bytes(kind, COUNT, pattern, seed=len(name))
    assert_same_floats(kind.decode(kind.blocks(data)), ggml.decode(kind.id, data.tobytes(), COUNT * kind.elements))


@pytest.mark.parametrize("name", SCALED)
def test_decode_every_scale(name: str) -> None:
    """All 65,536 patterns of each f16 field, over random codes."""
    kind = TYPES[name]
    blocks = kind.blocks(block_bytes(kind, 65536, "random", seed=5)).copy()
    halves = [field for field in kind.dtype.names if kind.dtype[field] == np.dtype("<f2")]
    assert halves
    for field in halves:
        blocks[field] = np.random.default_rng(7).permutation(65536).astype("<u2").view("<f2")
    assert_same_floats(kind.decode(blocks), ggml.decode(kind.id, blocks.tobytes(), blocks.size * kind.elements))


@pytest.mark.parametrize("name", ["F16", "BF16"])
def test_decode_every_half(name: str) -> None:
    kind = TYPES[name]
    data = np.arange(65536, dtype="<u2")
    assert_same_floats(kind.decode(kind.blocks(data)), ggml.decode(kind.id, data.tobytes(), 65536))


@pytest.mark.parametrize("name", ["F16", "BF16"])
def test_encode_floats(name: str) -> None:
    kind = TYPES[name]
    bits = np.random.default_rng(1).integers(0, 2**32, (64, 4096), dtype=np.uint32)
    values = bits.view(np.float32)
    got = kind.encode(values).view("<u2").reshape(-1)
    expected = np.frombuffer(ggml.encode(kind.id, values), "<u2")
    number = ~np.isnan(values.reshape(-1))
    assert number.sum() > 200_000
    assert np.array_equal(got[number], expected[number])
    assert np.isnan(kind.decode(kind.encode(values)).reshape(-1)[~number]).all()
