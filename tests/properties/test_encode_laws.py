"""What holds of every encoder of block types, whatever ggml does: errors, independence, symmetries, NaN."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.patterns.scales import SUBSCALES
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import RaggedRowError
from rosetta_ref.quant.encoding import REACH, ImportanceError, mean_square
from rosetta_ref.quant.rounding import extreme, nearest_int, smallest, total
from tests.support.weights import IMPORTANCE, KINDS, importance, weights

pytestmark = pytest.mark.usefixtures("encoded_by")

PLAIN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K")
EVERY = tuple(
    name
    for name, kind in TYPES.items()
    if kind.encode is not None and not (kind.is_scalar and kind.dtype["x"].kind in "iu" and name != "BF16")
)
K_TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
WEIGHTED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", *K_TYPES)

#: Finite, and with scales that f16 holds.
ORDINARY = tuple(k for k in KINDS if k not in ("infinities", "huge", "any bits", "subnormals", "beyond f16", "tiny"))

#: The largest error of plain rounding and of the K types without a matrix, over the largest magnitude of the block. Plain
#: rounding: half a step, but a whole one in Q4_0 and Q5_0, whose codes reach one step less far on one side. The searches of the
#: K types give up some of the largest elements for the others: what remains is the step of a grid of two bits less, 2^(2 - bits).
ERROR = {
    "Q4_0": 1 / 8, "Q5_0": 1 / 16, "Q4_1": 1 / 15, "Q5_1": 1 / 31, "Q8_0": 1 / 254, "Q8_1": 1 / 254, "Q8_K": 1 / 254,
    "Q2_K": 1, "Q3_K": 1 / 2, "Q4_K": 1 / 4, "Q5_K": 1 / 8, "Q6_K": 1 / 16,
}  # fmt: skip
#: The scales and minima in f16: their relative error, and what a subnormal one adds to each of up to 63 x 31 steps.
HALF, SUBNORMAL = 2.0**-10, 2.0**-25 * 63 * 31


#: Matrices whose weights do not overflow: where they do, ggml's scales may be NaN, and so are these.
MODERATE = tuple(k for k in IMPORTANCE if k != "extreme")
#: A search is a thousand calls of NumPy, whatever the number of blocks.
few = settings(max_examples=max(settings().max_examples // 3, 10))


def _block_values(kind: BlockType, data: st.DataObject, kinds: tuple[str, ...] = ORDINARY, most: int = 3) -> np.ndarray:
    """A row of blocks, of one of the kinds; only a seed and two choices are drawn."""
    count = data.draw(st.integers(1, most), label="blocks")
    row = weights(data.draw(st.sampled_from(kinds), label="kind"), 1, 256 * 8, data.draw(st.integers(0, 2**20)))[0]
    return row[: count * kind.elements]


def _matrix(columns: int, data: st.DataObject, kinds: tuple[str, ...] = IMPORTANCE) -> np.ndarray | None:
    which = data.draw(st.sampled_from([None, *kinds]), label="matrix")
    return None if which is None else importance(which, columns, data.draw(st.integers(0, 2**20)))


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    __tracebackhide__ = True
    assert expected.size > 0
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", PLAIN)
@given(data=st.data())
def test_error(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    x = _block_values(kind, data).reshape(-1, kind.elements)
    y = kind.decode(kind.encode(x)).reshape(x.shape).astype(np.float64)
    largest = np.abs(x).max(axis=1, keepdims=True)
    assert (np.abs(y - x) <= largest * (ERROR[name] + HALF) + SUBNORMAL).all()


def _with_code(blocks: np.ndarray, code: int) -> np.ndarray:
    """The same scales with one code everywhere."""
    made, fields = blocks.copy(), blocks.dtype.names
    if "ql" in fields:
        made["ql"], made["qh"] = code % 16 * 0x11, code // 16 * 0x55
    elif "hmask" in fields or blocks["qs"].shape[-1] == 64:
        made["qs"] = code % 4 * 0x55
        if "hmask" in fields:
            made["hmask"] = code // 4 * 0xFF
    else:
        made["qs"] = code % 16 * 0x11
        if "qh" in fields:
            made["qh"] = 0xFF * (code // 16) if made["qh"].ndim > 1 else 0xFFFFFFFF * (code // 16)
    return made


@pytest.mark.parametrize("name", K_TYPES)
@few
@given(data=st.data())
def test_no_other_code_is_nearer(name: str, data: st.DataObject) -> None:
    """With the scales that were stored, and with any matrix: the last step rounds to the nearest of all codes."""
    kind = TYPES[name]
    x = _block_values(kind, data, most=2)
    made = kind.encode(x, _matrix(x.size, data, MODERATE))
    y = kind.decode(made)
    codes = 2 ** int(name[1])
    others = np.stack([kind.decode(_with_code(made, code)) for code in range(codes)]).astype(np.float64)
    assert (np.sort(others, axis=0) == y).any(axis=0).all(), "the value of a code"
    scaled = others[0] != others[-1]  # where the scale is 0, the codes of the search are kept
    best = np.abs(others - x).min(axis=0)
    slack = np.abs(x) * 2.0**-20 + np.abs(others).max(axis=0) * 2.0**-20
    assert (np.abs(y - x)[scaled] <= (best + slack)[scaled]).all()


@pytest.mark.parametrize("name", PLAIN)
@few
@given(data=st.data())
def test_zero_stays_zero(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    signs = np.random.default_rng(data.draw(st.integers(0, 99))).random(kind.elements * 2) < 0.5
    zeros = np.where(signs, np.float32(0), np.float32(-0.0))
    matrix = _matrix(zeros.size, data) if name in WEIGHTED else None
    assert not kind.decode(kind.encode(zeros, matrix)).any()


@pytest.mark.parametrize("name", PLAIN)
@few
@given(data=st.data())
def test_rows_are_independent(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    rows = np.stack([_block_values(kind, data, KINDS, most=1) for _ in range(3)])
    rows = np.concatenate([rows, rows[::-1] * np.float32(0.5)], axis=1)
    matrix = _matrix(rows.shape[1], data) if name in WEIGHTED else None
    made = kind.encode(rows, matrix)
    assert made.shape == (3, 2)
    for i in range(3):
        assert_same(made[i], kind.encode(rows[i], matrix))


@pytest.mark.parametrize("name", PLAIN)
@few
@given(data=st.data())
def test_blocks_are_independent(name: str, data: st.DataObject) -> None:
    """Without a matrix; in the K types with one too: there a weight comes from the block alone."""
    kind = TYPES[name]
    x = _block_values(kind, data, KINDS)
    matrix = _matrix(x.size, data) if name in K_TYPES else None
    made = kind.encode(x, matrix)
    for i in range(made.size):
        part = slice(i * kind.elements, (i + 1) * kind.elements)
        assert_same(made[i : i + 1], kind.encode(x[part], None if matrix is None else matrix[part]))


@pytest.mark.parametrize("name", PLAIN)
def test_pieces_do_not_show(name: str) -> None:
    """More values than one piece of the loop takes, in rows that no piece is a multiple of."""
    kind = TYPES[name]
    rows = weights("mixed scales", 90, 1792, seed=1)
    for matrix in (None, importance("activations", 1792, seed=1)):
        made = kind.encode(rows, matrix)
        for i in (0, 36, 37, 72, 73, 74, 89):
            assert_same(made[i], kind.encode(rows[i], matrix))
        flat = kind.encode(rows.reshape(-1)) if matrix is None else made.reshape(-1)
        assert_same(flat, made.reshape(-1))


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_row_longer_than_a_piece(name: str) -> None:
    kind = TYPES[name]
    rows = np.repeat(weights("gaussian", 1, 1 << 14, seed=2), 17, axis=0).reshape(1, -1)
    matrix = np.tile(importance("activations", 1 << 14, seed=2), 17)
    made = kind.encode(rows, matrix).reshape(17, -1)
    if name in K_TYPES:
        assert_same(made[16], kind.encode(rows[0, : 1 << 14], matrix[: 1 << 14]))
    for row in made:
        assert_same(row, made[0])


@pytest.mark.parametrize("name", PLAIN)
@few
@given(data=st.data())
def test_powers_of_two(name: str, data: st.DataObject) -> None:
    """Twice the values: the same codes and sub-scales, and twice d, m and s."""
    kind = TYPES[name]
    x = _block_values(kind, data, ("gaussian", "uniform", "heavy tails", "opposite extremes", "one sign"))
    matrix = _matrix(x.size, data) if name in WEIGHTED else None
    if matrix is not None:
        matrix = np.clip(matrix, np.float32(1e-6), np.float32(1e6))  # no overflow
    once, twice = kind.encode(x, matrix), kind.encode(x * np.float32(2), matrix)
    subnormal = np.zeros(once.size, bool)
    for field in kind.dtype.names:
        if kind.dtype[field].kind == "f":
            subnormal |= (np.abs(once[field]) < 2.0**-14) & (once[field] != 0)
            once[field] *= 2
    if not subnormal.all():
        assert_same(twice[~subnormal], once[~subnormal])


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q6_K", "Q8_0", "Q8_1", "Q8_K"])
@given(data=st.data())
def test_the_other_sign(name: str, data: st.DataObject) -> None:
    """Of types without a minimum, but Q3_K, whose descent works on one sign only. Half away from zero in Q8: codes turn around."""
    kind = TYPES[name]
    x = _block_values(kind, data)
    made, turned = kind.encode(x), kind.encode(-x)
    if name in ("Q8_0", "Q8_1"):
        made["qs"] = -made["qs"]
        if name == "Q8_1":
            made["s"] = np.where(made["s"] == 0, made["s"], -made["s"])
    else:
        made["d"] = np.where(made["d"] == 0, made["d"], -made["d"])
    assert_same(turned, made)


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q8_0", "Q8_1"])
@given(data=st.data())
def test_what_was_encoded_is_a_fixed_point(name: str, data: st.DataObject) -> None:
    """Where d is one of f16's normal numbers: the extreme decodes exactly, so the same d comes again, and with it the same codes."""
    kind = TYPES[name]
    made = kind.encode(_block_values(kind, data))
    made = made[np.abs(made["d"]) >= 2.0**-14]
    again = kind.encode(kind.decode(made)) if made.size else made
    for field in ("d", "qs"):
        assert np.array_equal(again[field], made[field])


