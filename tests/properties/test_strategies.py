"""What the public strategies reach, counted; and what they shrink to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from rosetta_ref import strategies
from rosetta_ref.patterns import scales as inside
from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.kquants.packing import six_bit_pairs, six_bit_scales

FLOATS = {name: inside.float_scales(kind) for name, kind in TYPES.items() if inside.float_scales(kind)}
BLOCK_TYPES = tuple(name for name, kind in TYPES.items() if not kind.is_scalar and kind.decode is not None)
QUIET = settings(database=None, derandomize=True, suppress_health_check=list(HealthCheck))
#: For `find`, which has to find something whatever the profile.
SEARCH = settings(QUIET, max_examples=2000)

#: Classes of a scale, by its float64 value and the bits of its significand.
CLASSES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "NaN": lambda d, _: np.isnan(d),
    "Inf": lambda d, _: d == np.inf,
    "-Inf": lambda d, _: d == -np.inf,
    "0": lambda d, _: (d == 0) & ~np.signbit(d),
    "-0": lambda d, _: (d == 0) & np.signbit(d),
    "subnormal": lambda d, least: (d > 0) & (d < least),
    "-subnormal": lambda d, least: (d < 0) & (d > -least),
    "negative": lambda d, _: d == -1,
    "huge": lambda d, _: np.isfinite(d) & (np.abs(d) > 6e4),
}


def of(name: str, count: int, pattern: str, seed: int = 5) -> np.ndarray:
    kind = TYPES[name].sized(count)
    return kind.blocks(block_bytes(kind, count, pattern, seed))


# --- power -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FLOATS))
def test_special_reaches_every_class_of_every_float_scale(name: str) -> None:
    for field in FLOATS[name]:
        made = of(name, 256, "special") if TYPES[name].elements else np.concatenate(
            [of(name, 3, "special", seed) for seed in range(256)])  # fmt: skip
        bits = inside.scale_bits(TYPES[name], made, field).astype(
            f"<u{2 if field == 'spread d' else made.dtype[field].itemsize}"
        )
        scale = bits.view(f"<f{bits.dtype.itemsize}")
        least = float(np.finfo(scale.dtype).smallest_normal)
        with np.errstate(all="ignore"):
            counts = {
                what: int(np.count_nonzero(test(scale.astype(np.float64), least))) for what, test in CLASSES.items()
            }
        assert min(counts.values()) >= 3, counts
        print(f"{name}.{field}: {counts}")


@pytest.mark.parametrize(("name", "field"), [("MXFP4", "e"), ("NVFP4", "d")])
def test_special_reaches_the_ends_of_one_byte_scales(name: str, field: str) -> None:
    found = set(of(name, 256, "special")[field].reshape(-1).tolist())
    assert found == set(inside.HARD_BYTES[name])
    assert {0x00, 0xFF, 0x80, 0x7F} <= found


@pytest.mark.parametrize("name", [name for name, some in inside.SUBSCALES.items() if some.values == 256])
def test_scale_bytes_are_distinct_and_take_all_values(name: str) -> None:
    field = {"MXFP4": "e", "NVFP4": "d"}.get(name, "scales")
    raw = of(name, 256, "scales")[field].view(np.uint8).reshape(256, -1)
    assert all(len(set(block)) == raw.shape[1] for block in raw.tolist())
    assert all(len(set(place)) == 256 for place in raw.T.tolist())


@pytest.mark.parametrize("name", ["Q3_K", "Q4_K", "Q5_K", "IQ4_XS"])
def test_six_bit_scales_use_all_six_bits(name: str) -> None:
    """Taken out by the decoders' own functions, so the packing here and the unpacking there have to agree."""
    made = of(name, 64, "scales")
    if name == "IQ4_XS":
        low = np.stack([made["scales_l"] & 15, made["scales_l"] >> 4], axis=2).reshape(64, 8)
        codes = low | (made["scales_h"][:, None] >> np.arange(0, 16, 2) & 3) << 4
    elif name == "Q3_K":
        codes = six_bit_scales(made["scales"]).astype(int) + 32
    else:
        codes = np.concatenate(six_bit_pairs(made["scales"]), axis=1)
    assert all(len(set(block)) == codes.shape[1] for block in codes.tolist()), "a scale occurs twice in a block"
    assert all(sorted(place) == list(range(64)) for place in codes.T.tolist()), "a place does not take all 64 values"


