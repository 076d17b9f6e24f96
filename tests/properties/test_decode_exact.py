"""Every decoder against the exact value of each element, rounded once to float32 (tests/support/exact.py), bit for bit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.quant import BY_ID, TYPES
from rosetta_ref.quant.block import BlockType
from rosetta_ref.strategies.quantised import blocks
from tests.support import exact, sweeps

pytestmark = pytest.mark.usefixtures("decoded_by")

NAMES = tuple(exact.ORACLES)


def assert_decoded(kind: BlockType, data: bytes) -> None:
    __tracebackhide__ = True
    got = kind.decode(kind.blocks(data))
    sweeps.assert_same_values(kind, got, exact.values(kind.name, data), judge="the exact value")


def test_no_type_is_forgotten() -> None:
    blocks_of_ggml = {kind.name for kind in BY_ID.values() if kind.decode is not None and not kind.is_scalar} | {
        "F16",
        "BF16",
    }
    assert blocks_of_ggml == set(NAMES)
    assert len(NAMES) == 29


#: ggml judges each sweep of each type but Q8_1 in every run; here every fifth of them, and all of Q8_1, the others by night.
EACH = [
    pytest.param(name, sweep, marks=[] if name == "Q8_1" or i % 5 == 0 else pytest.mark.slow)
    for i, (name, sweep) in enumerate(product(NAMES, sweeps.SWEEPS))
]


@pytest.mark.parametrize(("name", "sweep"), EACH)
def test_sweep(name: str, sweep: str) -> None:
    data = sweeps.SWEEPS[sweep](TYPES[name])
    assert len(data) // TYPES[name].block_bytes * TYPES[name].elements >= 65536
    assert_decoded(TYPES[name], data)


@pytest.mark.parametrize("name", ["Q4_K", "Q5_K"])
def test_every_pair_of_six_bit_scale_and_minimum_at_every_place(name: str) -> None:
    assert_decoded(TYPES[name], sweeps.every_six_bit_pair(TYPES[name]))


def test_every_scale_of_iq1_m() -> None:
    assert_decoded(TYPES["IQ1_M"], sweeps.every_scale_of_iq1_m())


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_drawn_blocks(name: str, data: st.DataObject) -> None:
    assert_decoded(TYPES[name], data.draw(blocks(name)).tobytes())
