"""Every decoder against ggml, bit for bit; but Q8_1, whose decoder ggml does not export."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import make_grids
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import BlockType
from rosetta_ref.quant.grid import grid
from rosetta_ref.strategies.quantised import blocks
from tests.support import exact, ggml, sweeps

pytestmark = pytest.mark.usefixtures("decoded_by")

NAMES = tuple(name for name in exact.ORACLES if name != "Q8_1")


def assert_decoded(kind: BlockType, data: bytes) -> None:
    __tracebackhide__ = True
    got = kind.decode(kind.blocks(data))
    sweeps.assert_same_values(kind, got, ggml.decode(kind.id, data, got.size), judge="ggml")


@pytest.mark.parametrize("sweep", list(sweeps.SWEEPS))
@pytest.mark.parametrize("name", NAMES)
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


#: The grid and how a block shows its entries: the first run of elements of blocks whose index is counted up.
GRID_SIZES = {"IQ2_XXS": 256, "IQ2_XS": 512, "IQ2_S": 1024, "IQ3_XXS": 256, "IQ3_S": 512, "IQ1_S": 2048}


@pytest.mark.parametrize("name", list(GRID_SIZES))
def test_grids_are_ggmls(name: str) -> None:
    """Each entry of `grids.txt` is what ggml decodes for its index, and what gguf-py's table says."""
    kind, count = TYPES[name], GRID_SIZES[name]
    index, packed = np.arange(count), np.zeros(count, kind.dtype)
    packed["d"] = 8
    match name:
        case "IQ2_XXS" | "IQ2_XS":
            packed["qs"][:, 0] = index
        case "IQ2_S" | "IQ3_S":
            packed["qs"][:, 0], packed["qh"][:, 0] = index & 255, index >> 8
        case "IQ3_XXS":
            packed["qs"][:, 0] = index
        case "IQ1_S":
            packed["qs"][:, 0], packed["qh"][:, 0] = index & 255, index >> 8
    shown = ggml.decode(kind.id, packed.tobytes(), count * 256).reshape(count, 256)
    entries = grid(name)
    # d = 8 and the smallest scale: 8 x 1/2 x 1/4, 8 x 1/2 x 1/2 or 8 x 1; and IQ1 adds 1/8
    unit, delta = {"IQ3_XXS": (2, 0), "IQ3_S": (8, 0), "IQ1_S": (8, 0.125)}.get(name, (1, 0))
    expected = shown[:, : entries.shape[1]] / unit - delta
    assert entries.shape == (count, 4 if name.startswith("IQ3") else 8)
    np.testing.assert_array_equal(entries, expected)
    np.testing.assert_array_equal(entries, exact.grid(name))


def test_the_grid_file_is_what_its_script_writes() -> None:
    """But for the line that says which gguf it came from."""
    got, made = make_grids.TARGET.read_text("utf-8").splitlines(), make_grids.text().splitlines()
    assert got[0].partition(" of gguf ")[0] == made[0].partition(" of gguf ")[0]
    assert got[1:] == made[1:]
