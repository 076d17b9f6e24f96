"""The walk over a file: every byte is told once, in order, whatever the file is; what the tables say of it is right."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.formats.fields import Field, format_of, tensors, walk
from rosetta_ref.gate import malformed
from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.loaded import loaded_dtype
from rosetta_ref.strategies.apr import archives as apr_archives
from rosetta_ref.strategies.gguf import gguf_archives
from rosetta_ref.strategies.safetensors import archives as safetensors_archives
from tests.support import exact

GOLDEN = Path("fixtures/golden")
FILES = sorted(
    path
    for suffix in ("gguf", "apr", "safetensors")
    for path in GOLDEN.rglob(f"*.{suffix}")
    if path.stat().st_size < 120_000
)
_FOLDER = tempfile.TemporaryDirectory()
WRITERS = {"gguf": gguf.write, "apr": apr.write, "safetensors": lambda archive, path: safetensors.write(archive, path)}
ARCHIVES = st.one_of(gguf_archives(max_tensors=3), apr_archives(max_tensors=3), safetensors_archives(max_tensors=3))


def checked(data: bytes, format: str) -> list[Field]:  # noqa: A002
    """The fields, each of which begins where the last ended, and has values; all of them are the file."""
    fields = walk(data, format)
    assert b"".join(field.data for field in fields) == data
    position = 0
    for field in fields:
        assert field.offset == position
        assert field.size > 0
        assert field.values, field
        position = field.end
    for tensor in tensors(data, format):
        assert 0 <= tensor.start <= tensor.stop <= len(data)
        tensor.values(data)
    return fields


def written(archive: Archive) -> bytes:
    path = Path(_FOLDER.name) / f"x.{archive.format}"
    WRITERS[archive.format](archive, path)
    return path.read_bytes()


def labels(fields: list[Field]) -> dict[str, object]:
    return {field.label: field.value for field in fields}


def damaged(data: bytes, cuts: list[tuple[float, bytes]], end: float) -> bytes:
    """Some places overwritten, and the end cut off."""
    made = bytearray(data)
    for at, piece in cuts:
        place = int(at * len(data))
        made[place : place + len(piece)] = piece
    return bytes(made[: int(end * len(made)) + 1])


DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from([b"\xff", b"\0", b"\xff" * 8, b"\0" * 8, b"\1\0\0\0\0\0\0\0", b"{", b'"'])
    ),
    max_size=6,
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_golden_files_are_explained_to_the_last_byte(path: Path) -> None:
    data = path.read_bytes()
    fields = checked(data, format_of(path.name, data))
    unknown = [field for field in fields if field.label == "not explained" or "not " in field.meaning]
    assert bool(unknown) == (path.name == "v1-aprn.apr")


def test_there_are_golden_files_of_each_format() -> None:
    assert {path.suffix for path in FILES} == {".gguf", ".apr", ".safetensors"}
    assert len(FILES) >= 10


@given(ARCHIVES)
def test_what_a_writer_writes_is_explained(archive: Archive) -> None:
    data = written(archive)
    fields = checked(data, archive.format)
    assert not [field for field in fields if field.label == "not explained" or "not " in field.meaning]
    found = tensors(data, archive.format)
    with open_archive(Path(_FOLDER.name) / f"x.{archive.format}") as read:
        assert sorted(tensor.name for tensor in found) == sorted(read.tensors)
        for tensor in found:
            other = read.tensors[tensor.name]
            assert tensor.kind is not None
            assert (tensor.kind.name, tensor.shape) == (other.type.name, other.shape)
            assert data[tensor.start : tensor.stop] == other.data.tobytes()
            values = tensor.values(data)
            if values is not None and other.count:
                np.testing.assert_array_equal(values, other.values().reshape(-1))


@given(ARCHIVES, DAMAGE, st.floats(0, 1))
def test_a_damaged_file_is_walked_to_its_end(archive: Archive, cuts: list[tuple[float, bytes]], end: float) -> None:
    data = damaged(written(archive), cuts, end)
    for name in (archive.format, "gguf", "apr", "safetensors", "other"):
        checked(data, name)


@given(st.binary(max_size=200))
def test_anything_is_walked_as_anything(data: bytes) -> None:
    for name in ("gguf", "apr", "safetensors", "other"):
        checked(data, name)


def one_key_one_tensor(order: str = "<") -> bytes:
    """A GGUF file in which every byte has another place than in its neighbours' files: written out by hand."""
    head = b"GGUF" + struct.pack(order + "IQQ", 3, 1, 1)
    key = struct.pack(order + "Q17sII", 17, b"general.alignment", 4, 64)
    table = struct.pack(order + "Q1sIQQIQ", 1, b"t", 2, 32, 2, 8, 0)
    data = b"".join(
        struct.pack(order + "e32b", scale, *range(first, first + 32)) for scale, first in ((0.5, -16), (2, 0))
    )
    start = len(head + key + table)
    return head + key + table + bytes(-start % 64) + data + bytes(-len(data) % 64)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_fields_of_a_small_file_by_name(order: str) -> None:
    told = labels(checked(one_key_one_tensor(order), "gguf"))
    padding = [told.pop("padding")]
    assert told == {
        "header.magic": b"GGUF", "header.version": 3, "header.tensor_count": 1, "header.key_count": 1,
        "metadata[0] / key length": 17, "metadata[0] / key": b"general.alignment",
        "metadata[0] general.alignment / kind": 4, "metadata[0] general.alignment / value": 64,
        "tensor[0] / name length": 1, "tensor[0] / name": b"t", "tensor[0] t / dimensions": 2,
        "tensor[0] t / dims[0]": 32, "tensor[0] t / dims[1]": 2, "tensor[0] t / type": 8, "tensor[0] t / offset": 0,
        "data t / block 0 / d": 0.5, "data t / block 0 / qs": tuple(range(-16, 16)),
        "data t / block 1 / d": 2.0, "data t / block 1 / qs": tuple(range(32)),
    }  # fmt: skip
    assert padding == [bytes(60)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_in_either_byte_order(order: str) -> None:
    data = one_key_one_tensor(order)
    (tensor,) = tensors(data, "gguf")
    assert (tensor.name, tensor.shape, tensor.order) == ("t", (2, 32), order)
    values = tensor.values(data)
    assert values is not None
    np.testing.assert_array_equal(values, [0.5 * q for q in range(-16, 16)] + [2.0 * q for q in range(32)])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", [name for name, kind in TYPES.items() if kind.id is not None and kind.decode])
def test_the_data_of_every_type_are_the_fields_of_its_blocks(name: str, order: str) -> None:
    """In a big-endian file the bytes are others, and what they mean by the formula is asked of an oracle that reads them so."""
    kind = TYPES[name]
    raw = block_bytes(kind, 3, "random", 7).tobytes()
    head = b"GGUF" + struct.pack(order + "IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 3 * kind.elements, kind.id, 0)
    data = head + bytes(-len(head) % 32) + raw
    fields = [field for field in checked(data, "gguf") if field.group == "data t"]
    assert b"".join(field.data for field in fields) == raw
    names = loaded_dtype(kind).names if order == ">" else kind.dtype.names
    wanted = ["values"] if kind.is_scalar else [f"block {i} / {part}" for i in range(3) for part in names or ()]
    assert [field.label for field in fields] == [f"data t / {part}" for part in wanted]
    assert {field.format[0] for field in fields} == {order}
    (tensor,) = tensors(data, "gguf")
    values = tensor.values(data)
    assert values is not None
    if name in exact.ORACLES:
        np.testing.assert_array_equal(values, exact.values(name, raw, big=order == ">").reshape(-1))


@pytest.mark.parametrize("format", ["gguf", "apr", "safetensors"])
def test_files_that_break_one_rule_are_walked(format: str) -> None:  # noqa: A002
    metadata = {"general.name": Value.scalar(Kind.STRING, "a")} if format == "gguf" else {"name": "a"}
    kept = [Tensor.of(name, TYPES["F16"], (2, 32), bytes(range(128))) for name in ("a", "b")]
    data = written(Archive(format, metadata, {tensor.name: tensor for tensor in kept}))
    made = malformed.from_file(Path(_FOLDER.name) / f"x.{format}", seed=1)
    assert len(made) > 20
    for one in made:
        assert one.data() != data
        checked(one.data(), format)


def test_lies_are_shown_where_they_stand() -> None:
    data = one_key_one_tensor()
    long = data[:24] + struct.pack("<Q", 10**9) + data[32:]
    last = checked(long, "gguf")[-1]
    assert (last.label, last.offset, last.end) == ("not explained", 32, len(data))
    assert last.meaning == f"metadata[0] / key of 1000000000 bytes, {len(data) - 32} are left"
    unknown = data.replace(struct.pack("<IQ", 8, 0), struct.pack("<IQ", 77, 0))
    (field,) = [field for field in checked(unknown, "gguf") if field.label == "data t"]
    assert field.meaning == "type unknown"
    assert field.end == len(data)


def test_tensors_on_top_of_each_other_and_apart() -> None:
    """A: 64 bytes at 0; B: 64 bytes at 32, half of them A's; C: 32 bytes behind a gap."""
    entries = [(b"a", 16, 0), (b"b", 16, 32), (b"c", 8, 192)]
    head = b"GGUF" + struct.pack("<IQQ", 3, 3, 0)
    head += b"".join(struct.pack("<Q1sIQIQ", 1, name, 1, count, 0, offset) for name, count, offset in entries)
    base = -(-len(head) // 32) * 32
    data = head.ljust(base, b"\0") + bytes(range(1, 225)) + b"rubbish"
    told = [(field.label, field.offset - base, field.size) for field in checked(data, "gguf") if field.offset >= base]
    assert told == [
        ("data a / values", 0, 64), ("data b / values", 64, 32), ("not explained", 96, 96), ("data c / values", 192, 32),
        ("not explained", 224, 7),
    ]  # fmt: skip
    assert [tensor.stop - tensor.start for tensor in tensors(data, "gguf")] == [64, 64, 32]


def test_apr_says_whether_its_checksum_is_right() -> None:
    data = (GOLDEN / "apr/every-type.apr").read_bytes()
    assert checked(data, "apr")[-1].meaning == "right"
    wrong = checked(data[:-1] + bytes([data[-1] ^ 1]), "apr")[-1]
    assert wrong.label == "footer.crc32"
    assert wrong.meaning.startswith("not that of the bytes before")


def test_apr_shows_true_types_of_bytes() -> None:
    archive = Archive("apr", {}, {})
    kind = TYPES["Q4_0"]
    archive.tensors["t"] = Tensor.of("t", kind, (2, 32), bytes(36))
    told = labels(checked(written(archive), "apr"))
    assert told["index[0] t / type"] == 7
    assert told["data t / block 1 / d"] == 0.0


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("input.gguf", b"rubbish", "gguf"),
        ("x", b"GGUF", "gguf"),
        ("x.safetensors", b"APR\0", "apr"),
        ("x.safetensors", b"", "safetensors"),
        ("config.json", b"{}", "other"),
    ],
)
def test_formats_go_by_content_then_name(name: str, data: bytes, expected: str) -> None:
    assert format_of(name, data) == expected


def test_padding_that_is_none_is_said() -> None:
    data = bytearray(one_key_one_tensor())
    start = len(data) - 60
    data[start + 3] = 1
    _, padding = [field for field in checked(bytes(data), "gguf") if field.label == "padding"]
    assert (padding.offset, padding.meaning) == (start, "not zeros")


@pytest.mark.parametrize("size", [0, 2, 4, 5])
def test_a_type_of_one_block_cut_short(size: int) -> None:
    archive = Archive("apr", {}, {"t": Tensor.of("t", TYPES["AprQ8"], (3,), bytes(7))})
    data = written(archive).replace(struct.pack("<QQQ", 3, 0, 7), struct.pack("<QQQ", 3, 0, size))
    fields = [field for field in checked(data, "apr") if field.group == "data t"]
    assert [field.label for field in fields] == (
        ["data t / block 0 / d", "data t / block 0 / qs"] if size == 5 else ["data t"] if size else []
    )
