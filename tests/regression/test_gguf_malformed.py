"""One file per rule of GGUF: each is refused by the class of its rule, with file and byte, at once."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref import RosettaError
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf
from rosetta_ref.formats.gguf import errors
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import RaggedRowError

U32, I32, BOOL, STRING, ARRAY, U16 = 4, 5, 7, 8, 9, 2
F32, Q4_0 = 0, 2


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(raw: bytes) -> bytes:
    return u64(len(raw)) + raw


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + u32(kind) + value


def info(name: bytes, ne: tuple[int, ...] = (8,), kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + u32(len(ne)) + b"".join(u64(n) for n in ne) + u32(kind) + u64(offset)


def head(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + u32(version) + u64(tensors) + u64(keys)


def made(
    keys: tuple[bytes, ...] = (), infos: tuple[bytes, ...] = (), data: bytes = b"", align: int = 32, pad: bytes = b"\0"
) -> bytes:
    raw = head(len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
    return raw + pad * (-len(raw) % align) + data


def pair(second: int, data: int = 64, first: int = 0) -> bytes:
    """Two tensors of 32 bytes."""
    return made((), (info(b"a", offset=first), info(b"b", offset=second)), bytes(data))


ONE = made((), (info(b"a"),), bytes(32))
ALIGN = b"general.alignment"
DEEP = u32(ARRAY) + u64(1)

#: Name: the file, the class, the byte that is blamed (None: none).
ALWAYS = {
    "empty file": (b"", errors.TruncatedHeaderError, 0),
    "half a magic": (b"GG", errors.NotGgufError, 0),
    "another magic": (b"GGML" + head(0, 0)[4:], errors.NotGgufError, 0),
    "no version": (b"GGUF\x03\0", errors.TruncatedHeaderError, 4),
    "version 0": (head(0, 0, 0), errors.UnknownVersionError, 4),
    "version 1": (head(0, 0, 1), errors.RetiredVersionError, 4),
    "version 1, big-endian": (head(0, 0, 1 << 24), errors.RetiredVersionError, 4),
    "version 4": (head(0, 0, 4), errors.UnknownVersionError, 4),
    "version 2^32 - 1": (head(0, 0, 2**32 - 1), errors.UnknownVersionError, 4),
    "no counts": (head(0, 0)[:8], errors.TruncatedHeaderError, 4),
    "2^64 - 1 tensors": (head(2**64 - 1, 0), errors.NegativeCountError, 8),
    "2^63 - 1 tensors": (head(2**63 - 1, 0), errors.ImpossibleCountError, 24),
    "one tensor too many": (ONE[:8] + u64(4) + ONE[16:], errors.ImpossibleCountError, 24),
    "2^64 - 1 keys": (head(0, 2**64 - 1), errors.NegativeCountError, 16),
    "2^63 - 1 keys": (head(0, 2**63 - 1), errors.ImpossibleCountError, 24),
    "key past the end": (head(0, 1) + u64(20) + bytes(13), errors.TruncatedHeaderError, 32),
    "key of 2^64 - 1 bytes": (head(0, 1) + u64(2**64 - 1) + bytes(13), errors.LongStringError, 24),
    "empty key": (made((key(b"", U32, u32(1)),)), errors.EmptyKeyError, 24),
    "key twice": (made((key(b"k", U32, u32(1)), key(b"k", I32, u32(2)))), errors.DuplicateKeyError, 41),
    "kind 13": (made((key(b"k", 13, bytes(8)),)), errors.UnknownKindError, 33),
    "item kind 13": (made((key(b"k", ARRAY, u32(13) + u64(0)),)), errors.UnknownKindError, 37),
    "number past the end": (head(0, 1) + key(b"k", 12, b"\0\0\0\0"), errors.TruncatedHeaderError, 37),
    "string past the end": (head(0, 1) + key(b"k", STRING, u64(3) + b"ab"), errors.TruncatedHeaderError, 45),
    "string of 2^30 + 1 bytes": (head(0, 1) + key(b"k", STRING, u64(2**30 + 1)), errors.LongStringError, 37),
    "array of 2^64 - 1 items": (head(0, 1) + key(b"k", ARRAY, u32(U32) + u64(2**64 - 1)), errors.LongArrayError, 41),
    "array of 2^30 items": (head(0, 1) + key(b"k", ARRAY, u32(U32) + u64(2**30)), errors.ImpossibleCountError, 49),
    "array of 2^30 strings": (head(0, 1) + key(b"k", ARRAY, u32(STRING) + u64(2**30)), errors.ImpossibleCountError, 49),
    "array of 2^30 arrays": (head(0, 1) + key(b"k", ARRAY, u32(ARRAY) + u64(2**30)), errors.ImpossibleCountError, 49),
    "string in array past the end": (
        head(0, 1) + key(b"k", ARRAY, u32(STRING) + u64(2) + text(b"ab") + u64(1)),
        errors.TruncatedHeaderError,
        67,
    ),
    "string in array of 2^63 bytes": (
        head(0, 1) + key(b"k", ARRAY, u32(STRING) + u64(1) + u64(2**63)),
        errors.LongStringError,
        49,
    ),
    "arrays nested 100,000 deep": (head(0, 1) + key(b"k", ARRAY, DEEP * 100_000), errors.DeepArrayError, None),
    "alignment of 0": (made((key(ALIGN, U32, u32(0)),)), errors.AlignmentValueError, None),
    "alignment of 24": (made((key(ALIGN, U32, u32(24)),)), errors.AlignmentValueError, None),
    "alignment as i32": (made((key(ALIGN, I32, u32(32)),)), errors.AlignmentValueError, None),
    "alignment as string": (made((key(ALIGN, STRING, text(b"32")),)), errors.AlignmentValueError, None),
    "tensor twice": (made((), (info(b"a"), info(b"a", offset=32)), bytes(64)), errors.DuplicateTensorError, 57),
    "33 dimensions": (made((), (info(b"a", (1,) * 33),), bytes(32)), errors.DimensionCountError, 33),
    "2^32 - 1 dimensions": (head(1, 0) + text(b"a") + u32(2**32 - 1) + bytes(12), errors.DimensionCountError, 33),
    "dimensions past the end": (head(1, 0) + text(b"a") + u32(4) + bytes(16), errors.TruncatedHeaderError, 37),
    "dimension of -1": (made((), (info(b"a", (2**64 - 1,)),), bytes(32)), errors.NegativeDimensionError, 33),
    "2^64 elements": (made((), (info(b"a", (2**32, 2**32)),), bytes(32)), errors.HugeTensorError, 33),
    "2^64 elements times nothing": (made((), (info(b"a", (2**32, 2**32, 0)),), b""), errors.HugeTensorError, 33),
    "2^63 bytes": (made((), (info(b"a", (2**61,)),), bytes(32)), errors.HugeTensorError, 24),
    "offset of 2^64 - 32": (made((), (info(b"a", offset=2**64 - 32),), bytes(32)), errors.HugeTensorError, 24),
    "type 4": (made((), (info(b"a", kind=4),), bytes(32)), errors.RemovedTypeError, 24),
    "type 38": (made((), (info(b"a", kind=38),), bytes(32)), errors.RemovedTypeError, 24),
    "type 1000": (made((), (info(b"a", kind=1000),), bytes(32)), errors.UnknownTensorTypeError, 24),
    "type 2^32 - 1": (made((), (info(b"a", kind=2**32 - 1),), bytes(32)), errors.UnknownTensorTypeError, 24),
    "half a block": (made((), (info(b"a", (48,), Q4_0),), bytes(32)), RaggedRowError, 24),
    "a scalar of blocks": (made((), (info(b"a", (), Q4_0),), bytes(32)), RaggedRowError, 24),
    "offset of 31": (pair(31), errors.TensorAlignmentError, 57),
    "overlap": (pair(0, 32), errors.TensorOverlapError, 57),
    "overlap by half": (
        made((), (info(b"a", (16,)), info(b"b", offset=32)), bytes(96)),
        errors.TensorOverlapError,
        57,
    ),
    "data past the end": (ONE[:-1], errors.TruncatedDataError, 24),
    "offset past the end": (pair(2**40), errors.TruncatedDataError, 57),
}  # fmt: skip

#: What lenient reading takes.
BENT = {
    "key not UTF-8": (made((key(b"k\xff", U32, u32(1)),)), errors.TextUtf8Error, 33),
    "string not UTF-8": (made((key(b"k", STRING, text(b"ab\xff")),)), errors.TextUtf8Error, 47),
    "a surrogate in UTF-8": (made((key(b"k", STRING, text(b"\xed\xa0\x80")),)), errors.TextUtf8Error, 45),
    "string in array not UTF-8": (
        made((key(b"k", ARRAY, u32(STRING) + u64(3) + text(b"a") + text(b"\xc3") + text(b"b")),)),
        errors.TextUtf8Error,
        66,
    ),
    "tensor name not UTF-8": (made((), (info(b"\xff"),), bytes(32)), errors.TextUtf8Error, 32),
    "key of 65536 bytes": (made((key(b"k" * 65536, U32, u32(1)),)), errors.LongKeyError, 24),
    "bool of 2": (made((key(b"k", BOOL, b"\x02"),)), errors.BoolValueError, 37),
    "bool of 255 in an array": (made((key(b"k", ARRAY, u32(BOOL) + u64(3) + b"\0\1\xff"),)), errors.BoolValueError, 51),
    "alignment of 4": (made((key(ALIGN, U32, u32(4)),)), errors.SmallAlignmentError, None),
    "name of 65 bytes": (made((), (info(b"a" * 65),), bytes(32)), errors.LongNameError, 24),
    "a gap": (pair(64, 96), errors.TensorGapError, 57),
    "a gap at the beginning": (made((), (info(b"a", offset=32),), bytes(64)), errors.TensorGapError, 24),
    "another order": (pair(0, 64, first=32), errors.TensorGapError, 24),
    "a one in the padding": (
        made((), (info(b"a"),), bytes(32), pad=b"\1"), errors.PaddingValueError, len(head(0, 0)) + 33,
    ),
    "a one in the last padding": (made((), (info(b"a", (1,)),), bytes(31) + b"\1"), errors.PaddingValueError, 95),
    "no last padding": (made((), (info(b"a", (1,)),), bytes(4)), errors.MissingPaddingError, 68),
    "trailing bytes": (ONE + b"\0", errors.TrailingDataError, 96),
    "trailing bytes without tensors": (made() + b"\0" * 32, errors.TrailingDataError, 32),
}  # fmt: skip


def refused(path: Path, *, lenient: bool = False) -> RosettaError:
    """The error of reading a file; in under a second and without a large allocation."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(RosettaError) as caught:
            gguf.read(path, lenient=lenient)
        assert time.perf_counter() - start < 1
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size + (1 << 20)
    finally:
        tracemalloc.stop()
    return caught.value


