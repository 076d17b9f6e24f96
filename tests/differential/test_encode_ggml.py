"""Every encoder of block types against ggml's own, byte for byte: 18 kinds of data x 3 seeds x 64K values a type and kind.

With an importance matrix the three seeds go with three kinds of matrices. By night 256K values, `HYPOTHESIS_PROFILE=nightly` makes
it 1M.
On machines other than x86-64 errors are compared, not bytes: see `tests.support.encoders`.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from rosetta_ref.quant import TYPES
from tests.support import ggml
from tests.support.encoders import assert_as_good, assert_same_blocks, compare
from tests.support.nightly import chessboard
from tests.support.weights import IMPORTANCE, KINDS, importance, weights

pytestmark = pytest.mark.usefixtures("encoded_by")

PLAIN = (
    *("F16", "BF16"),
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q8_1",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "Q8_K",
)
WEIGHTED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")

SEEDS = (1, 2, 3)
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
FEW, MANY = 1 << 16, 1 << 20 if NIGHTLY else 1 << 18
VALUES = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


COLUMNS = (512, 4096, 2816)


def _rows(count: int, columns: int) -> int:
    return -(-count // columns)


def test_no_kind_of_data_is_forgotten() -> None:
    assert len(KINDS) >= 17
    assert len(SEEDS) == 3
    assert (1 << 20 if NIGHTLY else 1 << 18) <= MANY


@pytest.mark.parametrize(("name", "data"), chessboard(PLAIN, tuple(KINDS)))
@VALUES
def test_encode(name: str, data: str, count: int) -> None:
    compared = 0
    for seed, columns in zip(SEEDS, COLUMNS, strict=True):
        values = weights(data, _rows(count, columns), columns, seed)
        compared += compare(TYPES[name], values, None, f"{data}, seed {seed}")
    print(f"{name}, {data}: {compared} values, {len(SEEDS)} seeds, equal to ggml's")
    assert compared >= len(SEEDS) * count


@pytest.mark.parametrize(("name", "data"), chessboard(WEIGHTED, tuple(KINDS)))
@VALUES
def test_encode_with_importance(name: str, data: str, count: int) -> None:
    compared = 0
    for seed, columns, matrix in zip(SEEDS, COLUMNS, IMPORTANCE, strict=True):
        values = weights(data, _rows(count, columns), columns, seed)
        compared += compare(TYPES[name], values, importance(matrix, columns, seed), f"{data}, seed {seed}, {matrix}")
    print(f"{name}, {data}, with a matrix: {compared} values, {len(SEEDS)} seeds, equal to ggml's")
    assert compared >= len(SEEDS) * count


@pytest.mark.parametrize("data", ["gaussian", "zeros", "infinities"])
@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("matrix", ["all zero", "one weight", "negative", "infinite"])
def test_encode_with_odd_importance(name: str, data: str, matrix: str) -> None:
    """Matrices that no run of llama-imatrix should give, and ggml takes."""
    columns = 1024
    of = np.random.default_rng(5).standard_normal(columns).astype(np.float32)
    match matrix:
        case "all zero":
            of[:] = 0
        case "one weight":
            of[1:] = 0
        case "infinite":
            of = np.where(np.arange(columns) % 50 == 7, np.float32(np.inf), np.abs(of))
    compare(TYPES[name], weights(data, 16, columns, seed=4), of, f"{data}, {matrix}")


@pytest.mark.parametrize("name", PLAIN)
def test_encode_one_block(name: str) -> None:
    """One group in a piece: NumPy sums one column in another order, unless it is kept from it."""
    kind = TYPES[name]
    for seed in range(50):
        values = weights("heavy tails", 1, kind.elements, seed)
        compare(kind, values, None, f"seed {seed}")
        if name in WEIGHTED:
            compare(kind, values, importance("activations", kind.elements, seed), f"seed {seed}, weighted")


@pytest.mark.filterwarnings("ignore:the C library may fuse")
@pytest.mark.parametrize("name", PLAIN)
def test_the_error_bound_tells_a_worse_encoder(name: str) -> None:
    """What stands in for bytes on other machines: it takes these encoders, and refuses codes that are off by a fiftieth."""
    kind = TYPES[name]
    values = weights("gaussian", 16, 1024, seed=7)
    expected = kind.blocks(ggml.encode(kind.id, values))
    made, worse = (kind.encode(x).reshape(-1) for x in (values, values * np.float32(1.02)))
    with pytest.warns(UserWarning, match="errors are compared"):
        assert_as_good(kind, values, made, expected, "as it is")
    with pytest.raises(AssertionError, match="ggml's"):
        assert_as_good(kind, values, worse, expected, "worse")
    with pytest.raises(pytest.fail.Exception):
        assert_same_blocks(kind, worse, expected, "worse")
