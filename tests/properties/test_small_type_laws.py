"""Laws of the encoders of IQ4, FP4, TQ and the one- and two-bit types, each by a formula that is written out here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import RaggedRowError
from rosetta_ref.quant.encoding import ImportanceError

pytestmark = pytest.mark.usefixtures("encoded_by")

NAMES = ("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0")
FINITE = st.floats(-1000, 1000, width=32)
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float64)
E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, -1, -2, -3, -4, -6, -8, -12], np.float64) / 2


def both_ways(name: str, x: np.ndarray) -> np.ndarray:
    return TYPES[name].decode(TYPES[name].encode(x)).astype(np.float64)


def scales_of(name: str, x: np.ndarray) -> np.ndarray:
    """The scale of each element as its block stores it, worked out number by number."""
    scales = []
    for block in TYPES[name].encode(x).reshape(-1):
        match name:
            case "IQ4_XS":
                high = int(block["scales_h"])
                low = [int(block["scales_l"][i // 2]) >> 4 * (i % 2) & 15 for i in range(8)]
                six = [low[i] | (high >> 2 * i & 3) << 4 for i in range(8)]
                scales += [float(block["d"]) * (scale - 32) for scale in six for _ in range(32)]
            case "MXFP4":
                scales += [2.0 ** (int(block["e"]) - 127)] * 32
            case "NVFP4":
                for byte in map(int, block["d"]):
                    normal = (8 + byte % 8) * 2.0 ** (byte // 8 - 10)
                    scales += [normal if byte >= 8 else byte * 2.0**-9] * 16
            case _:
                scales += [float(block["d"])] * TYPES[name].elements
    return np.array(scales)


@pytest.mark.parametrize(("name", "levels", "slack"), [
    ("IQ4_NL", IQ4, 127 * 2.0**-10), ("IQ4_XS", IQ4, 127 * 2.0**-10), ("MXFP4", E2M1, 0.0), ("NVFP4", E2M1, 0.0)])  # fmt: skip
@given(data=st.data())
def test_each_element_gets_the_nearest_level_of_its_scale(
    name: str, levels: np.ndarray, slack: float, data: st.DataObject
) -> None:
    """No level of the table, times the scale that the block stores, is nearer than the one that is written.

    IQ4 chooses before its scale is rounded to f16, which moves the largest level by 127 x 2^-11 of the scale, or by 2^-25 x 127
    where that is a subnormal; twice that is the slack.
    """
    x = data.draw(arrays.arrays(np.float32, 256, elements=FINITE))
    scale = scales_of(name, x)
    nearest = np.abs(levels[None, :] * scale[:, None] - x[:, None]).min(axis=1)
    error = np.abs(both_ways(name, x) - x)
    subnormal = 127 * 32 * 2.0**-24 if name.startswith("IQ4") else 0.0
    assert (error <= nearest * (1 + 1e-6) + slack * np.abs(scale) + subnormal).all()


@given(
    x=arrays.arrays(
        np.float32, 32, elements=st.floats(-1000, 1000, width=32).map(lambda v: v if abs(v) > 0.01 else 0.0)
    )
)
def test_the_search_is_no_worse_than_the_scale_of_the_largest_element(x: np.ndarray) -> None:
    """In squares weighted with squares: than -127 for the largest element and the nearest levels; f16 costs 2^-11 of each."""
    wide = x.astype(np.float64)
    scale = wide[np.abs(wide).argmax()] / -127
    plain = IQ4[np.abs(IQ4 * scale - wide[:, None]).argmin(axis=1)] * scale
    found, at_most = ((wide**2 * (values - wide) ** 2).sum() for values in (both_ways("IQ4_NL", x), plain))
    assert np.sqrt(found) <= np.sqrt(at_most) * (1 + 1e-6) + np.sqrt((wide**4).sum()) * 2.0**-10


@pytest.mark.parametrize("name", ["TQ1_0", "TQ2_0", "Q2_0"])
@given(data=st.data())
def test_error_is_at_most_half_the_largest_magnitude(name: str, data: st.DataObject) -> None:
    """Codes are -1, 0, 1 times d, and d is the largest magnitude as f16 has it (half an ulp: d / 2048, or 2^-25).

    Below 2^-128 its inverse is not a number, and d is 0 long before.
    """
    kind = TYPES[name]
    x = data.draw(arrays.arrays(np.float32, kind.elements, elements=FINITE))
    largest = float(np.abs(x).max())
    error = np.abs(both_ways(name, x) - x)
    assert error.max() <= largest / 2 * (1 + 1e-6) + largest / 2048 + 2.0**-25


@given(x=arrays.arrays(np.float32, 128, elements=FINITE))
def test_q1_0_keeps_signs_and_the_mean(x: np.ndarray) -> None:
    got = both_ways("Q1_0", x)
    mean = np.abs(x.astype(np.float64)).mean()
    assert np.abs(np.abs(got) - mean).max() <= mean / 1024 + 2.0**-24
    assert (np.signbit(got) == (x < 0)).all()


#: The UE4M3 numbers below 256, and the middles between them; the codes are their places.
UE4M3 = np.array([i * 2.0**-9 for i in range(8)] + [(8 + i % 8) * 2.0 ** (i // 8 - 10) for i in range(8, 120)])


@given(largest=st.floats(0, 4000, width=32) | st.sampled_from([float(6 * x) for x in (UE4M3[1:] + UE4M3[:-1]) / 2]))
def test_nvfp4_takes_the_nearest_scale_for_a_sixth_of_the_largest_magnitude(largest: float) -> None:
    """Halves go up. Two exceptions: below 2^-6 it is one of the first eight, and what gets to 256 becomes 448 (0x7E)."""
    x = np.float32([0, -largest, largest / 2, *[0] * 13] * 4)
    wanted = float(np.float32(largest) / np.float32(6))
    code = int((wanted >= (UE4M3[1:] + UE4M3[:-1]) / 2).sum())
    if wanted < 2.0**-6:
        code = min(code, 7)
    if wanted >= 248:  # the middle between 240 and 256
        code = 0x7E
    assert TYPES["NVFP4"].encode(x)["d"].tolist() == [[code] * 4]


def standing(name: str, count: int) -> np.ndarray:
    """Blocks that an encoder could have written: the largest code is used, spare codes and bits are not."""
    kind, rng = TYPES[name], np.random.default_rng(6)
    made = kind.blocks(block_bytes(kind, count, "random", seed=6)).copy()
    scale = (np.exp2(rng.integers(-6, 7, count)) * rng.choice([1, 1.25, 1.5], count)).astype(np.float16)
    if "d" in kind.dtype.names and name != "NVFP4":
        made["d"] = scale
    match name:
        case "IQ4_NL":
            made["qs"][:, 0] &= 0xF0
        case "IQ4_XS":
            made["d"] = -scale / 64  # the largest scale is stored as -32; beyond 1e4 the squares of sums overflow
            made["scales_h"] &= 0xFFFC
            made["scales_l"] |= 0x11  # and none as 0: codes of a group without a scale are lost
            made["scales_l"][:, 0] &= 0xF0
            made["qs"][:, ::16] &= 0xF0
        case "TQ1_0":
            fifths = (np.arange(243) * 256 + 242) // 243
            made["qs"] = fifths[rng.integers(0, 243, made["qs"].shape)]
            made["qh"] = fifths[rng.integers(0, 81, made["qh"].shape) * 3]
        case "TQ2_0" | "Q2_0":
            crumbs = rng.integers(0, 3, (*made["qs"].shape, 4), dtype=np.uint8)
            made["qs"] = crumbs[..., 0] | crumbs[..., 1] << 2 | crumbs[..., 2] << 4 | crumbs[..., 3] << 6
        case "MXFP4":
            made["e"] = rng.integers(100, 150, count)
            made["qs"] = np.where(made["qs"] & 0x0F == 8, made["qs"] ^ 8, made["qs"])
            made["qs"] = np.where(made["qs"] >> 4 == 8, made["qs"] ^ 0x80, made["qs"])
            made["qs"][:, 3] = made["qs"][:, 3] & 0xF0 | 6
        case "NVFP4":
            made["d"] = rng.integers(1, 0x78, made["d"].shape)
            made["qs"] = np.where(made["qs"] & 0x0F == 8, made["qs"] ^ 8, made["qs"])
            made["qs"] = np.where(made["qs"] >> 4 == 8, made["qs"] ^ 0x80, made["qs"])
            made["qs"][:, 5::8] = made["qs"][:, 5::8] & 0xF0 | 7
    return made


@pytest.mark.parametrize("name", NAMES)
def test_encoding_what_was_decoded_gives_it_back(name: str) -> None:
    kind = TYPES[name]
    made = standing(name, 400)
    again = kind.encode(kind.decode(made))
    rows = [blocks.view(np.uint8).reshape(-1, kind.block_bytes) for blocks in (made, again)]
    moved = (rows[0] != rows[1]).any(axis=1)
    assert not moved.any(), f"{moved.sum()} of {moved.size} blocks moved"


@pytest.mark.parametrize("name", NAMES)
def test_zero_stays_zero(name: str) -> None:
    assert not both_ways(name, np.zeros(512, np.float32)).any()
    assert not both_ways(name, np.full(512, -0.0, np.float32)).any()


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_nan_is_encoded_as_zero(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    x = data.draw(arrays.arrays(np.float32, 512, elements=FINITE))
    places = data.draw(arrays.arrays(np.bool_, 512))
    matrix = np.linspace(0.1, 2, 512, dtype=np.float32)
    for importance in (None, matrix):
        with_nan = kind.encode(np.where(places, np.float32(np.nan), x), importance)
        assert with_nan.tobytes() == kind.encode(np.where(places, np.float32(0), x), importance).tobytes()
        assert not np.isnan(kind.decode(with_nan)).any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent(name: str, weighted: bool) -> None:
    """In any shape, over more than one piece of the loop; weights belong to columns."""
    kind, rng = TYPES[name], np.random.default_rng(4)
    values = rng.standard_normal((3, 40, 2816 // 256 * 256)).astype(np.float32)
    importance = rng.random(values.shape[-1]).astype(np.float32) if weighted else None
    made = kind.encode(values, importance)
    assert made.shape == (3, 40, values.shape[-1] // kind.elements)
    assert made.dtype == kind.dtype
    for index in [(0, 0), (0, 39), (1, 17), (2, 39)]:
        assert made[index].tobytes() == kind.encode(values[index], importance).tobytes()
    assert kind.encode(values[:0]).shape == (0, 40, values.shape[-1] // kind.elements)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([1e-20, 1e-3, 1, 1e4, 1e30]))
def test_blocks_are_independent(name: str, seed: int, scale: float) -> None:
    """With a matrix too: in these types no weight depends on the rest of the row."""
    kind, rng = TYPES[name], np.random.default_rng(seed)
    x = (rng.standard_normal(4 * 256) * scale).astype(np.float32)
    for importance in (None, rng.random(x.size).astype(np.float32)):
        made = kind.encode(x, importance)
        for i in range(made.size):
            part = slice(i * kind.elements, (i + 1) * kind.elements)
            alone = kind.encode(x[part], None if importance is None else importance[part])
            assert made[i : i + 1].tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", ["IQ4_NL", "IQ4_XS"])
def test_importance_counts(name: str) -> None:
    """Columns with weight are nearer to the original than without a matrix, on the whole."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 512)).astype(np.float32)
    matters = np.where(np.arange(512) % 4 == 0, np.float32(1), np.float32(1e-6))
    kind = TYPES[name]
    errors = [((kind.decode(kind.encode(x, importance)) - x)[:, ::4] ** 2).sum() for importance in (matters, None)]
    assert errors[0] < errors[1] * 0.9


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_row_or_no_weights_is_refused(name: str) -> None:
    kind = TYPES[name]
    with pytest.raises(RaggedRowError, match=str(kind.elements)):
        kind.encode(np.zeros((2, kind.elements + 16), np.float32))
    if name.startswith("IQ4"):
        with pytest.raises(ImportanceError, match="512"):
            kind.encode(np.zeros((2, 512), np.float32), np.ones(256, np.float32))