@pytest.mark.parametrize(("name", "width"), [("IQ2_XXS", 4), ("IQ3_XXS", 4), ("IQ1_S", 3)])
def test_scales_above_signs_use_all_their_bits(name: str, width: int) -> None:
    made = of(name, 1 << width, "scales")
    if name == "IQ2_XXS":
        codes = made["qs"].copy().view("<u4")[:, 1::2] >> 28
    else:
        codes = made["signs"] >> 28 if name == "IQ3_XXS" else made["qh"] >> 12 & 7
    assert all(len(set(block)) == 8 for block in codes.tolist())
    assert all(len(set(place)) == 1 << width for place in codes.T.tolist())


@pytest.mark.parametrize("name", list(FLOATS))
def test_a_float_scale_is_written_beside_all_else(name: str) -> None:
    base = of(name, 64, "random") if TYPES[name].elements else of(name, 5, "random")
    for field in FLOATS[name]:
        made, bits = base.copy(), np.array(inside.scale_bits(TYPES[name], base, field))
        inside.put_scale_bits(TYPES[name], made, field, np.zeros_like(bits))
        assert not inside.scale_bits(TYPES[name], made, field).any()
        inside.put_scale_bits(TYPES[name], made, field, bits)
        assert made.tobytes() == base.tobytes()


@pytest.mark.parametrize("name", list(inside.SUBSCALES))
def test_each_place_of_a_scale_moves_what_it_scales(name: str) -> None:
    """The scales of one block, changed one by one: each changes another set of elements, and together they are all."""
    kind, some = TYPES[name], inside.SUBSCALES[name]
    base = of(name, 1, "random").copy()
    for field in FLOATS.get(name, ()):
        inside.put_scale_bits(kind, base, field, np.array([0x3C00]))
    codes = np.full((1, some.places), 0x31 if name in inside.HARD_BYTES else 5, np.uint16)
    if name == "IQ1_M":
        codes[:] = 0o5252
    some.put(base, codes)
    before, moved = kind.decode(base), []
    for place in range(some.places):
        other, block = codes.copy(), base.copy()
        other[0, place] ^= 0o2525 if name == "IQ1_M" else 2
        some.put(block, other)
        moved.append(frozenset(np.flatnonzero(kind.decode(block) != before).tolist()))
    assert all(moved)
    overlaps = sum(len(a & b) for i, a in enumerate(moved) for b in moved[:i])
    assert overlaps == 0 or name in ("Q4_K", "Q5_K"), "a minimum and a scale have the same elements, others have not"


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_one_hot_blocks_reach_every_bit_of_the_codes(name: str) -> None:
    """In as many blocks as a block has bits: each bit of the fields that are no scales is alone once."""
    kind = TYPES[name].sized(6)
    if not TYPES[name].elements:
        made = np.concatenate([of(name, 6, "one-hot", seed) for seed in range(2000)])
    else:
        made = of(name, 8 * kind.block_bytes, "one-hot")
    held = {
        field
        for field in kind.dtype.names
        if kind.dtype[field].base.kind == "f" or "scales" in field or kind.dtype[field].itemsize <= 4
    }
    for field in [field for field in ("qs", "ql", "qh", "hmask") if field in kind.dtype.names and field not in held]:
        if (name, field) in (("IQ2_XXS", "qs"), ("IQ1_S", "qh")):
            continue  # scales lie between the codes
        bits = np.unpackbits(made[field].reshape(len(made), -1).view(np.uint8), axis=1)
        assert bits.sum(axis=1).max() == 1, field
        assert (bits.sum(axis=0) >= 1).all(), field


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_codes_are_distinct_and_finite(name: str) -> None:
    made = of(name, 300, "codes")
    if TYPES[name].elements:
        codes = max(
            (field for field in made.dtype.names if field.startswith("q")), key=lambda f: made.dtype[f].itemsize
        )
        raw = made[codes].reshape(300, -1).view(np.uint8)
        shared = name == "IQ2_XXS"  # its 16 words hold scales too, which are not touched
        assert all(len(set(block)) == raw.shape[1] for block in raw.tolist()) or shared
        assert len({block.tobytes() for block in made}) >= 256
    assert np.isfinite(TYPES[name].sized(300).decode(made)).all()


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_extremes_fill_each_field(name: str) -> None:
    made = (
        of(name, 400, "extremes")
        if TYPES[name].elements
        else np.concatenate([of(name, 4, "extremes", i) for i in range(400)])
    )
    for field in made.dtype.names:
        raw = made[field].reshape(len(made), -1).view(np.uint8)
        assert (raw == 0x00).all(axis=1).any(), field
        assert (raw == 0xFF).all(axis=1).any(), field
        assert set(np.unique(raw).tolist()) == {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0, 0x55, 0xAA}, field


