"""Importance by column and by expert: whatever span of a weighted tensor is asked for, it is that of the whole.

The encoder here is a stand-in that puts into a block what a real one looks at: the whole row, and each column with its weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref import recode
from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.recode import ImportanceShapeError, encoded


def row_and_columns(values: Any, importance: Any = None) -> Any:
    """Q8_0 blocks: `d` is the largest weighted magnitude of the row, `qs` says which value met which weight."""
    assert values.ndim == 2
    assert importance.shape == values.shape[1:]
    blocks = np.zeros((values.shape[0], values.shape[1] // 32), TYPES["Q8_0"].dtype)
    blocks["d"] = np.abs(values * importance).max(axis=1)[:, None]
    blocks["qs"] = ((3 * values + 7 * importance) % 251 - 125).astype(np.int8).reshape(*blocks.shape, 32)
    return blocks


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 9), st.integers(1, 4)),
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
    ),
    source=st.sampled_from(["F32", "F16", "BF16"]),
    data=st.data(),
)
def test_any_span_of_a_weighted_tensor_is_that_of_the_whole(
    shape: tuple[int, ...], source: str, data: st.DataObject
) -> None:
    shape = (*shape[:-1], shape[-1] * 32)
    experts = shape[0] if len(shape) == 3 else 1
    random = np.random.default_rng(shape[-1])
    values = random.integers(-100, 100, shape).astype(np.float32)
    weights = random.integers(1, 30, (experts, shape[-1])).astype(np.float32)
    encode = TYPES[source].encode
    assert encode is not None
    stored = Tensor.of("t", TYPES[source], shape, np.ascontiguousarray(encode(values)).view(np.uint8))
    by_expert = values.reshape(experts, -1, shape[-1])
    expected = b"".join(row_and_columns(rows, weights[i]).tobytes() for i, rows in enumerate(by_expert))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recode.TYPES, "Q8_0", replace(TYPES["Q8_0"], encode=row_and_columns))
        made = encoded(stored, "Q8_0", weights)
    assert made.nbytes == len(expected)
    assert made.data.tobytes() == expected
    start = data.draw(st.integers(0, made.nbytes))
    stop = data.draw(st.integers(start, made.nbytes + 5))
    assert made.source.read(start, stop).tobytes() == expected[start:stop]
    made.source.release(start, min(stop, made.nbytes))


@pytest.mark.parametrize("shape", [(64,), (1, 32), (2, 64), (64, 1)])
def test_weights_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    tensor = Tensor.of("t", TYPES["F32"], (4, 64), np.ones((4, 64), np.float32))
    with pytest.raises(ImportanceShapeError, match="expected"):
        encoded(tensor, "Q8_0", np.ones(shape, np.float32))


@pytest.mark.parametrize("kind", ["F16", "BF16", "AprQ8"])
def test_weights_say_nothing_to_types_without_blocks(kind: str) -> None:
    tensor = Tensor.of("t", TYPES["F32"], (4, 64), np.linspace(-3, 3, 256, dtype=np.float32))
    weighted, plain = encoded(tensor, kind, np.arange(64, dtype=np.float32).reshape(1, 64)), encoded(tensor, kind)
    assert weighted.data.tobytes() == plain.data.tobytes()
    assert weighted.source.read(70, 200).tobytes() == plain.source.read(70, 200).tobytes()
