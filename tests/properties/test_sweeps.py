"""The sweeps of tests/support/sweeps.py hold what they say, as the exact oracle reads them: nothing that a test skips in silence.

A scale or code whose bits lie in one 16-bit word is in the sweep over words by its making. These tests count those whose bits
are spread over several.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rosetta_ref.quant import TYPES
from tests.support import exact, sweeps
from tests.support.nightly import part

#: The six-bit scales and minima that make every scale 1 and every minimum 0.
ONES = [1] * 4 + [0] * 4 + [1] * 4

#: name: how many values an element can have, and the fields that make the scale 1 everywhere.
CODES: dict[str, tuple[int, dict[str, Any]]] = {
    "Q4_0": (16, {"d": 1}),
    "Q4_1": (16, {"d": 1, "m": 0}),
    "Q5_0": (32, {"d": 1}),
    "Q5_1": (32, {"d": 1, "m": 0}),
    "Q8_0": (256, {"d": 1}),
    "Q8_1": (256, {"d": 1}),
    "Q8_K": (256, {"d": 1}),
    "Q2_K": (4, {"d": 1, "dmin": 0, "scales": 1}),
    "Q3_K": (8, {"d": 1, "scales": [0x11] * 8 + [0xAA] * 4}),
    "Q4_K": (16, {"d": 1, "dmin": 0, "scales": ONES}),
    "Q5_K": (32, {"d": 1, "dmin": 0, "scales": ONES}),
    "Q6_K": (64, {"d": 1, "scales": 1}),
    "IQ4_NL": (16, {"d": 1}),
    "IQ4_XS": (16, {"d": 1, "scales_h": 0xAAAA, "scales_l": 0x11}),
    "TQ1_0": (3, {"d": 1}),
    "TQ2_0": (4, {"d": 1}),
    "MXFP4": (15, {"e": 127}),  # sixteen codes, two of them zero
    "NVFP4": (15, {"d": 0x38}),
    "Q1_0": (2, {"d": 1}),
    "Q2_0": (4, {"d": 1}),
}

#: name: how many scales a group can have, and the fields that make an element show it.
SCALES: dict[str, tuple[int, dict[str, Any]]] = {
    "Q2_K": (256, {"d": 16, "dmin": 1, "qs": 0b01010101}),  # 16 scale - minimum
    "Q3_K": (64, {"d": 1, "qs": 0xFF, "hmask": 0xFF}),
    "Q6_K": (256, {"d": 1, "ql": 0x11, "qh": 0}),
    "IQ4_XS": (64, {"d": 1, "qs": 0x99}),
    "MXFP4": (256, {"qs": 0x22}),
    "NVFP4": (128, {"qs": 0x22}),  # bit 7 is not looked at, but that 0x7F is 0 as 0 is, and 0xFF is not
}

#: 64 scale - minimum
PAIRS: dict[str, dict[str, Any]] = {
    "Q4_K": {"d": 64, "dmin": 1, "qs": 0x11},
    "Q5_K": {"d": 64, "dmin": 1, "qs": 0x11, "qh": 0},
}

#: name: index of a run of elements, and how many entries the grid has, where the index is spread over two fields.
INDICES = {"IQ2_S": 1024, "IQ3_S": 512, "IQ1_S": 2048, "IQ1_M": 2048}


def numbers_of_values(name: str, data: bytes, fields: dict[str, Any]) -> set[int]:
    """How many different values each element takes when those fields are pinned."""
    blocks = TYPES[name].blocks(data).copy()
    for field, value in fields.items():
        blocks[field] = value
    values = exact.values(name, blocks.tobytes()).reshape(blocks.size, -1)
    return {np.unique(column).size for column in np.ascontiguousarray(values.T)}


@pytest.mark.parametrize("name", list(exact.ORACLES))
def test_each_word_at_each_place(name: str) -> None:
    size = TYPES[name].block_bytes
    words = np.frombuffer(sweeps.every_word(TYPES[name]), np.uint8).reshape(65536, size)[:, : size // 2 * 2]
    columns = np.ascontiguousarray(words.copy().view("<u2").T)
    assert len(columns) == size // 2
    assert all((np.bincount(column, minlength=65536) == 1).all() for column in columns)


# One function makes the sweeps of all types: by night each type, here some.
@pytest.mark.parametrize("name", part(CODES, 4))
def test_each_code_at_each_element(name: str) -> None:
    count, fields = CODES[name]
    assert numbers_of_values(name, sweeps.every_word(TYPES[name]), fields) == {count}


@pytest.mark.parametrize("name", part(SCALES, 3))
def test_each_scale_at_each_group(name: str) -> None:
    count, fields = SCALES[name]
    assert numbers_of_values(name, sweeps.every_word(TYPES[name]), fields) == {count}


@pytest.mark.parametrize("name", list(PAIRS))
def test_each_pair_of_six_bit_scale_and_minimum_at_each_group(name: str) -> None:
    assert numbers_of_values(name, sweeps.every_six_bit_pair(TYPES[name]), PAIRS[name]) == {4096}


def test_no_type_is_forgotten() -> None:
    assert {*CODES, *exact.ORACLES} - {*CODES} == {
        *("F16", "BF16"),  # all in one word
        *("IQ2_XXS", "IQ2_XS", "IQ3_XXS"),  # an index in one word; the signs are below
        *INDICES,
    }


@pytest.mark.parametrize("name", list(INDICES))
def test_each_index_at_each_run(name: str) -> None:
    blocks = TYPES[name].blocks(sweeps.every_word(TYPES[name]))
    low, high = blocks["qs"].astype(np.int64), blocks["qh"].astype(np.int64)
    match name:
        case "IQ2_S":
            index = [low[:, i] | (high[:, i // 4] >> i % 4 * 2 & 3) << 8 for i in range(32)]
        case "IQ3_S":
            index = [low[:, i] | (high[:, i // 8] >> i % 8 & 1) << 8 for i in range(64)]
        case "IQ1_S":
            index = [low[:, i] | (high[:, i // 4] >> i % 4 * 3 & 7) << 8 for i in range(32)]
        case "IQ1_M":
            index = [low[:, i] | (high[:, i // 2] >> i % 2 * 4 & 7) << 8 for i in range(32)]
    assert {np.unique(run).size for run in index} == {INDICES[name]}


@pytest.mark.parametrize("name", ["IQ2_XXS", "IQ3_XXS"])
def test_each_seven_signs_at_each_run(name: str) -> None:
    blocks = TYPES[name].blocks(sweeps.every_word(TYPES[name]))
    words = blocks["signs"] if name == "IQ3_XXS" else np.ascontiguousarray(blocks["qs"]).view("<u4")[:, 1::2]
    assert words.shape == (65536, 8)
    assert {np.unique(word >> 7 * run & 127).size for word in words.T for run in range(4)} == {128}
