"""Laws of the GGUF reader and writer: what is written is read again, and in either byte order."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf
from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies.gguf import GGML_TYPES, gguf_archives
from tests.support import exact

_FOLDER = tempfile.TemporaryDirectory()
FILE = Path(_FOLDER.name) / "x.gguf"

#: Widths of what ggml loads as one number, from its C code.
WIDTHS = {
    "F32": [4], "F16": [2], "BF16": [2], "F64": [8], "I8": [1], "I16": [2], "I32": [4], "I64": [8],
    "Q4_0": [2] + [1] * 16, "Q4_1": [2, 2] + [1] * 16, "Q5_0": [2, 4] + [1] * 16, "Q5_1": [2, 2, 4] + [1] * 16,
    "Q8_0": [2] + [1] * 32, "Q8_1": [2, 2] + [1] * 32, "Q2_K": [1] * 80 + [2, 2], "Q3_K": [1] * 108 + [2],
    "Q4_K": [2, 2] + [1] * 140, "Q5_K": [2, 2] + [1] * 172, "Q6_K": [1] * 208 + [2], "Q8_K": [4] + [1] * 256 + [2] * 16,
    "IQ4_NL": [2] + [1] * 16, "IQ4_XS": [2, 2] + [1] * 132, "TQ1_0": [1] * 52 + [2], "TQ2_0": [1] * 64 + [2],
    "MXFP4": [1] * 17, "NVFP4": [1] * 36, "Q1_0": [2] + [1] * 16, "Q2_0": [2] + [1] * 16,
    "IQ2_XXS": [2] + ([1] * 4 + [4]) * 8, "IQ2_XS": [2] + [2] * 32 + [1] * 8, "IQ2_S": [2] + [1] * 80,
    "IQ3_XXS": [2] + [1] * 64 + [4] * 8, "IQ3_S": [2] + [1] * 108, "IQ1_S": [2] + [1] * 32 + [2] * 8,
    "IQ1_M": [1] * 48 + [2] * 4,
}  # fmt: skip


def same(got: Archive, expected: Archive) -> int:
    """Assert that two archives are equal in all that a file holds; the number of things compared."""
    assert list(got.metadata.items()) == list(expected.metadata.items())
    assert list(got.tensors) == list(expected.tensors)
    compared = len(got.metadata)
    for one, other in zip(got.tensors.values(), expected.tensors.values(), strict=True):
        assert (one.name, one.type, one.shape, one.nbytes) == (other.name, other.type, other.shape, other.nbytes)
        assert bytes(one.data) == bytes(other.data)
        compared += 1
    return compared


@given(gguf_archives())
def test_read_gives_what_was_written(archive: Archive) -> None:
    gguf.write(archive, FILE)
    with gguf.read(FILE) as again:
        assert same(again, archive) == len(archive.metadata) + len(archive.tensors)
        assert not again.notes
    first = FILE.read_bytes()
    gguf.write(archive, FILE, lenient=True)
    assert FILE.read_bytes() == first


@given(gguf_archives(lenient=True))
def test_lenient_read_gives_what_was_leniently_written(archive: Archive) -> None:
    gguf.write(archive, FILE, lenient=True)
    with gguf.read(FILE, lenient=True) as again:
        assert same(again, archive) == len(archive.metadata) + len(archive.tensors)


@given(gguf_archives(max_tensors=3))
def test_progress_counts_every_byte(archive: Archive) -> None:
    seen: list[int] = []
    gguf.write(archive, FILE, progress=seen.append)
    alignment = archive.metadata.get("general.alignment", Value.scalar(Kind.U32, 32)).plain()
    assert sum(seen) == FILE.stat().st_size
    assert FILE.stat().st_size % alignment == 0


@pytest.mark.parametrize("kind", GGML_TYPES)
def test_every_type_is_carried(kind: str, tmp_path: Path) -> None:
    block = TYPES[kind]
    data = np.arange(3 * 2 * block.block_bytes, dtype=np.uint32).astype(np.uint8)
    archive = Archive("gguf", {}, {"t": Tensor.of("t", block, (3, 2 * block.elements), data)})
    gguf.write(archive, tmp_path / "t.gguf")
    with gguf.read(tmp_path / "t.gguf") as again:
        assert same(again, archive) == 1


def packed(order: str, data: object) -> bytes:
    """One number, by its bits: NaN payloads do not survive Python's floats."""
    raw = np.asarray(data).tobytes()
    return raw if order == "<" else raw[::-1]


def value_bytes(order: str, value: Value) -> bytes:
    if value.kind is Kind.STRING:
        raw = value.data.encode()
        return struct.pack(order + "Q", len(raw)) + raw
    if value.kind is not Kind.ARRAY:
        return packed(order, value.data)
    out = struct.pack(order + "IQ", value.item, len(value.data))
    for item in value.data:
        if isinstance(item, Value):
            out += value_bytes(order, item)
        else:
            out += value_bytes(order, Value(value.item or Kind.U8, item))
    return out


