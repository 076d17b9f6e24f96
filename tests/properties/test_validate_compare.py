"""What `validate` finds, what `compare` finds, and that neither is content with nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref import streaming
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.compare import NothingComparedError, compare
from rosetta_ref.inspect import NoSuchBlockError, NoSuchTensorError, block_of, describe
from rosetta_ref.quant import TYPES
from rosetta_ref.validate import NothingJudgedError, validate


def of(name: str, kind: str, shape: tuple[int, ...], data: object, offset: int = 0x100) -> Tensor:
    return replace(Tensor.of(name, TYPES[kind], shape, data), file=Path("x.bin"), offset=offset)


def archive(*tensors: Tensor, metadata: dict[str, object] | None = None) -> Archive:
    return Archive("gguf", dict(metadata or {}), {t.name: t for t in tensors}, Path("x.bin"))


def floats(name: str, *values: float, shape: tuple[int, ...] | None = None) -> Tensor:
    return of(name, "F32", shape or (len(values),), np.array(values, "<f4"))


@given(st.integers(0, 70), st.integers(1, 40), st.sampled_from(["F32", "F16", "BF16", "F64", "I32"]), st.integers(0, 9))
def test_chunks_are_the_values_whatever_the_step(count: int, step: int, kind: str, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-100, 100, count)
    dtype = TYPES[kind].dtype[0]
    data = (values.astype("<f4").view("<u4") >> 16).astype("<u2") if kind == "BF16" else values.astype(dtype)
    tensor = of("t", kind, (count,), data)
    chunks = list(streaming.value_chunks(tensor, step))
    assert [start for start, _ in chunks] == list(range(0, count, step))
    assert [float(x) for _, part in chunks for x in part] == values.tolist()


@given(st.integers(1, 200), st.integers(1, 4), st.integers(0, 9))
def test_chunks_of_apr_types_carry_the_scale_and_leave_the_padding(count: int, blocks: int, seed: int) -> None:
    q = np.random.default_rng(seed).integers(-8, 8, count).astype(np.int8)
    eight = of("t", "AprQ8", (count,), np.frombuffer(np.float32(0.5).tobytes() + q.tobytes(), np.uint8))
    padded = np.concatenate([q, np.full(-count % 32, 7, np.int8)]) + 8
    nibbles = padded.astype(np.uint8).reshape(-1, 16, 2)
    packed = b"".join(np.float16(0.5).tobytes() + (b[:, 0] | b[:, 1] << 4).astype(np.uint8).tobytes() for b in nibbles)
    four = of("t", "AprQ4", (count,), np.frombuffer(packed, np.uint8))
    for tensor in (eight, four):
        got = np.concatenate([part for _, part in streaming.value_chunks(tensor, 32 * blocks)])
        assert got.tolist() == (q * 0.5).tolist()


def test_the_place_of_an_element_of_one_block_a_tensor() -> None:
    tensor = of("t", "AprQ8", (3,), b"\0\0\x80\x3f\x01\x02\x03")
    assert [streaming.byte_of(tensor, i) for i in range(3)] == [4, 5, 6]


@given(st.integers(1, 3000), st.data())
def test_validate_counts_every_nan_and_inf_and_says_where_the_first_is(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.dictionaries(st.integers(0, count - 1), st.sampled_from([np.nan, np.inf, -np.inf]), max_size=5))
    values = np.ones(count, "<f4")
    values[list(bad)] = list(bad.values())
    found = {finding.problem: finding for finding in validate(archive(of("t", "F32", (count,), values)))}
    for problem, is_it in (("NaN", np.isnan), ("Inf", np.isinf)):
        places = sorted(place for place, value in bad.items() if is_it(value))
        assert (problem in found) == bool(places)
        if places:
            finding = found[problem]
            assert (finding.count, finding.index, finding.offset) == (len(places), (places[0],), 0x100 + 4 * places[0])
    assert found.keys() <= {"NaN", "Inf"}


def test_validate_says_where_in_a_matrix_of_blocks() -> None:
    blocks = np.zeros(4, TYPES["Q8_0"].dtype)
    blocks["d"], blocks["qs"] = 1, 1
    blocks["d"][3] = np.nan
    report = validate(archive(of("t", "Q8_0", (2, 64), blocks)))
    (finding,) = report
    assert (finding.problem, finding.count, finding.index, finding.offset) == ("NaN", 32, (1, 32), 0x100 + 3 * 34)
    assert str(finding) == "tensor 't': NaN: 32 of 128 elements, first at (1, 32), byte 0x166 of x.bin"


def test_a_nan_behind_the_first_chunk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.ones(streaming.STEP + 5, "<f4")
    values[-1] = np.nan
    (finding,) = validate(archive(of("t", "F32", values.shape, values)))
    assert finding.index == (streaming.STEP + 4,)


def test_explosion_is_of_weights_only() -> None:
    report = validate(
        archive(floats("low", -101, -101), floats("edge", 100, 100), of("n", "I32", (1,), np.array([999], "<i4")))
    )
    assert [(f.tensor, f.problem) for f in report] == [("low", "explosion")]


def test_a_gain_of_a_norm_is_a_number_like_another() -> None:
    """blk.17.post_ffw_norm.weight of the published Gemma 3 270M has a mean of 324.01; bytes read as floats have another."""
    names = ("blk.17.post_ffw_norm.weight", "model.layers.0.input_layernorm.weight")
    assert validate(archive(*(floats(name, 324.01, 324.01) for name in names))).ok
    matrix = floats("blk.0.attn_norm.weight", 324.01, 324.01, shape=(1, 2))
    (finding,) = validate(archive(floats(names[0], 1e35, 1e35), floats("ok", 1.0)))
    assert finding.problem == "explosion"
    assert not validate(archive(matrix)).ok


def test_an_importance_matrix_sums() -> None:
    sums = floats("blk.0.attn_q.weight.in_sum2", 5e3, 5e3, shape=(1, 2))
    assert not validate(archive(sums)).ok
    assert validate(archive(sums, metadata={"general.type": Value.scalar(Kind.STRING, "imatrix")})).ok
    odd = floats("blk.0.attn_q.weight.in_sum2", np.nan, 1.0, shape=(1, 2))
    assert not validate(archive(odd, metadata={"general.type": Value.scalar(Kind.STRING, "imatrix")})).ok
    weights = floats("blk.0.attn_q.weight", 5e3, 5e3, shape=(1, 2))  # no sum, whatever the file calls itself
    assert not validate(archive(weights, metadata={"general.type": Value.scalar(Kind.STRING, "imatrix")})).ok
    several = Value(Kind.ARRAY, ["imatrix", "model"], Kind.STRING)
    assert not validate(archive(sums, metadata={"general.type": several})).ok
    numbers = Value(Kind.ARRAY, np.arange(3, dtype=np.int32), Kind.I32)
    assert not validate(archive(sums, metadata={"general.type": numbers})).ok


def test_a_double_beyond_float32_is_no_infinity() -> None:
    values = np.array([1e300, -1e300], "<f8")
    assert validate(archive(of("t", "F64", (2,), values))).ok
    assert not validate(archive(of("t", "F64", (2,), values[:1].repeat(2)))).ok  # their mean is far beyond 100


def test_zeros_are_mentioned_and_carried_types_are_counted() -> None:
    report = validate(archive(floats("z", 0, 0), floats("v", 1), of("c", "C64", (1,), bytes(8))))
    assert (report.ok, report.all_zero, report.not_judged, report.judged) == (True, ["z"], {"c": "C64"}, 2)


@pytest.mark.parametrize("tensors", [[], [of("c", "C64", (1,), bytes(8))], [of("e", "F32", (0,), b"")]])
def test_nothing_judged_is_an_error(tensors: list[Tensor]) -> None:
    with pytest.raises(NothingJudgedError):
        validate(archive(*tensors))


def test_reports_are_json_whatever_the_numbers() -> None:
    report = validate(archive(floats("t", np.nan, np.inf)))
    json.dumps(report.to_json(), allow_nan=False)
    different = compare(archive(floats("t", np.nan, 1)), archive(floats("t", np.inf, 1)))
    json.dumps(different.to_json(), allow_nan=False)


@given(st.integers(1, 500), st.data())
def test_compare_finds_every_changed_element_and_the_first(count: int, data: st.DataObject) -> None:
    changed = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    left = np.arange(count).astype("<f4")
    right = left.copy()
    right[list(changed)] += 0.5
    result = compare(archive(of("t", "F32", (count,), left)), archive(of("t", "F32", (count,), right, 0x80)))
    assert (result.compared, result.same) == (1, not changed)
    if changed:
        (difference,) = result.differences
        first = min(changed)
        assert (difference.count, difference.index, difference.largest_error) == (len(changed), (first,), 0.5)
        assert difference.first is not None
        assert [place.offset for place in difference.first] == [0x100 + 4 * first, 0x80 + 4 * first]
        assert [int(place.hex, 16) for place in difference.first] == [left.view("<u4")[first], right.view("<u4")[first]]


def test_a_difference_behind_the_first_chunk_is_in_its_place() -> None:
    left = np.zeros(streaming.STEP + 5, "<f4")
    right = left.copy()
    right[-2:] = 1
    pair = (of("t", "F32", values.shape, values) for values in (left, right))
    (difference,) = compare(*map(archive, pair)).differences
    assert (difference.index, difference.count) == ((streaming.STEP + 3,), 2)


def test_tensors_are_paired_by_name_and_by_the_mapping() -> None:
    a, b = archive(floats("x", 1), floats("y", 2)), archive(floats("y", 2), floats("z", 1))
    result = compare(a, b)
    assert (result.compared, result.only_a, result.only_b, result.same) == (1, ["x"], ["z"], False)
    mapped = compare(a, b, {"x": "z"})
    assert (mapped.compared, mapped.equal, mapped.same) == (2, 2, True)


def test_nothing_compared_is_an_error() -> None:
    for a, b in ((archive(), archive()), (archive(floats("x", 1)), archive(floats("y", 1)))):
        with pytest.raises(NothingComparedError):
            compare(a, b)


def test_shapes_that_differ_are_not_compared_by_their_numbers() -> None:
    result = compare(archive(floats("t", 1, 1, shape=(1, 2))), archive(floats("t", 1, 1, shape=(2, 1))))
    assert [(d.what, d.detail) for d in result.differences] == [("shapes", "[1, 2] and [2, 1]")]


def test_types_that_differ_are_compared_by_value_with_nan_for_nan() -> None:
    wide = floats("t", 1.5, np.nan, -0.0)
    narrow = of("t", "F16", (3,), np.array([1.5, np.nan, -0.0], "<f2"))
    result = compare(archive(wide), archive(narrow))
    assert (result.same, result.types) == (True, {"t": ("F32", "F16")})
    unsigned = of("t", "F16", (3,), np.array([1.5, np.nan, 0.0], "<f2"))
    (difference,) = compare(archive(wide), archive(unsigned)).differences
    assert (difference.count, difference.index) == (1, (2,))
    assert difference.first is not None
    assert [place.hex for place in difference.first] == ["0x80000000", "0x0000"]


def test_bytes_of_one_type_must_be_equal_even_where_the_numbers_are() -> None:
    quiet, other = np.array([0x7FC00000, 0], "<u4"), np.array([0x7FC00001, 0], "<u4")
    (difference,) = compare(archive(of("t", "F32", (2,), quiet)), archive(of("t", "F32", (2,), other))).differences
    assert (difference.what, difference.count, difference.index) == ("bytes", 1, (0,))


def test_types_without_a_decoder_are_compared_by_bytes() -> None:
    a, b = bytes(16), bytes(9) + b"\x01" + bytes(6)
    (difference,) = compare(archive(of("t", "C64", (2,), a)), archive(of("t", "C64", (2,), b))).differences
    assert (difference.what, difference.count, difference.index) == ("bytes", 1, (1,))
    assert difference.first is not None
    assert difference.first[1].offset == 0x109


def test_metadata_is_compared_with_its_types() -> None:
    left = {
        "same": Value.scalar(Kind.U32, 1),
        "kind": Value.scalar(Kind.U32, 1),
        "gone": Value.scalar(Kind.STRING, "x"),
    }
    right = {
        "same": Value.scalar(Kind.U32, 1),
        "kind": Value.scalar(Kind.I32, 1),
        "general.name": Value.scalar(Kind.STRING, "y"),
    }
    a, b = archive(floats("t", 1), metadata=left), archive(floats("t", 1), metadata=right)
    result = compare(a, b)
    assert (result.metadata_differ, result.same) == ({"kind": ("U32 1", "I32 1")}, False)
    assert (result.metadata_only_a, result.metadata_only_b) == (["gone"], ["general.name"])
    assert compare(a, b, metadata=False).same
    del left["kind"], right["kind"], left["gone"]
    one_sided = archive(floats("t", 1), metadata=left), archive(floats("t", 1), metadata=right)
    assert not compare(*one_sided).same
    assert compare(*one_sided, same_format=False).same
    dropped = archive(floats("t", 1), metadata=left | {"tokenizer.ggml.pre": Value.scalar(Kind.STRING, "smollm")})
    assert not compare(dropped, one_sided[1], same_format=False).same


def test_a_block_is_shown_field_by_field() -> None:
    blocks = np.zeros(4, TYPES["Q8_0"].dtype)
    blocks["d"], blocks["qs"][3] = 0.5, np.arange(32)
    block = block_of(archive(of("t", "Q8_0", (2, 64), blocks)), "t", 3)
    assert (block.offset, block.first, block.of) == (0x100 + 3 * 34, (1, 32), 4)
    assert [(f.name, f.type, f.offset) for f in block.fields] == [("d", "float16", 0), ("qs", "32xint8", 2)]
    assert (block.fields[0].hex, block.fields[0].values) == ("0038", [0.5])
    assert block.fields[1].hex == bytes(range(32)).hex()
    assert block.decoded == [i / 2 for i in range(32)]


def test_a_block_of_one_block_a_tensor_keeps_its_scale() -> None:
    block = block_of(archive(of("t", "AprQ8", (3,), np.float32(2).tobytes() + b"\x01\xff\x03")), "t", 0)
    assert [(f.name, f.values) for f in block.fields] == [("d", [2.0]), ("qs", [1, -1, 3])]
    assert block.decoded == [2, -2, 6]


def test_blocks_and_tensors_that_are_not_there() -> None:
    model = archive(floats("a.weight", 1))
    with pytest.raises(NoSuchTensorError, match=r"There are: a\.weight"):
        block_of(model, "weight", 0)
    for number in (-1, 1):
        with pytest.raises(NoSuchBlockError):
            block_of(model, "a.weight", number)


def test_a_description_is_json() -> None:
    metadata = {"n": Value.scalar(Kind.F32, float("nan")), "l": Value.array(Kind.STRING, ["a", "b"])}
    about = json.loads(json.dumps(describe(archive(floats("t", 1, 2), metadata=metadata)), allow_nan=False))
    assert about["metadata"] == {
        "n": {"type": "f32", "value": "nan"},
        "l": {"type": "array of string", "value": ["a", "b"]},
    }
    expected = {"name": "t", "type": "F32", "shape": [2], "bytes": 8, "offset": 256, "file": "x.bin"}
    assert about["tensors"] == [expected]