@pytest.mark.parametrize("name", [*ALWAYS, *BENT])
def test_each_rule_has_its_refusal(name: str, tmp_path: Path) -> None:
    raw, kind, offset = (ALWAYS | BENT)[name]
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    error = refused(path)
    assert type(error) is kind, error
    assert error.file == path
    assert kind.__doc__
    assert error.rule in str(error)
    if offset is not None:
        assert error.offset == offset, str(error)


@pytest.mark.parametrize("name", ALWAYS)
def test_lenient_refuses_what_nobody_takes(name: str, tmp_path: Path) -> None:
    raw, kind, _ = ALWAYS[name]
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    assert type(refused(path, lenient=True)) is kind


@pytest.mark.parametrize("name", BENT)
def test_lenient_takes_the_rest_and_says_so(name: str, tmp_path: Path) -> None:
    raw, kind, _ = BENT[name]
    path = tmp_path / "bent.gguf"
    path.write_bytes(raw)
    with gguf.read(path, lenient=True) as archive:
        assert any(kind.__name__ in note for note in archive.notes)
        for tensor in archive.tensors.values():
            assert len(tensor.data) == tensor.nbytes > 0


FINE = {
    "nothing at all": made(),
    "no padding where there is no data": made((key(b"k", U32, u32(1)),))[:41],
    "version 2": head(0, 0, 2),
    "an empty tensor name": made((), (info(b""),), bytes(32)),
    "a scalar": made((), (info(b"a", ()),), bytes(32)),
    "five dimensions": made((), (info(b"a", (1, 2, 1, 2, 2)),), bytes(32)),
    "a name of 64 bytes": made((), (info(b"a" * 64),), bytes(32)),
    "a dimension of nothing": made((), (info(b"a", (0,)), info(b"b")), bytes(32)),
    "nested arrays": made((key(b"k", ARRAY, u32(ARRAY) + u64(1) + u32(U16) + u64(1) + b"\1\0"),)),
    "alignment of 8": made((key(ALIGN, U32, u32(8)),), (info(b"a"),), bytes(32), align=8),
}