def swapped(tensor: Tensor) -> bytes:
    """Field after field, back to front."""
    raw, out, place = bytes(tensor.data), [], 0
    while place < len(raw):
        for width in WIDTHS[tensor.type.name]:
            out.append(raw[place : place + width][::-1])
            place += width
    return b"".join(out)


def built(archive: Archive, order: str, version: int) -> bytes:
    """A GGUF file by `struct` alone."""
    out = b"GGUF" + struct.pack(order + "IQQ", version, len(archive.tensors), len(archive.metadata))
    for key, value in archive.metadata.items():
        out += struct.pack(order + "Q", len(key.encode())) + key.encode() + struct.pack(order + "I", value.kind)
        out += value_bytes(order, value)
    alignment = int(archive.metadata["general.alignment"].data) if "general.alignment" in archive.metadata else 32
    data = b""
    for tensor in archive.tensors.values():
        name = tensor.name.encode()
        out += struct.pack(order + "Q", len(name)) + name + struct.pack(order + "I", len(tensor.shape))
        for n in reversed(tensor.shape):
            out += struct.pack(order + "q", n)
        out += struct.pack(order + "IQ", tensor.type.id, len(data))
        data += bytes(tensor.data) if order == "<" else swapped(tensor)
        data += bytes(-len(data) % alignment)
    return out + bytes(-len(out) % alignment) + data


def test_widths_make_a_block_of_every_type() -> None:
    assert {name: sum(widths) for name, widths in WIDTHS.items()} == {n: TYPES[n].block_bytes for n in GGML_TYPES}


@pytest.mark.parametrize("name", list(exact.ORACLES))
def test_a_big_endian_file_holds_the_numbers_that_a_big_endian_machine_reads(name: str) -> None:
    """The values by the formula with every load in the file's order: one oracle reads the file's bytes, the package the file."""
    kind, shape = TYPES[name], (3, 2048)
    little = Tensor.of("t", kind, shape, block_bytes(kind, 6144 // kind.elements, "random", seed=8))
    raw = swapped(little)
    FILE.write_bytes(built(Archive("gguf", {}, {"t": little}), ">", 3))
    assert FILE.read_bytes().count(raw) == 1
    expected = exact.values(name, raw, big=True)
    assert np.count_nonzero(~np.isnan(expected)) > 5000
    with gguf.read(FILE) as archive:
        got = archive.tensors["t"].values().reshape(-1)
        assert archive.tensors["t"].data.tobytes() == little.data.tobytes()
    np.testing.assert_array_equal(got, expected)
    if kind.name not in ("MXFP4", "NVFP4"):
        with np.errstate(all="ignore"):
            assert not np.array_equal(exact.values(name, raw), expected, equal_nan=True), "order does not matter here?"


@given(gguf_archives(types=tuple(WIDTHS)), st.sampled_from("<>"), st.sampled_from([2, 3]))
def test_both_byte_orders_and_versions_are_read(archive: Archive, order: str, version: int) -> None:
    FILE.write_bytes(built(archive, order, version))
    with gguf.read(FILE) as again:
        assert same(again, archive) == len(archive.metadata) + len(archive.tensors)
    if (order, version) == ("<", 3):
        gguf.write(archive, FILE)
        assert FILE.read_bytes() == built(archive, order, version)


@given(st.sampled_from(["F64", "Q5_1", "Q6_K", "Q8_K"]), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_span_of_a_big_endian_tensor_is_swapped(kind: str, data: st.DataObject) -> None:
    block = TYPES[kind]
    raw = np.random.default_rng(1).integers(0, 256, 4 * block.block_bytes, np.uint8)
    archive = Archive("gguf", {}, {"t": Tensor.of("t", block, (4 * block.elements,), raw)})
    FILE.write_bytes(built(archive, ">", 3))
    start = data.draw(st.integers(0, raw.size))
    stop = data.draw(st.integers(start, raw.size))
    with gguf.read(FILE) as again:
        assert bytes(again.tensors["t"].source.read(start, stop)) == bytes(raw[start:stop])


def test_a_vocabulary_is_read_at_the_speed_of_a_plain_loop(tmp_path: Path) -> None:
    """The reader's checks cost no more than an unchecked loop over the same bytes, twice over for noise."""
    words = Value.array(Kind.STRING, [f"token {i} é" for i in range(150_000)])
    gguf.write(Archive("gguf", {"t": words}), tmp_path / "v.gguf")
    raw = (tmp_path / "v.gguf").read_bytes()

    def plain() -> list[str]:
        place, out = 24 + 8 + 1 + 4 + 4 + 8, []
        for _ in range(len(words.data)):
            (length,) = struct.unpack_from("<Q", raw, place)
            out.append(raw[place + 8 : place + 8 + length].decode())
            place += 8 + length
        return out

    def timed(call: object) -> float:
        start = perf_counter()
        assert callable(call)
        call()
        return perf_counter() - start

    assert plain() == words.data
    ours = min(timed(lambda: gguf.read(tmp_path / "v.gguf").close()) for _ in range(5))
    assert ours < 2 * min(timed(plain) for _ in range(5)) + 0.02