@pytest.mark.parametrize("name", ["Q4_K", "NVFP4", "IQ1_M"])
def test_blocks_draws_every_pattern(name: str) -> None:
    """In 200 examples NaN, Inf, zeros and plain numbers come out of the decoder."""
    seen: set[str] = set()

    @settings(QUIET, max_examples=200, phases=[Phase.generate])
    @given(strategies.blocks(name))
    def look(made: np.ndarray) -> None:
        values = TYPES[name].decode(made)
        seen.update(
            what for what, found in {
                "NaN": np.isnan(values), "Inf": np.isinf(values), "zero": values == 0, "number": np.isfinite(values) & (values != 0),
            }.items() if found.any())  # fmt: skip

    look()
    assert seen >= ({"zero", "number"} if name == "NVFP4" else {"NaN", "Inf", "zero", "number"})


@pytest.mark.parametrize("name", ["Q8_0", "Q5_K", "IQ1_M"])
def test_half_of_the_blocks_are_whole(name: str) -> None:
    """What may be left out, so that examples shrink, is left out of few fields: Hypothesis likes the ends of a range, though."""
    whole = total = 0
    known = {block.tobytes() for block in of(name, 4, "index")}

    @settings(QUIET, max_examples=300, phases=[Phase.generate])
    @given(strategies.blocks(name, patterns=("index",), max_blocks=2))
    def look(made: np.ndarray) -> None:
        nonlocal whole, total
        total += made.size
        whole += sum(block.tobytes() in known for block in made)

    look()
    assert whole > total * 0.4, (whole, total)


def test_weights_reach_what_encoders_fear() -> None:
    counts = dict.fromkeys(
        ("NaN", "Inf", "-Inf", "1e30", "subnormal", "-0", "row of zeros", "constant row", "outlier", "tie"), 0
    )

    @settings(QUIET, max_examples=400, phases=[Phase.generate])
    @given(strategies.weights("Q4_K"))
    def look(rows: np.ndarray) -> None:
        assert rows.dtype == np.float32
        assert rows.ndim == 2
        assert rows.shape[1] % 256 == 0
        size = np.sort(np.abs(rows), axis=1)
        with np.errstate(all="ignore"):
            counts["NaN"] += bool(np.isnan(rows).any())
            counts["Inf"] += bool((rows == np.inf).any())
            counts["-Inf"] += bool((rows == -np.inf).any())
            counts["1e30"] += bool((np.isfinite(rows) & (np.abs(rows) > 1e29)).any())
            counts["subnormal"] += bool(((rows != 0) & (np.abs(rows) < 1e-38)).any())
            counts["-0"] += bool(((rows == 0) & np.signbit(rows)).any())
            counts["row of zeros"] += bool((rows == 0).all(axis=1).any())
            counts["constant row"] += bool(((rows == rows[:, :1]) & (rows != 0)).all(axis=1).any())
            counts["outlier"] += bool((size[:, -1] > 30 * size[:, -2]).any())
            counts["tie"] += bool(
                ((size[:, -1] == size[:, -2]) & (size[:, -1] > 0) & (rows.max(axis=1) == -rows.min(axis=1))).any()
            )

    look()
    assert min(counts.values()) >= 4, counts
    print(counts)


#: What holds of every example of a kind; of those that are left out here, the count above tells.
EACH: dict[str, Callable[[np.ndarray], bool]] = {
    "a few": lambda rows: np.count_nonzero(rows) <= 4,
    "ties": lambda rows: len(np.unique(rows)) < rows.size / 4,
    "half codes": lambda rows: bool(((np.abs(rows) % 1 == 0.5) | (rows == -8)).all()),
    "constants": lambda rows: bool((rows == rows[:, :1]).all()),
    "zeros": lambda rows: not rows.any() and len(np.unique(np.signbit(rows))) == 2,
    "one outlier": lambda rows: (
        bool((np.median(np.sort(np.abs(rows), axis=1)[:, -64:], axis=1) > 0.5).all())
        and bool((np.count_nonzero(np.abs(rows) > 8, axis=1) <= 1).all())
    ),
    "subnormals": lambda rows: bool((np.abs(rows) < 1e-37).all()),
    "beyond f16": lambda rows: bool((np.abs(rows).max(axis=1) > 65520).all()),
    "huge": lambda rows: bool((np.abs(rows).max(axis=1) > 1e30).all()),
    "spots": lambda rows: bool((np.isinf(rows) | (np.abs(rows) > 6e4) | (np.abs(rows) < 1e-44)).any()),
    "nan": lambda rows: bool(np.isnan(rows).any()),
}


