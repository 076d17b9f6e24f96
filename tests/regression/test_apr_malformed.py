"""Files that break one rule of the container each, built from bytes that can be read."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib

import pytest

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr
from rosetta_ref.formats.apr import errors

ROW_MAJOR = 0x0400
PLAIN = b'{"model_type":"x"}'


def pad(data):
    return data + bytes(-len(data) % 64)


def entry(name, code=0, shape=(1,), offset=0, size=4):
    raw = name if isinstance(name, bytes) else name.encode()
    return struct.pack(f"<H{len(raw)}sBB{len(shape)}QQQ", len(raw), raw, code, len(shape), *shape, offset, size)


def make(entries=(), data=b"", metadata=PLAIN, footer=True, **fields):
    """An APR file; `fields` replace fields of the header, whose checksum is then made right again."""
    index = b"".join(entries)
    head = {
        "magic": b"APR\0", "major": 2, "minor": 0, "flags": ROW_MAJOR, "count": len(entries), "metadata_offset": 64,
        "metadata_size": len(metadata), "index_offset": 64 + len(pad(metadata)),
        "data_offset": 64 + len(pad(metadata)) + len(pad(index)),
    } | fields  # fmt: skip
    head.pop("checksum", None)
    first = struct.pack("<4sBBHIQIQQ", *head.values())
    checksum = fields.get("checksum", zlib.crc32(first + bytes(20)))
    whole = first + struct.pack("<I", checksum) + bytes(20) + pad(metadata) + pad(index) + pad(data)
    return whole + struct.pack("<I", zlib.crc32(whole)) if footer else whole


def read(tmp_path, raw, **options):
    path = tmp_path / "a.apr"
    path.write_bytes(raw)
    return apr.read(path, **options)


ONE = bytes.fromhex("0000803f")


def test_the_builder_builds_a_file_that_is_read(tmp_path):
    archive = read(tmp_path, make([entry("a")], ONE))
    assert archive.metadata == {"model_type": "x"}
    assert archive.tensors["a"].values().tolist() == [1.0]
    assert archive.notes == []


def ggml(said, size=176, shape=(1, 176)):
    return make([entry("a", 7, shape, 0, size)], bytes(size), json.dumps({"rosetta.ggml_types": said}).encode())


REFUSED = {
    "empty file": (b"", errors.TruncatedError, "0 bytes"),
    "magic": (make(magic=b"GGUF"), errors.NotAprError, "47 47 55 46"),
    "version 1": (b"APRN" + bytes(95), errors.OldContainerError, "version 1"),
    "APR1": (b"APR1" + bytes(95), errors.OldContainerError, "APR1"),
    "APR2": (b"APR2" + bytes(95), errors.OldContainerError, "APR2"),
    "version 3": (make(major=3), errors.VersionError, r"3\.0"),
    "version 2.1": (make(minor=1), errors.VersionError, r"2\.1"),
    "header checksum": (make(checksum=7), errors.HeaderChecksumError, "0x00000007"),
    "LZ4": (make(flags=ROW_MAJOR | 1), errors.FlagError, "LZ4"),
    "ZSTD": (make(flags=ROW_MAJOR | 2), errors.FlagError, "ZSTD"),
    "encrypted": (make(flags=ROW_MAJOR | 4), errors.FlagError, "encrypted"),
    "sharded": (make(flags=ROW_MAJOR | 16), errors.FlagError, "sharded"),
    "column-major": (make(flags=0x0800), errors.FlagError, "column-major"),
    "sections": (make(index_offset=0), errors.SectionError, "index at 0"),
    "metadata in the header": (make(metadata_offset=0), errors.SectionError, "metadata at 0"),
    "data far away": (make(data_offset=2**64 - 64), errors.TruncatedError, "the data begin at byte 184467440737"),
    "data misaligned": (make(data_offset=130, data=b"x" * 64), errors.MisalignedError, "130"),
    "metadata too large": (make(metadata_size=2**32 - 1), errors.LimitError, "4294967295"),
    "count": (make(count=2**32 - 1), errors.IndexEntryError, "4294967295 entries"),
    "count one too high": (make([entry("a")], ONE, count=2), errors.TensorNameError, "empty name"),
    "not JSON": (make(metadata=b"{"), errors.MetadataError, "not JSON"),
    "not an object": (make(metadata=b"[]"), errors.MetadataError, "a JSON array"),
    "not UTF-8": (make(metadata=b'{"a":"\xff"}'), errors.MetadataError, "not UTF-8"),
    "key twice": (make(metadata=b'{"a":1,"a":2}'), errors.MetadataError, "'a' twice"),
    "key twice inside": (make(metadata=b'{"b":{"a":1,"a":2}}'), errors.MetadataError, "'a' twice"),
    "NaN": (make(metadata=b'{"a":NaN}'), errors.MetadataError, "NaN"),
    "Infinity": (make(metadata=b'{"a":-Infinity}'), errors.MetadataError, "-Infinity"),
    "too large a float": (make(metadata=b'{"a":1e999}'), errors.MetadataError, "1e999"),
    "nested too deep": (make(metadata=b"[" * 100_000), errors.MetadataError, "nests|not JSON"),
    "digits": (make(metadata=b'{"a":' + b"9" * 10_000 + b"}"), errors.MetadataError, "digits"),
    "name too long": (make([entry("a" * 257)], ONE), errors.LimitError, "257 bytes"),
    "name not UTF-8": (make([entry(b"\xff")], ONE), errors.TensorNameError, "not UTF-8"),
    "name empty": (make([entry("")], ONE), errors.TensorNameError, "empty"),
    "dimensions": (make([entry("a", shape=(1,) * 9)], ONE), errors.LimitError, "9 dimensions"),
    "unsorted": (make([entry("b"), entry("a", offset=64)], ONE * 32), errors.UnsortedIndexError, "greater"),
    "twice": (make([entry("a"), entry("a", offset=64)], ONE * 32), errors.DuplicateNameError, "twice"),
    "unknown type": (make([entry("a", 8 + 3, (256,), 0, 110)], bytes(110)), errors.UnknownTypeError, "Q3_K"),
    "code of ggml": (make([entry("a", 2, (32,), 0, 18)], bytes(18)), errors.UnknownTypeError, "Q4_0, IQ4_NL, AprQ4"),
    "size": (make([entry("a", 0, (2,), 0, 4)], ONE), errors.SizeMismatchError, "F16, BF16, I16 would fit"),
    "ragged": (make([entry("a", 12, (4, 64), 0, 144)], bytes(144)), errors.SizeMismatchError, "row of 64"),
    "overflow": (make([entry("a", 0, (2**62, 4, 16))], ONE), errors.SizeMismatchError, "1180591620717411303424"),
    "misaligned": (make([entry("a", offset=4)], ONE * 2), errors.MisalignedError, "at 4"),
    "overlap": (make([entry("a", 0, (17,), 0, 68), entry("b", offset=64)], ONE * 17), errors.OverlapError, "'a'"),
    "the same data": (make([entry("a"), entry("b")], ONE), errors.OverlapError, "'a'"),
    "behind the file": (make([entry("a", offset=128)], ONE), errors.TruncatedError, "promised"),
    "offset near 2**64": (make([entry("a", offset=2**64 - 64)], ONE), errors.TruncatedError, "promised"),
    "footer": (make([entry("a")], ONE)[:-1] + b"?", errors.FooterChecksumError, "footer says"),
    "trailing": (make([entry("a")], ONE) + b"?", errors.TrailingBytesError, "1 bytes too many"),
    "ggml_types no object": (ggml(7), errors.GgmlTypesError, "not an object"),
    "ggml_types unknown type": (ggml({"a": {"type": "Q9", "shape": [256]}}), errors.GgmlTypesError, "Q9"),
    "ggml_types no shape": (ggml({"a": {"type": "Q5_K"}}), errors.GgmlTypesError, "not a shape"),
    "ggml_types size": (ggml({"a": {"type": "Q5_K", "shape": [1, 512]}}), errors.GgmlTypesError, "352"),
    "ggml_types rows": (ggml({"a": {"type": "Q5_K", "shape": [256]}}), errors.GgmlTypesError, r"\[256\]"),
    "ggml_types ragged": (ggml({"a": {"type": "Q5_K", "shape": [1, 3]}}), errors.GgmlTypesError, "whole number"),
    "ggml_types stray": (ggml({"b": {"type": "Q5_K", "shape": [1, 256]}}), errors.GgmlTypesError, "'b'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_rule(tmp_path, case):
    raw, error, words = REFUSED[case]
    with pytest.raises(error, match=words) as caught:
        read(tmp_path, raw)
    assert type(caught.value) is error
    assert str(tmp_path / "a.apr") in str(caught.value)
    assert caught.value.rule in str(caught.value)


def test_truncated_at_any_byte(tmp_path):
    raw = make([entry("a"), entry("b", 0, (20,), 64, 80)], pad(ONE) + ONE * 20)
    body = len(raw) - 4
    bare = body - 48  # where the bytes of b end and its padding begins
    for length in range(len(raw)):
        if length in (bare, body):  # what the engine realizar writes looks just like that
            assert "no footer checksum" in read(tmp_path, raw[:length]).notes[0]
        else:
            with pytest.raises(errors.AprError):
                read(tmp_path, raw[:length])


def test_every_byte_counts(tmp_path):
    """The header's checksum and the footer notice any byte that is changed."""
    raw = bytearray(make([entry("a")], ONE))
    for at in range(len(raw)):
        raw[at] ^= 0x10
        with pytest.raises(RosettaError):
            read(tmp_path, bytes(raw))
        raw[at] ^= 0x10


