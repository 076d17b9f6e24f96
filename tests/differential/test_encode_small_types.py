"""The encoders of IQ4, FP4, TQ and the one- and two-bit types against `ggml_quantize_chunk`, byte for byte."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rosetta_ref.quant import TYPES
from tests.support.encoders import compare
from tests.support.nightly import chessboard
from tests.support.weights import IMPORTANCE, KINDS, importance, weights

NAMES = ("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0")
SEEDS = (1, 2, 3)
COLUMNS = 1024
FEW, MANY = 64, 1024 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 256
pytestmark = pytest.mark.usefixtures("encoded_by")


@pytest.mark.parametrize("rows", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "what"), chessboard(NAMES, tuple(KINDS)))
def test_encode(name: str, what: str, rows: int) -> None:
    """With an importance matrix too: the types that take none must not change with it."""
    assert len(KINDS) >= 17
    compared = 0
    for seed, matrix in zip(SEEDS, IMPORTANCE, strict=True):
        values = weights(what, rows, COLUMNS, seed)
        for of in (None, importance(matrix, COLUMNS, seed)):
            compared += compare(TYPES[name], values, of, f"{what}, seed {seed}")
    print(f"{name}, {what}: {compared} values, {len(SEEDS)} seeds, without and with a matrix, equal to ggml's")
    assert compared == 2 * len(SEEDS) * rows * COLUMNS


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=True)


@pytest.mark.parametrize("name", NAMES)
@given(
    values=arrays.arrays(np.float32, (2, 256), elements=FLOATS),
    matrix=st.none() | arrays.arrays(np.float32, 256, elements=st.floats(0, 2.0**60, width=32)),
)
def test_encode_drawn(name: str, values: np.ndarray, matrix: np.ndarray | None) -> None:
    """Anything but NaN: all-equal rows with a few numbers of any size among them, as Hypothesis draws arrays."""
    compare(TYPES[name], values, matrix, "drawn")


@pytest.mark.parametrize("name", ["MXFP4", "NVFP4"])
def test_every_exponent_and_the_edges_of_every_scale(name: str) -> None:
    """Powers of two, their neighbours, and numbers around each UE4M3 and the middles between them, as the largest of a block."""
    exponents = np.exp2(np.arange(-149, 128, dtype=np.float64)).astype(np.float32)
    small = np.arange(1, 4096, dtype=np.float32) / np.float32(512)
    steps = np.concatenate([exponents, np.float32(6) * small, np.float32(6) * np.exp2(np.float32(-9)) * small])
    around = [np.nextafter(steps, np.float32(side) * np.float32(np.inf)) for side in (-1, 1)]
    largest = np.concatenate([steps, *around, np.float32([0, -0.0, 448 * 6, 256 * 6, 255.9 * 6, np.inf])])
    fractions = np.linspace(-1, 1, 64, dtype=np.float32)
    fractions[0::16] = 1
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(largest[:, None] * fractions[None], posinf=np.inf, neginf=-np.inf)
    assert compare(TYPES[name], values.astype(np.float32), None, "edges") >= 25_000 * 64