@pytest.mark.parametrize("name", list(EACH))
def test_a_kind_of_weights_is_what_it_says(name: str) -> None:
    large = 0

    @settings(QUIET, max_examples=40, phases=[Phase.generate])
    @given(strategies.weights("Q4_K", kinds=(name,)))
    def look(rows: np.ndarray) -> None:
        nonlocal large
        assert EACH[name](rows)
        large += bool((np.abs(rows) > 100).any())

    look()
    assert large > 20 or name != "one outlier"


@settings(QUIET, max_examples=100)
@given(st.sampled_from(["F32", "Q8_0", "Q6_K"]).flatmap(lambda name: strategies.weights(name, kinds=strategies.FINITE)))
def test_finite_kinds_are_finite(rows: np.ndarray) -> None:
    assert np.isfinite(rows).all()


@settings(QUIET, max_examples=200)
@given(st.data())
def test_tensors_fit_their_types(data: st.DataObject) -> None:
    tensor = data.draw(strategies.tensors())
    assert tensor.nbytes == tensor.type.nbytes(tensor.shape)
    assert len(tensor.shape) <= 4


# --- shrinking ----------------------------------------------------------------------------------------------------------


def test_blocks_shrink_to_one_block() -> None:
    made = find(strategies.blocks("Q4_1"), lambda _: True, settings=SEARCH)
    assert made.tobytes() == bytes(20)
    broken = find(
        strategies.blocks("Q4_1"), lambda made: bool(np.isnan(TYPES["Q4_1"].decode(made)).any()), settings=SEARCH
    )
    assert broken.shape == (1,)


def test_rows_shrink_to_one_row_and_differ_from_each_other() -> None:
    assert find(strategies.rows("Q8_0"), lambda _: True, settings=SEARCH).shape == (1, 1)
    two = find(strategies.rows("Q8_0"), lambda made: len({row.tobytes() for row in made}) > 1, settings=SEARCH)
    assert two.shape == (2, 1)


def test_tensors_shrink_to_the_first_type_and_one_row() -> None:
    tensor = find(strategies.tensors("Q6_K", "Q8_0"), lambda _: True, settings=SEARCH)
    assert (tensor.type.name, tensor.shape, tensor.name) == ("Q6_K", (256,), "a")


# Thousands of examples; what blocks and tensors shrink to is asked in every run.
@pytest.mark.slow
def test_weights_shrink_to_one_number() -> None:
    assert not find(strategies.weights("Q8_0"), lambda _: True, settings=SEARCH).any()
    assert find(strategies.weights("Q8_0"), lambda rows: bool(np.isinf(rows).any()), settings=SEARCH).shape == (1, 32)
    few = strategies.weights("Q8_0", kinds=("a few",))
    large = find(few, lambda rows: bool(np.nanmax(np.abs(rows)) > 1000), settings=SEARCH)
    assert large.shape == (1, 32)
    assert np.flatnonzero(large).tolist() == [0]
    assert large[0, 0] == 1001
    bad = find(strategies.weights("Q8_0"), lambda rows: bool(np.isnan(rows).any()), settings=SEARCH)
    assert np.flatnonzero(np.isnan(bad)).tolist() == [0]


# --- arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: strategies.blocks("Q4_X"), "no type 'Q4_X'; there are F32"),
        (lambda: strategies.blocks("Q4_0", patterns=("sorted",)), "no pattern sorted; there are index"),
        (lambda: strategies.blocks("Q4_0", patterns=()), "no pattern given"),
        (lambda: strategies.blocks("Q4_0", min_blocks=3, max_blocks=2), "from 3 to 2"),
        (lambda: strategies.rows("AprQ8"), "AprQ8 is one block for a whole tensor"),
        (lambda: strategies.rows("Q4_0", max_rows=0), "from 1 to 0"),
        (lambda: strategies.tensors("Q4_X"), "no type 'Q4_X'"),
        (lambda: strategies.tensors(max_dims=0), "has a dimension"),
        (lambda: strategies.weights("Q4_0", kinds=("odd",)), "no kind odd; there are a few"),
        (lambda: strategies.weights("Q4_0", max_blocks=0), "a block in it"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named_at_once(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