def _standing(name: str, count: int, seed: int) -> np.ndarray:
    """Blocks of a K type that an encoder could have written: in each group all codes that pin its scale, in each block the top scale.

    Scales are powers of two, and a step of the minimum is at least one of the scale, so that nothing is rounded on the way.
    """
    kind, rng, every = TYPES[name], np.random.default_rng(seed), np.arange(count)
    made = kind.blocks(block_bytes(kind, count, "random", seed)).copy()
    affine = "dmin" in kind.dtype.names
    for field in {"ql", "qs", "qh", "hmask"} & set(kind.dtype.names):
        runs = made[field].reshape(count, -1, 32 if name in ("Q4_K", "Q5_K") else 16)
        runs[:, :, 0] = 0
        if affine:  # 0, the largest code, and two between them: 0 and 3 alone would do as 0 and 2 with another scale
            runs[:, :, 1:4] = [0xFF, 0x55, 0xAA]
    d = rng.integers(-6, 3, count)
    made["d"] = np.exp2(d)
    if affine:
        made["dmin"] = np.exp2(d + rng.integers(0, 5, count))
    steps = rng.integers(1, {"Q2_K": 16, "Q6_K": 128}.get(name, 64), (2, count, 16))
    if name in ("Q4_K", "Q5_K"):
        for first in (0, 8):
            steps[0][every, first + rng.integers(0, 8, count)] = 63
    elif name == "Q2_K":
        for half in steps:
            half[every, rng.integers(0, 16, count)] = 15
        steps[0] |= steps[1] << 4
    else:  # the one furthest from zero is negative: stored as 0 in Q3_K, which adds 32 (and there 32 is none at all)
        steps[0][steps[0] == 32] += name == "Q3_K"
        steps[0][every, rng.integers(0, 16, count)] = 0 if name == "Q3_K" else 128
    SUBSCALES[name].put(made, steps[0].astype(np.uint16))
    return made


