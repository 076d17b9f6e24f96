"""What holds of every codec, by oracles that are not array code: `struct`, exact fractions, and the words of the rules."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.patterns.blocks import PATTERNS, block_bytes
from rosetta_ref.quant import BY_ID, TYPES
from rosetta_ref.strategies.quantised import blocks, payload

pytestmark = pytest.mark.usefixtures("decoded_by")

DECODABLE = tuple(name for name, kind in TYPES.items() if kind.decode is not None)
ENCODABLE = tuple(name for name, kind in TYPES.items() if kind.encode is not None)
ENCODED_BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")

#: id, elements and bytes of a block, written out from the table of the ggml types: the layouts must give these.
GGML_SIZES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34), "Q8_1": (9, 32, 36), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "Q8_K": (15, 256, 292), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82),
    "IQ4_XS": (23, 256, 136), "I8": (24, 1, 1), "I16": (25, 1, 2), "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8),
    "IQ1_M": (29, 256, 56), "BF16": (30, 1, 2), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18),
}  # fmt: skip


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    __tracebackhide__ = True
    assert got.dtype == expected.dtype == np.float32
    assert got.size > 0
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


def test_table_of_types() -> None:
    assert {kind.name: (kind.id, kind.elements, kind.block_bytes) for kind in BY_ID.values()} == GGML_SIZES
    assert (TYPES["AprQ4"].block_bytes, TYPES["AprQ4"].padded) == (18, True)
    assert TYPES["AprQ8"].nbytes((3, 5)) == 19
    assert (TYPES["F6_E2M3"].nbytes((8,)), TYPES["F4"].nbytes((8,))) == (6, 4)


# --- shape, memory, purity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DECODABLE if name != "AprQ8"])
def test_decode_is_the_same_in_any_shape_and_piece(name: str) -> None:
    """Rows, a given `out`, one block at a time: the same bits as all at once, over more than one piece of the loop."""
    kind = TYPES[name]
    count = 2 * (65536 // kind.elements) + 6
    flat = kind.blocks(block_bytes(kind, count, "random", seed=2))
    before = flat.tobytes()
    whole = kind.decode(flat)
    assert whole.shape == (count * kind.elements,)
    assert_same_bits(kind.decode(flat.reshape(2, -1)).reshape(-1), whole)
    out = np.full((2, count // 2 * kind.elements), np.float32(7))
    assert kind.decode(flat.reshape(2, -1), out=out) is out
    assert_same_bits(out.reshape(-1), whole)
    for i in (0, 1, count // 2, count - 1):
        one = kind.decode(flat[i : i + 1])
        assert_same_bits(one, whole[i * kind.elements : (i + 1) * kind.elements])
    assert flat.tobytes() == before, "the input was written to"


@pytest.mark.parametrize("name", [name for name in DECODABLE if name != "AprQ8"])
def test_decode_of_nothing(name: str) -> None:
    kind = TYPES[name]
    assert kind.decode(kind.blocks(b"")).shape == (0,)


@pytest.mark.parametrize("name", ENCODED_BLOCKS)
def test_encode_row_by_row(name: str) -> None:
    kind = TYPES[name]
    values = np.random.default_rng(4).standard_normal((3, 5, 64)).astype(np.float32)
    made = kind.encode(values)
    assert made.shape == (3, 5, 2)
    assert made.dtype == kind.dtype
    for index in np.ndindex(3, 5):
        assert made[index].tobytes() == kind.encode(values[index]).tobytes()


@pytest.mark.parametrize("name", list(TYPES))
@given(data=st.data())
def test_payload_has_the_size_of_the_shape(name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    shape = (*data.draw(st.lists(st.integers(0, 3), max_size=2)), kind.elements * data.draw(st.integers(1, 3)) or 5)
    made = data.draw(payload(name, shape))
    assert made.dtype == np.uint8
    assert made.size == kind.nbytes(shape)


@pytest.mark.parametrize("name", list(TYPES))
def test_index_pattern_tells_blocks_apart(name: str) -> None:
    kind = TYPES[name].sized(64)
    made = kind.blocks(block_bytes(kind, 64 if kind.name != "AprQ8" else 1, "index", 0))
    assert len({block.tobytes() for block in made}) == made.size


# --- decoding: one right answer -------------------------------------------------------------------------------------------


def _fraction(value: float) -> Fraction | None:
    return Fraction(value) if math.isfinite(value) else None


def _six_bits(packed: bytes, i: int) -> tuple[int, int]:
    """Scale and minimum i of Q4_K, as the format's words have it, one number at a time."""
    if i < 4:
        return packed[i] & 63, packed[i + 4] & 63
    return packed[i + 4] & 15 | packed[i - 4] >> 6 << 4, packed[i + 4] >> 4 | packed[i] >> 6 << 4