@pytest.mark.parametrize("name", FINE)
def test_what_the_format_allows_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "fine.gguf"
    path.write_bytes(FINE[name])
    with gguf.read(path) as archive:
        assert not archive.notes


def test_every_rule_is_tested() -> None:
    tested = {kind for _, kind, _ in (ALWAYS | BENT).values()}
    only_elsewhere = {
        errors.UnreadableFileError, errors.SplitKeyError, errors.SplitNameError, errors.MissingPartError,
        errors.SplitTensorCountError, errors.NestedArrayError, errors.NulInNameError, errors.UntypedValueError,
        errors.TypeWithoutIdError, errors.TensorSizeError, errors.SplitRemnantError,
    }  # fmt: skip
    rules = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RosettaError)}
    assert rules - tested - only_elsewhere == set()


SMALL = made(
    (
        key(b"a", STRING, text(b"llama")),
        key(b"t", ARRAY, u32(STRING) + u64(2) + text(b"x") + text("é".encode())),
        key(b"n", ARRAY, u32(U16) + u64(3) + bytes(6)),
    ),
    (info(b"a", (32, 2), Q4_0), info(b"b", (3,), offset=64)),
    bytes(range(36)) + bytes(28) + bytes(range(12)) + bytes(20),
)


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(SMALL)
    gguf.read(path).close()
    start = time.perf_counter()
    for size in range(len(SMALL)):
        path.write_bytes(SMALL[:size])
        with pytest.raises(RosettaError):
            gguf.read(path)
    assert time.perf_counter() - start < 5