@pytest.mark.parametrize("name", K_TYPES)
@few
@given(data=st.data())
def test_a_block_that_uses_its_whole_range_stands_still(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    made = _standing(name, 8, data.draw(st.integers(0, 2**32 - 1), label="seed"))
    matrix = (
        np.linspace(0.5, 2, made.size * 256, dtype=np.float32) if data.draw(st.booleans(), label="matrix") else None
    )
    assert_same(kind.encode(kind.decode(made), matrix), made)


@pytest.mark.parametrize("name", PLAIN)
@few
@given(data=st.data())
def test_nan_counts_as_zero(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    x = _block_values(kind, data).copy()
    matrix = _matrix(x.size, data, MODERATE) if name in WEIGHTED else None
    places = np.random.default_rng(data.draw(st.integers(0, 99))).random(x.size) < data.draw(
        st.sampled_from([0.01, 0.5, 1])
    )
    x[places] = 0
    expected = kind.encode(x, matrix)
    x.view(np.uint32)[places] = data.draw(st.sampled_from([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF]))
    made = kind.encode(x, matrix)
    assert_same(made, expected)
    for field in kind.dtype.names:
        assert not np.isnan(made[field]).any()


@pytest.mark.parametrize("name", EVERY)
@few
@given(data=st.data())
def test_finite_gives_finite(name: str, data: st.DataObject) -> None:
    """Any finite numbers, each block blown up to the end of the type's range, or to a part of it."""
    kind, reach = TYPES[name], REACH.get(name, float(np.finfo(np.float32).max))
    x = (
        _block_values(TYPES["Q4_K"], data, tuple(k for k in KINDS if k != "infinities"))
        .reshape(-1, 256)
        .astype(np.float64)
    )
    largest = np.abs(x).max(axis=1, keepdims=True)
    x *= reach / np.where(largest > 0, largest, 1) * data.draw(st.sampled_from([1, 0.9, 1e-3, 1e-12]), label="part")
    x = np.clip(x, -reach, reach).astype(np.float32).reshape(-1)
    assert np.isfinite(x).all()
    made = kind.encode(x)
    assert np.isfinite(kind.sized(x.size).decode(made)).all()


@pytest.mark.parametrize("name", sorted(REACH))
def test_beyond_its_range_a_type_is_not_finite(name: str) -> None:
    """Twice as far and a little more: the table says no less than it could, and who converts has to look."""
    most = float(np.finfo(np.float32).max)
    x = np.clip(np.linspace(-2.3, 2.3, 512) * REACH[name], -most, most).astype(np.float32)
    with np.errstate(all="ignore"):
        assert not np.isfinite(TYPES[name].decode(TYPES[name].encode(x))).all()


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_matrix_has_a_weight_for_each_column(name: str) -> None:
    kind = TYPES[name]
    x = np.ones((2, 512), np.float32)
    for shape in [(511,), (1024,), (2, 512), ()]:
        with pytest.raises(ImportanceError, match="512 columns need 512 weights"):
            kind.encode(x, np.ones(shape, np.float32))


@pytest.mark.parametrize("name", PLAIN)
def test_ragged_rows_and_nothing(name: str) -> None:
    kind = TYPES[name]
    with pytest.raises(RaggedRowError, match=f"{kind.elements + 1} elements is not a whole number of {name}"):
        kind.encode(np.zeros((2, kind.elements + 1), np.float32))
    assert kind.encode(np.zeros((0, kind.elements), np.float32)).shape == (0, 1)
    assert kind.encode(np.zeros((3, 0), np.float32)).shape == (3, 0)
    assert kind.encode(np.zeros((0, kind.elements), np.float32), np.ones(kind.elements, np.float32)).shape == (0, 1)


def test_a_weight_moves_the_codes_towards_its_column() -> None:
    """The one element that counts is met better than without a matrix, in every type that takes one."""
    x = weights("gaussian", 64, 256, seed=9)
    column = 37
    matrix = np.full(256, np.float32(0.001))
    matrix[column] = 1000
    for name in WEIGHTED:
        kind = TYPES[name]
        plain, weighted = (np.abs(kind.decode(kind.encode(x, m)) - x)[:, column].mean() for m in (None, matrix))
        assert weighted < plain / 2, name


# --- what is stored beside the codes, and where the extremes go -------------------------------------------------------------


@pytest.mark.parametrize(("name", "code"), [("Q4_0", 0), ("Q5_0", 0), ("Q8_0", 127), ("Q8_1", 127), ("Q8_K", 127)])
@given(data=st.data())
def test_code_of_the_extreme(name: str, code: int, data: st.DataObject) -> None:
    """The first element of largest magnitude: code 0 (the furthest from zero) in Q4_0 and Q5_0, +-127 in Q8; in Q8_K always -127."""
    kind = TYPES[name]
    x = _block_values(kind, data, ("gaussian", "opposite extremes", "uniform"), most=1)
    (made,) = kind.encode(x)
    first = np.argmax(np.abs(x))
    if name in ("Q4_0", "Q5_0"):
        got = int(made["qs"][first % 16]) >> (4 if first >= 16 else 0) & 15
        got |= (int(made["qh"]) >> int(first) & 1) << 4 if name == "Q5_0" else 0
        assert np.sign(made["d"]) == -np.sign(x[first])
        assert got == code
    else:
        assert made["qs"][first] == (-code if name == "Q8_K" else code * np.sign(x[first]))


@pytest.mark.parametrize(("name", "code"), [("Q6_K", -128), ("Q3_K", -32)])
@given(data=st.data())
def test_code_of_the_largest_scale(name: str, code: int, data: st.DataObject) -> None:
    kind = TYPES[name]
    (made,) = kind.encode(_block_values(kind, data, ("gaussian", "heavy tails", "mixed scales"), most=1))
    if name == "Q6_K":
        scales = made["scales"].tolist()
    else:
        packed = made["scales"].tolist()
        scales = [packed[i % 8] >> (i // 8 * 4) & 15 | (packed[8 + i % 4] >> (i // 4 * 2) & 3) << 4 for i in range(16)]
        scales = [scale - 32 for scale in scales]
    assert min(scales) == code


def test_eight_bits_round_half_away_from_zero() -> None:
    for name in ("Q8_0", "Q8_1"):
        x = np.zeros(32, np.float32)
        x[:8] = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997]
        assert TYPES[name].encode(x)["qs"][0, :8].tolist() == [127, 1, 2, 3, -1, -2, -3, 0]


@given(data=st.data())
def test_sums_are_stored(data: st.DataObject) -> None:
    """Q8_K: of each 16 codes. Q8_1: of all codes, times d before it is rounded."""
    (made,) = TYPES["Q8_K"].encode(_block_values(TYPES["Q8_K"], data, most=1))
    assert made["bsums"].tolist() == [sum(made["qs"].tolist()[i : i + 16]) for i in range(0, 256, 16)]
    x = _block_values(TYPES["Q8_1"], data, most=1)
    (made,) = TYPES["Q8_1"].encode(x)
    assert made["s"] == np.float16(np.float32(sum(made["qs"].tolist())) * (np.abs(x).max() / np.float32(127)))


# --- the steps that all share, by loops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 1), (16, 2), (256, 1), (32, 7), (16, 300)])
def test_total_adds_from_the_first_to_the_last(shape: tuple[int, int]) -> None:
    terms = weights("heavy tails", 1, 8192, seed=shape[1])[0][: shape[0] * shape[1]].reshape(shape)
    expected = []
    for column in terms.T:
        sum_ = np.float32(0)
        for term in column:
            sum_ += term
        expected.append(sum_)
    assert total(terms).tolist() == [float(value) for value in expected]
    if shape[1] == 1:
        assert mean_square(terms.T)[0] == total(terms * terms)[0] / np.float32(shape[0])


#: Of the second kind only zeros can be the smallest: which of them comes first?
_TIED = ([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, float("inf"), float("nan")], [0.0, -0.0, 1.0, float("nan")])


@given(values=st.sampled_from(_TIED).flatmap(lambda some: st.lists(st.sampled_from(some), min_size=1, max_size=40)))
def test_extreme_and_smallest_by_loops(values: list[float]) -> None:
    largest, low = 0.0, float("inf")
    for value in values:
        largest = value if abs(value) > abs(largest) else largest
        low = value if value < low else low
    x = np.repeat(np.float32(values)[:, None], 64, axis=1)
    for layout in (x, np.asfortranarray(x)):  # NumPy's vectors run along the one axis or the other
        assert_same(extreme(layout), np.float32([largest] * 64))
        assert_same(smallest(layout), np.float32([low] * 64))


@given(bits=st.integers(0, 2**32 - 1))
def test_nearest_int_by_its_words(bits: int) -> None:
    value = np.uint32(bits).view(np.float32)
    if np.isnan(value):
        return
    with np.errstate(over="ignore"):
        (got,) = nearest_int(np.float32([value]))
    if abs(value) < 2**22 - 1:
        assert got == round(float(value))
    (sum_,) = struct.unpack("<I", struct.pack("<f", np.float32(float(value) + 12582912.0)))
    assert got == (sum_ & 0x7FFFFF) - 0x400000