def test_no_large_allocation(tmp_path):
    cases = [make(count=2**32 - 1), make(metadata_size=2**32 - 1), make([entry("a", 0, (2**60,), 0, 2**62)], ONE)]
    tracemalloc.start()
    for raw in cases:
        with pytest.raises(RosettaError):
            read(tmp_path, raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_realizar_dialect(tmp_path):
    """No footer, no row-major flag, alias keys: readable, with a note."""
    text = b'{"n_embd":4,"n_vocab":3,"n_layers":1}'
    archive = read(
        tmp_path, make([entry("token_embd.weight", 0, (3, 4), 0, 48)], ONE * 12, text, footer=False, flags=0)
    )
    assert archive.tensors["token_embd.weight"].shape == (3, 4)
    assert any("no footer" in note for note in archive.notes)
    assert len(archive.notes) == 1


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        (b'{"hidden_size":4,"vocab_size":3}', (4, 3), (3, 4)),
        (b'{"hidden_size":4,"vocab_size":3}', (3, 4), (3, 4)),
        (b'{"model.hidden_size":4}', (4, 3), (3, 4)),
        (b'{"d_model":4}', (3, 4), (3, 4)),
        (b'{"tokenizer.vocabulary":["a","b","c"]}', (4, 3), (3, 4)),
    ],
)
def test_the_embedding_decides_where_the_flag_is_missing(tmp_path, text, shape, expected):
    archive = read(tmp_path, make([entry("token_embd.weight", 0, shape, 0, 48)], ONE * 12, text, flags=0))
    assert archive.tensors["token_embd.weight"].shape == expected
    assert any("turned around" in note for note in archive.notes) == (shape != expected)