def test_any_byte_changed_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    blamed: list[Path | str | None] = []
    for place in range(len(SMALL)):
        for value in (0x00, 0x7F, 0xFF):
            path.write_bytes(SMALL[:place] + bytes([value]) + SMALL[place + 1 :])
            try:
                gguf.read(path, lenient=bool(value % 2)).close()
            except RosettaError as error:
                blamed.append(error.file)
    assert set(blamed) == {path}
    assert len(blamed) > len(SMALL) // 2


@pytest.mark.parametrize("target", ["absent.gguf", "."])
def test_a_file_that_cannot_be_read(target: str, tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableFileError):
        gguf.read(tmp_path / target)


# Split models


def part(number: int, count: int, total: int | None, *names: bytes, extra: tuple[bytes, ...] = ()) -> bytes:
    keys = (
        *extra,
        key(b"split.no", U16, struct.pack("<H", number)),
        key(b"split.count", U16, struct.pack("<H", count)),
    )
    keys += () if total is None else (key(b"split.tensors.count", I32, u32(total)),)
    infos = tuple(info(name, offset=32 * i) for i, name in enumerate(names))
    return made(keys, infos, bytes([65 + number]) * 32 * len(names))


def write_parts(folder: Path, *parts: bytes | None) -> list[Path]:
    paths = [folder / f"m-{i + 1:05d}-of-{len(parts):05d}.gguf" for i in range(len(parts))]
    for path, raw in zip(paths, parts, strict=True):
        if raw is not None:
            path.write_bytes(raw)
    return paths


EXTRA = key(b"general.architecture", STRING, text(b"llama"))