#: Finite f16, each as likely as the others: four in five that `st.floats(width=16)` draws are zero, which shows nothing.
HALVES = st.builds(
    lambda word, sign: np.uint16(word | sign << 15).view(np.float16), st.integers(0, 0x7BFF), st.integers(0, 1)
)


def _q4_k(raw: bytes) -> list[Fraction]:
    d, dmin = (Fraction(x) for x in struct.unpack("<2e", raw[:4]))
    values = []
    for element in range(256):
        scale, minimum = _six_bits(raw[4:16], element // 32)
        byte = raw[16 + element // 64 * 32 + element % 32]
        values.append(d * scale * (byte >> 4 if element // 32 % 2 else byte & 15) - dmin * minimum)
    return values


def _q6_k(raw: bytes) -> list[Fraction]:
    (d,) = struct.unpack("<e", raw[208:])
    values = []
    for element in range(256):
        half, group, i = element // 128, element // 32 % 4, element % 32
        low = raw[half * 64 + group % 2 * 32 + i] >> (4 if group >= 2 else 0) & 15
        high = raw[128 + half * 32 + i] >> (2 * group) & 3
        (scale,) = struct.unpack("b", raw[192 + element // 16 : 193 + element // 16])
        values.append(Fraction(d) * scale * ((low | high << 4) - 32))
    return values


def _q4_1(raw: bytes) -> list[Fraction]:
    d, m = (Fraction(x) for x in struct.unpack("<2e", raw[:4]))
    codes = [byte & 15 for byte in raw[4:]] + [byte >> 4 for byte in raw[4:]]
    return [d * code + m for code in codes]


def _aprq4(raw: bytes) -> list[Fraction]:
    (d,) = struct.unpack("<e", raw[:2])
    return [Fraction(d) * ((raw[2 + i // 2] >> (4 if i % 2 else 0) & 15) - 8) for i in range(32)]


def _nearest_float32(exact: Fraction) -> float:
    """Round once to float32, ties to even; only for numbers in its normal or subnormal range."""
    if not exact:
        return 0.0
    exponent = max(math.frexp(exact)[1] - 24, -149)  # of the last bit that the type holds
    return math.ldexp(round(exact / Fraction(2) ** exponent), exponent)


@pytest.mark.parametrize(("name", "oracle"), [("Q4_K", _q4_k), ("Q6_K", _q6_k), ("Q4_1", _q4_1), ("AprQ4", _aprq4)])
@given(data=st.data())
def test_decode_rounds_the_exact_value_once(name: str, oracle: object, data: st.DataObject) -> None:
    kind = TYPES[name]
    block = data.draw(blocks(name, max_blocks=1))
    scales = [field for field in kind.dtype.names if kind.dtype[field].kind == "f"]
    for field in scales:
        block = block.copy()
        block[field] = data.draw(HALVES)
    expected = [_nearest_float32(value) for value in oracle(block.tobytes())]  # type: ignore[operator]
    got = kind.decode(block).tolist()
    assert len(got) == len(expected) == kind.elements
    assert got == expected


# --- scalars --------------------------------------------------------------------------------------------------------------


def test_every_f16() -> None:
    words = np.arange(65536, dtype="<u2")
    expected = np.array([struct.unpack("<e", struct.pack("<H", word))[0] for word in range(65536)])
    got = TYPES["F16"].decode(TYPES["F16"].blocks(words))
    assert np.array_equal(got, expected, equal_nan=True)
    assert np.array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(expected)[~np.isnan(expected)])
    back = TYPES["F16"].encode(got).view("<u2")
    assert np.array_equal(back[~np.isnan(got)], words[~np.isnan(got)])
    assert np.isnan(TYPES["F16"].decode(TYPES["F16"].encode(got)))[np.isnan(got)].all()


def test_every_bf16() -> None:
    words = np.arange(65536, dtype="<u2")
    got = TYPES["BF16"].decode(TYPES["BF16"].blocks(words))
    assert got.view("<u4").tolist() == [word << 16 for word in range(65536)], "payloads of NaN included"
    back = TYPES["BF16"].encode(got).view("<u2")
    assert np.array_equal(back, words), "payloads of NaN included"


def test_a_nan_whose_payload_bf16_cannot_hold_stays_nan() -> None:
    low = np.array([0x7F800001, 0xFF80FFFF], "<u4").view("<f4")
    assert TYPES["BF16"].encode(low).view("<u2").tolist() == [0x7FC0, 0xFFC0]


def _nearest(value: float, *, bits: int, smallest: int, largest: float) -> float:
    """Round to `bits` significant bits by exact fractions, ties to even; `smallest` is the exponent of the smallest subnormal."""
    if not math.isfinite(value) or value == 0:
        return value
    exponent = max(math.frexp(value)[1] - bits, smallest)
    rounded = float(round(Fraction(value) / Fraction(2) ** exponent) * Fraction(2) ** exponent)
    return math.copysign(rounded if abs(rounded) <= largest else math.inf, value)


_HALVES = {
    "F16": {"bits": 11, "smallest": -24, "largest": 65504.0},
    "BF16": {"bits": 8, "smallest": -133, "largest": 3.3895313892515355e38},
}


@pytest.mark.parametrize("name", list(_HALVES))
def test_floats_round_to_nearest_even(name: str) -> None:
    """Random bits, and the middle between neighbours of the type with its two float32 neighbours: the ties."""
    kind = TYPES[name]
    grid = kind.decode(kind.blocks(np.arange(0, 65536, 61, dtype="<u2")))
    after = kind.decode(kind.blocks((np.arange(0, 65536, 61) + 1).astype("<u2")))
    with np.errstate(all="ignore"):
        middle = ((grid.astype(np.float64) + after) / 2).astype(np.float32)
    noise = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint32).view(np.float32)
    around = [np.nextafter(middle, np.float32(side) * np.inf) for side in (-1, 1)]
    values = np.concatenate([middle, *around, noise, np.float32([0.0, -0.0, 65519.996, 65520, -65520, 3.4e38, 1e-45])])
    got = kind.decode(kind.encode(values))
    number = ~np.isnan(values)
    expected = np.array([_nearest(float(v), **_HALVES[name]) for v in values[number]], np.float32)  # type: ignore[arg-type]
    assert number.sum() > 6_000
    assert_same_bits(got[number], expected)
    assert np.isnan(got[~number]).all()


def test_f32_and_f64_keep_every_bit() -> None:
    words = np.concatenate(
        [np.random.default_rng(1).integers(0, 2**32, 5000, dtype=np.uint32), np.uint32([1, 1 << 31, 0xFF800000])]
    )
    values = words.view(np.float32)
    assert TYPES["F32"].encode(values).tobytes() == values.tobytes()
    assert_same_bits(TYPES["F32"].decode(TYPES["F32"].blocks(values)), values)
    number = ~np.isnan(values)
    wide = TYPES["F64"].encode(values)
    assert [struct.unpack("<d", w.tobytes())[0] for w in wide[number][:500]] == values[number][:500].tolist()
    assert_same_bits(TYPES["F64"].decode(wide)[number], values[number])
    assert np.isnan(TYPES["F64"].decode(wide)[~number]).all()


#: The integers by the letters that `struct` has for them.
INTEGERS = {"I8": "b", "I16": "h", "I32": "i", "I64": "q", "U8": "B", "U16": "H", "U32": "I", "U64": "Q"}


@pytest.mark.parametrize("name", list(INTEGERS))
def test_integers(name: str) -> None:
    """Decoded to the nearest float32, encoded to the nearest integer, ties to even; beyond the range the limit, NaN is 0."""
    kind, code = TYPES[name], INTEGERS[name]
    bits = 8 * struct.calcsize(code)
    low, high = (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    numbers = [low, low + 1, 0, 1, 100, high - 1, high, high // 3]
    got = kind.decode(kind.blocks(struct.pack(f"<8{code}", *numbers)))
    assert got.tolist() == [_nearest_float32(Fraction(number)) for number in numbers]
    values = [0.0, 1.0, 100.0, 0.5, 1.5, 2.5, 2.75, -0.75, -1.5, -7.0, 1e30, -1e30, math.inf, -math.inf]
    expected = [low if value < low else high if value > high else round(value) for value in values]
    made = kind.encode(np.float32([*values, math.nan])).tobytes()
    assert list(struct.unpack(f"<{len(values) + 1}{code}", made)) == [*expected, 0]


def test_bool() -> None:
    assert TYPES["BOOL"].decode(TYPES["BOOL"].blocks(bytes([0, 1]))).tolist() == [0, 1]


# --- encoding -------------------------------------------------------------------------------------------------------------

FINITE = st.floats(-1000, 1000, width=32, allow_subnormal=True)


@pytest.mark.parametrize("name", ENCODED_BLOCKS)
@given(values=st.lists(FINITE, min_size=32, max_size=32))
def test_encoding_is_near(name: str, values: list[float]) -> None:
    """An element is off by at most one step and what rounding the block's f16 fields does to 31 steps."""
    kind, x = TYPES[name], np.float32(values)
    got = kind.decode(kind.encode(x)).astype(np.float64)
    levels = {"Q4_0": 8, "Q4_1": 15, "Q5_0": 16, "Q5_1": 31, "Q8_0": 127}[name]
    reach = float(x.max() - x.min()) if name.endswith("_1") else float(np.abs(x).max())
    slack = reach / 1024 + float(np.abs(x).max()) / 1024 + levels * 2.0**-24
    assert np.abs(got - x).max() <= reach / levels + slack


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q8_0"])
def test_encoding_what_was_decoded_gives_it_back(name: str) -> None:
    """Blocks that use their whole range stand still."""
    kind = TYPES[name]
    made = kind.blocks(block_bytes(kind, 500, "random", seed=9)).copy()
    made["d"] = np.exp2(np.random.default_rng(0).integers(-8, 8, 500)).astype(np.float16)
    made["qs"][:, 0] = 0x70 if name != "Q8_0" else -127
    if name == "Q8_0":
        made["qs"] = np.maximum(made["qs"], -127)
    if name == "Q5_0":
        made["qh"] &= 0xFFFFFFFE  # element 0 has the code 0
    if name != "Q8_0":
        made["qs"][:, 0] &= 0xF0
    again = kind.encode(kind.decode(made))
    assert again.tobytes() == made.tobytes()


@pytest.mark.parametrize("name", [*ENCODED_BLOCKS, "AprQ4", "AprQ8", "F16", "BF16"])
def test_zero_stays_zero(name: str) -> None:
    kind = TYPES[name]
    for zero in (0.0, -0.0):
        assert not kind.decode(kind.encode(np.full(64, zero, np.float32))).any()


@pytest.mark.parametrize("name", ["AprQ4", "AprQ8"])
def test_nan_counts_as_zero(name: str) -> None:
    x = np.random.default_rng(3).standard_normal(128).astype(np.float32)
    places = np.arange(128) % 7 < 2
    with_nan = TYPES[name].encode(np.where(places, np.float32(np.nan), x))
    assert with_nan.tobytes() == TYPES[name].encode(np.where(places, np.float32(0), x)).tobytes()


# --- APR's own ------------------------------------------------------------------------------------------------------------


@given(values=st.lists(FINITE, min_size=1, max_size=70))
def test_aprq4_by_its_words(values: list[float]) -> None:
    """Scale, code and nibble order one number at a time; past the end nibbles are 0."""
    x = np.float32(values)
    made = TYPES["AprQ4"].encode(x)
    assert made.size == -(-len(values) // 32)
    for number, block in enumerate(made):
        part = x[number * 32 : number * 32 + 32]
        largest = np.abs(part).max()
        scale = largest / np.float32(7) if largest > 0 else np.float32(1)
        assert block["d"] == np.float16(scale)
        for i in range(32):
            nibble = int(block["qs"][i // 2]) >> (4 * (i % 2)) & 15
            if i >= part.size:
                assert nibble == 0
            elif scale > 0:
                ratio = float(part[i] / scale)
                away = math.floor(abs(ratio) + 0.5) * (1 if ratio >= 0 else -1)
                assert nibble == min(max(away, -8), 7) + 8


@given(values=st.lists(FINITE, min_size=1, max_size=70))
def test_aprq8_both_ways(values: list[float]) -> None:
    x = np.float32(values)
    kind = TYPES["AprQ8"].sized(x.size)
    made = kind.encode(x)
    assert len(made.tobytes()) == kind.nbytes((x.size,)) == 4 + x.size
    read = kind.decode(kind.blocks(made.tobytes()))
    scale = float(made["d"][0])
    assert scale == (
        float(np.abs(x).max() / np.float32(127)) if x.any() and np.abs(x).max() / np.float32(127) > 0 else scale
    )
    assert np.abs(read - x).max() <= scale * 0.5001 + 127 * 2.0**-149  # the scale itself may be subnormal
    assert np.array_equal(read, np.float32([np.float32(q) * np.float32(scale) for q in made["qs"].reshape(-1)]))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_repeatable(pattern: str) -> None:
    first, again = (block_bytes(TYPES["Q4_K"], 9, pattern, 5) for _ in range(2))
    assert np.array_equal(first, again)
