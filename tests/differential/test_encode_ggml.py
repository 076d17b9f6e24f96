"""Every encoder of block types against ggml's own, byte for byte: 18 kinds of data x 3 seeds x 256K values a type and kind.

With an importance matrix the three seeds go with three kinds of matrices. `HYPOTHESIS_PROFILE=nightly` makes it 1M values.
Where the C library may fuse a multiplication and an addition into one rounding (other than x86-64) bytes differ in some
blocks, by no one's mistake: there the errors are compared instead, and a warning says so.
"""

from __future__ import annotations

import os
import platform
import warnings

import numpy as np
import pytest

from rosetta_ref.quant import TYPES, BlockType
from tests.support import ggml
from tests.support.weights import IMPORTANCE, KINDS, importance, weights

pytestmark = pytest.mark.usefixtures("encoded_by")

PLAIN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K")
WEIGHTED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
FUSED = platform.machine() not in ("x86_64", "AMD64")

SEEDS = (1, 2, 3)
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
VALUES = 1 << 20 if NIGHTLY else 1 << 18


COLUMNS = (512, 4096, 2816)


def _without_nan(blocks: np.ndarray) -> np.ndarray:
    """Scales that are NaN as 0 with a mark: only their signs differ (C's and NumPy's choice)."""
    made = blocks.copy()
    for field in made.dtype.names or ():
        if made.dtype[field].kind == "f":
            values = made[field]
            values.view(f"u{values.itemsize}")[np.isnan(values)] = 0x7FFF
    return made


def assert_same_blocks(kind: BlockType, got: np.ndarray, expected: np.ndarray, what: str) -> None:
    __tracebackhide__ = True
    assert got.dtype == expected.dtype
    assert got.size == expected.size > 0
    raw = [_without_nan(blocks).view(np.uint8).reshape(-1, kind.block_bytes) for blocks in (got, expected)]
    wrong = np.flatnonzero((raw[0] != raw[1]).any(axis=1))
    if not wrong.size:
        return
    first = wrong[0]
    fields = [f for f in kind.dtype.names if got[first][f].tobytes() != expected[first][f].tobytes()]
    pytest.fail(
        f"{kind.name}, {what}: {wrong.size} of {got.size} blocks differ, the first is {first}, in {', '.join(fields)}: "
        + "; ".join(f"{f} = {got[first][f]}, expected {expected[first][f]}" for f in fields)
    )


def assert_as_good(kind: BlockType, values: np.ndarray, got: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Within a percent of ggml's error, over all blocks whose values decode to finite numbers in both."""
    __tracebackhide__ = True
    warnings.warn("the C library may fuse multiply-adds here: errors are compared, not bytes", stacklevel=2)
    decode = kind.decode
    assert decode is not None
    with np.errstate(all="ignore"):
        errors = np.array(
            [np.abs(decode(blocks).astype(np.float64) - values.reshape(-1)) for blocks in (got, expected)]
        )
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    mine, theirs = np.sqrt((errors**2).mean(axis=1)) if errors.size else (0.0, 0.0)
    assert mine <= theirs * 1.01, f"{kind.name}, {what}: error {mine}, ggml's {theirs}"


def compare(kind: BlockType, values: np.ndarray, matrix: np.ndarray | None, what: str) -> int:
    __tracebackhide__ = True
    assert kind.encode is not None
    got = kind.encode(values, matrix)
    assert got.shape == (values.shape[0], values.shape[1] // kind.elements)
    expected = np.frombuffer(ggml.encode(kind.id, values, matrix), kind.dtype)
    if FUSED:
        assert_as_good(kind, values, got.reshape(-1), expected, what)
    else:
        assert_same_blocks(kind, got.reshape(-1), expected, what)
    return expected.size * kind.elements


def _rows(count: int, columns: int) -> int:
    return -(-count // columns)


@pytest.mark.parametrize("data", KINDS)
@pytest.mark.parametrize("name", PLAIN)
def test_encode(name: str, data: str) -> None:
    compared = 0
    for seed, columns in zip(SEEDS, COLUMNS, strict=True):
        values = weights(data, _rows(VALUES, columns), columns, seed)
        compared += compare(TYPES[name], values, None, f"{data}, seed {seed}")
    assert compared >= 3 * VALUES


@pytest.mark.parametrize("data", KINDS)
@pytest.mark.parametrize("name", WEIGHTED)
def test_encode_with_importance(name: str, data: str) -> None:
    compared = 0
    for seed, columns, matrix in zip(SEEDS, COLUMNS, IMPORTANCE, strict=True):
        values = weights(data, _rows(VALUES, columns), columns, seed)
        compared += compare(TYPES[name], values, importance(matrix, columns, seed), f"{data}, seed {seed}, {matrix}")
    assert compared >= 3 * VALUES


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