@pytest.mark.parametrize("given", [0, 1, 2])
def test_split_files_are_read_whole_from_any_part(given: int, tmp_path: Path) -> None:
    paths = write_parts(tmp_path, part(0, 3, 3, extra=(EXTRA,)), part(1, 3, 3, b"a", b"c"), part(2, 3, 3, b"b"))
    with gguf.read(paths[given]) as archive:
        assert list(archive.metadata.items()) == [("general.architecture", Value(Kind.STRING, "llama"))]
        assert [(t.name, bytes(t.data), t.file) for t in archive.tensors.values()] == [
            ("a", b"B" * 32, paths[1]), ("c", b"B" * 32, paths[1]), ("b", b"C" * 32, paths[2]),
        ]  # fmt: skip
        assert [part.names for part in archive.parts] == [(), ("a", "c"), ("b",)]
        assert [part.map.path for part in archive.parts] == paths


BAD_SPLITS = {
    "a part is missing": ((part(0, 2, 2, b"a"), None), errors.MissingPartError),
    "a tensor in two parts": ((part(0, 2, 2, b"a"), part(1, 2, 2, b"a")), errors.DuplicateTensorError),
    "fewer tensors than announced": ((part(0, 2, 3, b"a"), part(1, 2, 3, b"b")), errors.SplitTensorCountError),
    "a part has another number": ((part(0, 2, 2, b"a"), part(0, 2, 2, b"b")), errors.SplitNameError),
    "a part is of another set": ((part(0, 2, 2, b"a"), part(1, 3, 2, b"b")), errors.SplitNameError),
    "the number of tensors is missing": ((part(0, 2, None, b"a"), part(1, 2, None, b"b")), errors.SplitKeyError),
    "a part only by its name": ((ONE, part(1, 2, 2, b"b")), errors.SplitNameError),
    "the other part is no part": ((part(0, 2, 2, b"b"), ONE), errors.SplitKeyError),
    "split.count is a u32": (
        (made((key(b"split.count", U32, u32(2)),), (info(b"a"),), bytes(32)), part(1, 2, 2, b"b")),
        errors.SplitKeyError,
    ),
}


@pytest.mark.parametrize("name", BAD_SPLITS)
def test_bad_splits(name: str, tmp_path: Path) -> None:
    parts, kind = BAD_SPLITS[name]
    paths = write_parts(tmp_path, *parts)
    error = refused(paths[0])
    assert type(error) is kind, error
    if kind is errors.MissingPartError:
        assert "m-00002-of-00002.gguf" in str(error)


def test_a_part_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(part(0, 2, 2, b"a"))
    assert type(refused(tmp_path / "m.gguf")) is errors.SplitNameError


