"""One file per rule of the format: each is refused by the class of its rule, with file and byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rosetta_ref.formats import safetensors
from rosetta_ref.formats.safetensors import errors

A = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
ONE = b"\x00\x00\x80\x3f"


def framed(header: bytes, data: bytes = ONE) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype: str = "F32", shape: str = "[1]", offsets: str = "[0,4]", extra: str = "") -> bytes:
    return f'{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}}}'.encode()


MALFORMED = {
    "empty file": (b"", errors.TruncatedLengthError, 0),
    "seven bytes": (b"\x02\0\0\0\0\0\0", errors.TruncatedLengthError, 0),
    "header of 2^64 - 1": (b"\xff" * 8 + b"{}", errors.HeaderTooLargeError, 0),
    "header one too large": (b"\x01\xe1\xf5\x05\0\0\0\0{}", errors.HeaderTooLargeError, 0),
    "header past the end": (b"\x03\0\0\0\0\0\0\0{}", errors.TruncatedHeaderError, 0),
    "not UTF-8": (framed(b'{"\xff":1}', b""), errors.HeaderEncodingError, 10),
    "no header": (framed(b"", b""), errors.HeaderJsonError, 8),
    "byte-order mark": (framed(b"\xef\xbb\xbf{" + A + b"}"), errors.HeaderJsonError, 8),
    "NUL padding": (framed(b"{" + A + b"}\0"), errors.HeaderJsonError, 62),
    "a list": (framed(b"[]", b""), errors.HeaderJsonError, 8),
    "NaN": (framed(b'{"a":NaN}', b""), errors.HeaderJsonError, 8),
    "nested without end": (framed(b"[" * 100_000, b""), errors.HeaderJsonError, 8),
    "half a surrogate pair": (framed(b'{"\\ud800' + A[2:] + b"}"), errors.HeaderJsonError, 8),
    "metadata twice": (framed(b'{"__metadata__":{},"__metadata__":{},' + A + b"}"), errors.MetadataError, 8),
    "metadata with a number": (framed(b'{"__metadata__":{"n":1},' + A + b"}"), errors.MetadataError, 8),
    "metadata as a list": (framed(b'{"__metadata__":[],' + A + b"}"), errors.MetadataError, 8),
    "an entry that is a number": (framed(b'{"a":1}', b""), errors.EntryError, 8),
    "no data_offsets": (framed(b'{"a":{"dtype":"F32","shape":[1]}}'), errors.EntryError, 8),
    "a name twice": (framed(b"{" + A + b"," + A + b"}"), errors.DuplicateEntryError, 8),
    "dtype twice": (framed(entry(extra=',"dtype":"F32"')), errors.EntryError, 8),
    "three offsets": (framed(entry(offsets="[0,4,4]")), errors.EntryError, 8),
    "a float offset": (framed(entry(offsets="[0,4.0]")), errors.EntryError, 8),
    "a bool dimension": (framed(entry(shape="[true]")), errors.EntryError, 8),
    "a negative dimension": (framed(entry(shape="[-1]")), errors.EntryError, 8),
    "minus zero": (framed(entry(shape="[-0]")), errors.EntryError, 8),
    "a dimension of 2^64": (framed(entry(shape="[18446744073709551616]")), errors.EntryError, 8),
    "a dimension of 5,000 digits": (framed(entry(shape=f"[{'1' * 5000}]")), errors.EntryError, 8),
    "a shape that is a number": (framed(entry(shape="1")), errors.EntryError, 8),
    "a dtype in lower case": (framed(entry(dtype="f32")), errors.UnknownDtypeError, 8),
    "a dtype of ggml": (framed(entry(dtype="Q4_K")), errors.UnknownDtypeError, 8),
    "2^64 elements": (framed(entry(shape="[4294967296,4294967296]")), errors.ShapeOverflowError, 82),
    "2^64 bits": (framed(entry(shape="[576460752303423488]")), errors.ShapeOverflowError, 79),
    "three elements of four bits": (
        framed(entry(dtype="F4", shape="[3]", offsets="[0,2]"), b"12"),
        errors.SubByteError,
        61,
    ),
    "too few bytes for the shape": (framed(entry(shape="[2]")), errors.SizeMismatchError, 62),
    "end before start": (framed(entry(offsets="[4,0]")), errors.DataOffsetsError, 66),
    "a hole": (framed(entry(offsets="[4,8]"), ONE * 2), errors.DataOffsetsError, 66),
    "an overlap": (
        framed(b"{" + A + b',"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}', ONE * 2),
        errors.DataOffsetsError,
        117,
    ),
    "offsets near 2^64": (
        framed(entry(offsets="[18446744073709551612,18446744073709551615]")),
        errors.DataOffsetsError,
        None,
    ),
    "trailing bytes": (framed(entry(), ONE + b"\0"), errors.CoverageError, 66),
    "a byte short": (framed(entry(), ONE[:3]), errors.CoverageError, 65),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_each_rule_has_its_refusal(tmp_path: Path, name: str) -> None:
    data, refusal, offset = MALFORMED[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(errors.SafetensorsError) as caught:
        safetensors.read(path)
    assert type(caught.value) is refusal
    assert caught.value.file == path
    assert offset is None or caught.value.offset == offset
    assert caught.value.rule in str(caught.value)


def test_every_rule_is_covered() -> None:
    covered = {refusal for _, refusal, _ in MALFORMED.values()} | {refusal for _, refusal in BAD_SETS.values()}
    writers = {errors.UnwritableTypeError, errors.UnwritableNameError, errors.TensorSizeError, errors.LayoutError}
    declared = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.SafetensorsError)}
    assert declared - {errors.SafetensorsError} == covered | writers | {errors.DuplicateTensorError}


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = framed(
        b'{"__metadata__":{"k":"v"},' + A + b',"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}', ONE + b"abc"
    )
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole)
    safetensors.read(path).close()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(errors.SafetensorsError):
            safetensors.read(path)


def index(weight_map: dict[str, object]) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


INDEX = "model.safetensors.index.json"
GOOD = framed(b"{" + A + b"}")
BOTH = framed(b"{" + A + b',"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', ONE * 2)
AB_IN_X = index({"a": "x.safetensors", "b": "x.safetensors"})
BAD_SETS: dict[str, tuple[dict[str, bytes], type[errors.SafetensorsError]]] = {
    "index is not JSON": ({INDEX: b"{"}, errors.IndexJsonError),
    "index is not UTF-8": ({INDEX: b"\xff"}, errors.IndexJsonError),
    "index is a list": ({INDEX: b"[]"}, errors.IndexJsonError),
    "no weight_map": ({INDEX: b"{}"}, errors.IndexJsonError),
    "two weight_maps": ({INDEX: b'{"weight_map":{},"weight_map":{}}'}, errors.IndexJsonError),
    "file is a number": ({INDEX: index({"a": 1})}, errors.IndexJsonError),
    "named twice": (
        {INDEX: b'{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}'} | {f"{n}.safetensors": GOOD for n in "xy"},
        errors.DuplicateIndexEntryError,
    ),
    "named twice, same file": (
        {INDEX: b'{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}', "x.safetensors": GOOD},
        errors.DuplicateIndexEntryError,
    ),
    "file above the directory": ({INDEX: index({"a": "../x.safetensors"})}, errors.ShardPathError),
    "absolute file": ({INDEX: index({"a": "/x.safetensors"})}, errors.ShardPathError),
    "missing shard": ({INDEX: index({"a": "x.safetensors"})}, errors.MissingShardError),
    "missing tensor": ({INDEX: AB_IN_X, "x.safetensors": GOOD}, errors.MissingTensorError),
    "unlisted tensor": ({INDEX: index({"b": "y.safetensors"}), "y.safetensors": BOTH}, errors.UnlistedTensorError),
    "nothing there": ({"config.json": b"{}"}, errors.NoWeightsError),
    "two models": ({"x.safetensors": GOOD, "y.safetensors": GOOD}, errors.AmbiguousWeightsError),
    "a file and an index of others": (
        {INDEX: index({"a": "x.safetensors"}), "x.safetensors": GOOD, "model.safetensors": GOOD},
        errors.AmbiguousWeightsError,
    ),
    "half a set": ({"model-00001-of-00002.safetensors": GOOD}, errors.MissingShardError),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SETS)
def test_bad_sets_are_refused(tmp_path: Path, name: str) -> None:
    files, refusal = BAD_SETS[name]
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    with pytest.raises(errors.SafetensorsError) as caught:
        safetensors.read(tmp_path)
    assert type(caught.value) is refusal


def test_without_an_index_a_tensor_is_in_one_file_only(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(GOOD)
    with pytest.raises(errors.DuplicateTensorError, match="also in model-00001"):
        safetensors.read(tmp_path)
