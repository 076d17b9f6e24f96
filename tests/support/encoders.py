"""An encoder beside ggml's, byte for byte.

Where the C library may fuse a multiplication and an addition into one rounding (other than x86-64) bytes differ in some blocks, by
no one's mistake: there the errors are compared instead, and a warning says so.
"""

from __future__ import annotations

import platform
import warnings

import numpy as np
import pytest

from rosetta_ref.quant import BlockType
from tests.support import ggml

FUSED = platform.machine() not in ("x86_64", "AMD64")


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
    """Encode rows and compare with what ggml makes of them; the number of values compared."""
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