@pytest.mark.parametrize("count", [0, 1])
def test_a_count_of_one_or_none_is_no_split(count: int, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(part(0, count, 1, b"a"))
    with gguf.read(tmp_path / "m.gguf") as archive:
        assert list(archive.metadata) == ["split.no", "split.count", "split.tensors.count"]
        gguf.write(archive, tmp_path / "n.gguf")
    assert (tmp_path / "n.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


# What cannot be written


def archive(tensor: Tensor | None = None, name: str | None = None, **metadata: object) -> Archive:
    tensors = {} if tensor is None else {name if name is not None else tensor.name: tensor}
    return Archive("gguf", {key.replace("__", "."): value for key, value in metadata.items()}, tensors)


def f32(*shape: int, name: str = "a") -> Tensor:
    return Tensor.of(name, TYPES["F32"], shape, np.zeros(shape, np.float32))


NESTED = Value(Kind.ARRAY, [Value.array(Kind.U8, [1])], Kind.ARRAY)
UNWRITABLE = {
    "plain value": (archive(k="llama"), errors.UntypedValueError, False),
    "plain int": (archive(k=Value(Kind.U32, 1)), errors.UntypedValueError, False),
    "data of another kind": (archive(k=Value(Kind.U32, np.float32(1))), errors.UntypedValueError, False),
    "array of another kind": (archive(k=Value(Kind.ARRAY, np.zeros(2), Kind.F32)), errors.UntypedValueError, False),
    "array of no kind": (archive(k=Value(Kind.ARRAY, [])), errors.UntypedValueError, False),
    "two-dimensional array": (archive(k=Value(Kind.ARRAY, np.zeros((2, 2)), Kind.F64)), errors.UntypedValueError, False),
    "number among strings": (archive(k=Value(Kind.ARRAY, ["a", 1], Kind.STRING)), errors.UntypedValueError, False),
    "empty key": (Archive("gguf", {"": Value.scalar(Kind.U8, 1)}), errors.EmptyKeyError, False),
    "long key": (Archive("gguf", {"k" * 65536: Value.scalar(Kind.U8, 1)}), errors.LongKeyError, True),
    "bool of 2": (archive(k=Value(Kind.BOOL, np.uint8(2))), errors.BoolValueError, True),
    "surrogate escape": (archive(k=Value(Kind.STRING, "\udcff")), errors.TextUtf8Error, True),
    "lone surrogate": (archive(k=Value(Kind.STRING, "\ud800")), errors.TextUtf8Error, False),
    "NUL in a key": (Archive("gguf", {"a\0": Value.scalar(Kind.U8, 1)}), errors.NulInNameError, True),
    "NUL in a name": (archive(f32(1), "a\0b"), errors.NulInNameError, True),
    "nested array": (archive(k=NESTED), errors.NestedArrayError, True),
    "no array among arrays": (
        archive(k=Value(Kind.ARRAY, [Value.scalar(Kind.U8, 1)], Kind.ARRAY)), errors.NestedArrayError, False,
    ),
    "alignment of 12": (archive(general__alignment=Value.scalar(Kind.U32, 12)), errors.AlignmentValueError, False),
    "alignment of 4": (archive(general__alignment=Value.scalar(Kind.U32, 4)), errors.SmallAlignmentError, True),
    "alignment as u64": (archive(general__alignment=Value.scalar(Kind.U64, 32)), errors.AlignmentValueError, False),
    "part of a set": (archive(split__count=Value.scalar(Kind.U16, 2)), errors.SplitRemnantError, False),
    "name of 64 bytes": (archive(f32(1), "é" * 32), errors.LongNameError, True),
    "five dimensions": (archive(f32(1, 1, 1, 1, 1)), errors.DimensionCountError, True),
    "33 dimensions": (archive(Tensor.of("a", TYPES["F32"], (1,) * 33, bytes(4))), errors.DimensionCountError, False),
    "negative dimension": (archive(Tensor.of("a", TYPES["F32"], (-1, -1), bytes(4))), errors.NegativeDimensionError, False),
    "huge and empty": (archive(Tensor.of("a", TYPES["F32"], (0, 2**62, 2), b"")), errors.HugeTensorError, False),
    "type of APR": (archive(Tensor.of("a", TYPES["AprQ4"], (32,), bytes(18))), errors.TypeWithoutIdError, False),
    "type of SafeTensors": (archive(Tensor.of("a", TYPES["U8"], (1,), b"1")), errors.TypeWithoutIdError, False),
    "a byte short": (archive(Tensor.of("a", TYPES["F32"], (1,), bytes(3))), errors.TensorSizeError, False),
    "half a block": (archive(Tensor.of("a", TYPES["Q4_0"], (16,), bytes(9))), RaggedRowError, False),
}  # fmt: skip


@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_bad_archive_is_refused_before_a_byte_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, kind, bent = UNWRITABLE[name]
    path = tmp_path / "out.gguf"
    if bent:
        gguf.write(bad, path, lenient=True)
        with gguf.read(path, lenient=True) as again:
            assert list(again.metadata.items()) == list(bad.metadata.items())
            assert [*again.tensors] == [*bad.tensors]
        path.unlink()
    monkeypatch.setattr(gguf.writer, "write_file", lambda *_, **__: pytest.fail("it was written"))
    with pytest.raises(RosettaError) as caught:
        gguf.write(bad, path)
    assert type(caught.value) is kind
    assert caught.value.file == path
    assert not list(tmp_path.iterdir())