@pytest.mark.parametrize("text", [PLAIN, b'{"hidden_size":5}', b'{"hidden_size":4,"vocab_size":7}'])
def test_what_cannot_be_decided_is_refused_with_an_option(tmp_path, text):
    raw = make([entry("token_embd.weight", 0, (3, 4), 0, 48)], ONE * 12, text, flags=0)
    with pytest.raises(errors.UndecidableShapesError, match="shapes='ne'"):
        read(tmp_path, raw)
    assert read(tmp_path, raw, shapes="ne").tensors["token_embd.weight"].shape == (4, 3)
    assert read(tmp_path, raw, shapes="row-major").tensors["token_embd.weight"].shape == (3, 4)


@pytest.mark.parametrize(("code", "name"), [(8, "AprQ4"), (9, "AprQ8"), (128, "AprQ4"), (129, "AprQ8")])
def test_legacy_codes(tmp_path, code, name):
    size = {"AprQ4": 2 * 18, "AprQ8": 4 + 45}[name]
    archive = read(tmp_path, make([entry("a", code, (3, 15), 0, size)], bytes(size)))
    assert archive.tensors["a"].type.name == name


def test_padding_that_is_not_zero_is_noted(tmp_path):
    raw = make([entry("a")], ONE + b"\0\0!")
    assert read(tmp_path, raw).notes == ["padding at 0xc4..0x100 is not all zeros"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"hidden_size":4,"n_embd":4}', "beside its alias 'n_embd'"),
        (b'{"n_layer":4,"n_layers":4}', "alias"),
        (b'{"hidden_size":"4"}', "not unsigned"),
        (b'{"model_type":null}', "'model_type' is null"),
    ],
)
def test_metadata_that_others_stumble_over_is_noted(tmp_path, text, words):
    (note, *_) = read(tmp_path, make(metadata=text)).notes
    assert words in note


def test_a_lenient_reading_keeps_what_does_not_fit(tmp_path):
    raw = make([entry("a", 0, (2,), 0, 4), entry("b", 99, (1,), 64, 4), entry("c", offset=128)], (ONE + bytes(60)) * 3)
    archive = read(tmp_path, raw, lenient=True)
    assert {name: type(error) for name, error in archive.ill_fitting.items()} == {
        "a": errors.SizeMismatchError,
        "b": errors.UnknownTypeError,
    }
    assert {name: (entry.code, entry.shape) for name, entry in archive.stated.items()} == {
        "a": (0, (2,)),
        "b": (99, (1,)),
    }
    assert archive.tensors["a"].type.name == "U8"
    assert archive.tensors["a"].shape == (4,)
    assert archive.tensors["c"].values().tolist() == [1.0]
    assert len(archive.notes) == 2
