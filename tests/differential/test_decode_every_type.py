"""Every decoder against two judges, bit for bit: ggml, and the exact value rounded once (tests/support/exact.py).

Q8_1 has only the second: ggml exports no decoder for it.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import make_grids
from rosetta_ref.quant import BY_ID, TYPES
from rosetta_ref.quant.block import BlockType
from rosetta_ref.quant.grid import grid
from rosetta_ref.strategies.blocks import block_bytes, blocks
from tests.support import exact, ggml

NAMES = tuple(exact.ORACLES)
#: Elements of the random test.
ELEMENTS = 1 << 22


def differing(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Where two arrays differ in bits; of NaN only the place counts (C and NumPy choose other payloads)."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == np.float32
    same = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    return np.flatnonzero(~same)


def assert_decoded(kind: BlockType, data: bytes, *, least: int) -> None:
    """Both judges agree with the decoder on at least `least` numbers that are no NaN."""
    __tracebackhide__ = True
    got = kind.decode(kind.blocks(data))
    judges = {"exact": exact.values(kind.name, data)}
    if kind.name != "Q8_1":
        judges["ggml"] = ggml.decode(kind.id, data, got.size)
    for judge, expected in judges.items():
        assert np.count_nonzero(~np.isnan(expected)) >= least, "too few numbers compared"
        places = differing(got, expected)
        assert places.size == 0, (
            f"{kind.name}: {places.size} of {got.size} are not {judge}'s, first element {places[0] % kind.elements} of "
            f"block {places[0] // kind.elements}: {got[places[0]]} is not {expected[places[0]]}"
        )
    print(f"{kind.name}: {got.size} values equal to {' and '.join(judges)}")


def test_no_type_is_forgotten() -> None:
    blocks_of_ggml = {kind.name for kind in BY_ID.values() if not kind.is_scalar} | {"F16", "BF16"}
    assert blocks_of_ggml == set(NAMES)
    assert len(NAMES) == 29


@pytest.mark.parametrize("name", NAMES)
def test_random_bytes(name: str) -> None:
    kind = TYPES[name]
    data = block_bytes(kind, ELEMENTS // kind.elements, "random", seed=21).tobytes()
    assert_decoded(kind, data, least=ELEMENTS * 9 // 10)


def every_word(size: int) -> np.ndarray:
    """65,536 blocks in which each 16-bit place holds each pattern exactly once, in an order of its own."""
    rng = np.random.default_rng(size)
    raw = np.empty((65536, size), np.uint8)
    for place in range(0, size - 1, 2):
        raw[:, place : place + 2] = rng.permutation(65536).astype("<u2")[:, None].view(np.uint8)
    if size % 2:
        raw[:, -1] = rng.permutation(65536) % 256
    return raw


@pytest.mark.parametrize("name", NAMES)
def test_every_pattern_of_16_bits_at_every_place(name: str) -> None:
    """So: every f16 scale, every scale byte and exponent, every grid index with every sign, every code at every element."""
    kind = TYPES[name]
    raw = every_word(kind.block_bytes)
    words = raw[:, : kind.block_bytes // 2 * 2].copy().view("<u2")
    assert all(np.unique(words[:, place]).size == 65536 for place in range(words.shape[1]))
    assert_decoded(kind, raw.tobytes(), least=65536 * kind.elements * 9 // 10)


@pytest.mark.parametrize("name", ["Q4_K", "Q5_K"])
def test_every_pair_of_six_bit_scale_and_minimum_at_every_place(name: str) -> None:
    kind = TYPES[name]
    scales, minima = (x.reshape(-1).astype(np.uint8) for x in np.meshgrid(np.arange(64), np.arange(64)))
    packed = kind.blocks(block_bytes(kind, 8 * 4096, "random", seed=1)).copy()
    packed["d"], packed["dmin"] = 0.37, -0.11
    for place in range(8):
        field = packed["scales"][place * 4096 : (place + 1) * 4096]
        if place < 4:
            field[:, place] = field[:, place] & 0xC0 | scales
            field[:, place + 4] = field[:, place + 4] & 0xC0 | minima
        else:
            field[:, place + 4] = scales & 15 | (minima & 15) << 4
            field[:, place - 4] = field[:, place - 4] & 0x3F | scales >> 4 << 6
            field[:, place] = field[:, place] & 0x3F | minima >> 4 << 6
    assert_decoded(kind, packed.tobytes(), least=packed.size * 256)


def test_every_f16_scale_of_iq1_m() -> None:
    """Its scale lies in four pieces, so no sweep over whole words meets them all."""
    kind = TYPES["IQ1_M"]
    packed = kind.blocks(block_bytes(kind, 65536, "random", seed=3)).copy()
    words = packed["scales"].copy().view("<u2")
    for i in range(4):
        words[:, i] = words[:, i] & 0x0FFF | (np.arange(65536) >> (4 * i) & 15) << 12
    packed["scales"] = words.view(np.uint8)
    assert_decoded(kind, packed.tobytes(), least=65536 * 256 * 9 // 10)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_drawn_blocks(name: str, data: st.DataObject) -> None:
    assert_decoded(TYPES[name], data.draw(blocks(name)).tobytes(), least=0)


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
