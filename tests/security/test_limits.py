"""What a file may ask for: each limit lets pass what it allows, refuses one more, and names itself and the file."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref import limits
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.limits import LimitExceededError
from rosetta_ref.quant import TYPES
from tests.support import crafted

U8, ARRAY, STRINGS = 0, 9, 8


def keys_gguf(count: int) -> bytes:
    return crafted.gguf([crafted.key(f"k{i}", U8, b"\1") for i in range(count)])


def tensors_gguf(count: int) -> bytes:
    return crafted.gguf([], [crafted.entry(f"t{i}", [0], 0, 0) for i in range(count)])


def strings_gguf(count: int) -> bytes:
    return crafted.gguf([crafted.key("a", ARRAY, struct.pack("<IQ", STRINGS, count) + crafted.text("s") * count)])


def nested_gguf(count: int) -> bytes:
    """So many arrays, half of them in each of two keys."""
    inner = count // 2 - 1
    value = struct.pack("<IQ", ARRAY, inner) + struct.pack("<IQ", U8, 0) * inner
    return crafted.gguf([crafted.key("a", ARRAY, value), crafted.key("b", ARRAY, value)])


def header_gguf(size: int) -> bytes:
    """Metadata and tensor table end there."""
    return crafted.gguf([crafted.string("s", "x" * (size - 45))])


def st(entries: dict[str, object], data: bytes = b"") -> bytes:
    return crafted.safetensors(entries, data)


def tensors_st(count: int) -> bytes:
    return st({f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(count)})


def keys_st(count: int) -> bytes:
    return st({"__metadata__": {f"k{i}": "" for i in range(count)}})


def dimensions_st(count: int) -> bytes:
    return st({"t": {"dtype": "U8", "shape": [1] * count, "data_offsets": [0, 1]}}, b"\1")


def depth_st(count: int) -> bytes:
    """Objects and lists within each other, where nobody looks: the header and the entry are two of them."""
    return crafted.safetensors(
        b'{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":' + b"[" * (count - 2) + b"]" * (count - 2) + b"}}"
    )


def items_st(count: int) -> bytes:
    head = b'{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":['
    have = head.count(b",") + head.count(b"[")
    return crafted.safetensors(head + b",".join([b"0"] * (count - have + 1)) + b"]}}")


def keys_apr(count: int) -> bytes:
    return crafted.apr({f"k{i}": 0 for i in range(count)})


def depth_apr(count: int) -> bytes:
    return crafted.apr(b'{"a":' + b"[" * (count - 1) + b"]" * (count - 1) + b"}")


def tensors_apr(count: int) -> bytes:
    return crafted.apr({}, [(f"t{i}", 7, [0], 0, 0) for i in range(count)])


def gap_apr(gap: int) -> bytes:
    """Two tensors with that many bytes of padding in the file, 130 of them not between the two."""
    far = gap - 130
    return crafted.apr({}, [("a", 7, [1], 0, 1), ("b", 7, [1], far, 1)], b"\1" + bytes(far - 1) + b"\1")


CASES: dict[str, tuple[str, Callable[[int], bytes], int, int]] = {
    "GGUF keys": ("metadata-keys", keys_gguf, 5, 6),
    "GGUF tensors": ("tensors", tensors_gguf, 5, 6),
    "GGUF strings": ("strings", strings_gguf, 5, 6),
    "GGUF arrays in arrays": ("nested-arrays", nested_gguf, 12, 14),
    "GGUF header": ("header-bytes", header_gguf, 100_000, 100_001),
    "SafeTensors tensors": ("tensors", tensors_st, 5, 6),
    "SafeTensors keys": ("metadata-keys", keys_st, 5, 6),
    "SafeTensors dimensions": ("dimensions", dimensions_st, 5, 6),
    "SafeTensors depth": ("json-depth", depth_st, 8, 9),
    "SafeTensors items": ("header-items", items_st, 50, 51),
    "APR keys": ("metadata-keys", keys_apr, 5, 6),
    "APR depth": ("json-depth", depth_apr, 8, 9),
    "APR tensors": ("tensors", tensors_apr, 5, 6),
    "APR padding": ("padding-bytes", gap_apr, 1_000_194, 1_000_258),
}


def written(path: Path, data: bytes) -> Path:
    path = path.with_suffix(".gguf" if data[:4] == b"GGUF" else ".apr" if data[:4] == b"APR\0" else ".safetensors")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_met_exactly(name: str, tmp_path: Path) -> None:
    limit, make, most, more = CASES[name]
    good, bad = written(tmp_path / "good", make(most)), written(tmp_path / "bad", make(more))
    with limits.raised({limit: most}):
        open_archive(good).close()
        with pytest.raises(RosettaError, match=str(bad)) as caught:
            open_archive(bad)
    assert type(caught.value).__name__ == ("DepthError" if limit == "json-depth" else "LimitExceededError")
    assert f"--limits {limit}=" in str(caught.value)
    open_archive(bad).close()


@pytest.mark.parametrize(
    "make", [tensors_gguf, *(pytest.param(make, marks=pytest.mark.slow) for make in (tensors_st, tensors_apr))]
)
def test_counts_beyond_16_bits_are_no_attack(make: Callable[[int], bytes], tmp_path: Path) -> None:
    count = (1 << 16) + 10
    with open_archive(written(tmp_path / "m", make(count))) as archive:
        assert len(archive.tensors) == count


@pytest.mark.parametrize("alignment", [1 << 17, 1 << 31])
def test_an_alignment_beyond_the_limit(alignment: int, tmp_path: Path) -> None:
    key = crafted.key("general.alignment", 4, struct.pack("<I", alignment))
    path = written(tmp_path / "m", crafted.gguf([key], [crafted.entry("t", [1], 0, 0)], bytes(32)))
    for lenient in (False, True):
        with pytest.raises(LimitExceededError, match="alignment"):
            open_archive(path, lenient=lenient)


def small_tensors(count: int, alignment: int) -> Archive:
    tensors = {f"t{i}": Tensor.of(f"t{i}", TYPES["F32"], (1,), np.ones(1, np.float32)) for i in range(count)}
    return Archive("gguf", {"general.alignment": Value.scalar(Kind.U32, alignment)}, tensors)


def test_kilobytes_never_become_gigabytes_of_padding(tmp_path: Path) -> None:
    """400 tensors of one number with 64 KiB for each are 26 MB of zeros; what is asked is before anything is written."""
    with pytest.raises(LimitExceededError, match=r"26,212,800.*out\.gguf|out\.gguf.*26,212,800"):
        gguf.write(small_tensors(400, 1 << 16), tmp_path / "out.gguf")
    assert list(tmp_path.iterdir()) == []
    gguf.write(small_tensors(40, 1 << 16), tmp_path / "out.gguf")


def test_padding_is_measured_by_the_data(tmp_path: Path) -> None:
    with limits.raised({"padding-bytes": 100}):
        gguf.write(small_tensors(1000, 64), tmp_path / "out.gguf")  # 64 a tensor are no attack
        with pytest.raises(LimitExceededError):
            gguf.write(small_tensors(1000, 256), tmp_path / "more.gguf")


def test_a_gap_of_a_sparse_file_is_not_walked_through(tmp_path: Path) -> None:
    """Two tensors with 64 GiB between them, which take no room on the disk."""
    far = 64 << 30
    path = tmp_path / "m.apr"
    path.write_bytes(crafted.apr({}, [("a", 7, [1], 0, 1), ("b", 7, [1], far, 1)], b"\1"))
    data_at = struct.unpack_from("<Q", path.read_bytes(), 32)[0]
    os.truncate(path, data_at + far + 64 + 4)
    with pytest.raises(LimitExceededError, match="padding"):
        open_archive(path)


def test_an_index_section_is_not_read_beyond_its_entries(tmp_path: Path) -> None:
    """An APR file whose data begin 64 GiB behind the index."""
    path = tmp_path / "m.apr"
    raw = bytearray(crafted.apr({}, [("a", 7, [1], 0, 1)], b"\1")[:-68])
    far = 64 << 30
    struct.pack_into("<Q", raw, 32, far)
    struct.pack_into("<I", raw, 40, crafted.header_checksum(bytes(raw)))
    path.write_bytes(raw)
    os.truncate(path, far + 64 + 4)
    with pytest.raises(LimitExceededError, match="padding"):
        open_archive(path)


def part(name: str, count: int) -> bytes:
    number = [crafted.key("split.no", 2, struct.pack("<H", 0)), crafted.key("split.count", 2, struct.pack("<H", count))]
    return crafted.gguf([*number, crafted.key("split.tensors.count", 5, struct.pack("<i", 0))])


def test_names_of_parts_are_not_tried_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m-00001-of-65535.gguf"
    path.write_bytes(part("m", 65_535))
    tried: list[Path] = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: tried.append(self) or exists(self))
    with pytest.raises(LimitExceededError, match="parts"):
        open_archive(path)
    assert not [name for name in tried if name.name.startswith("m-")]


def test_an_index_of_very_many_files(tmp_path: Path) -> None:
    weight_map = {f"t{i}": f"{i}.safetensors" for i in range(1025)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(LimitExceededError, match="parts"):
        open_archive(tmp_path)


def test_a_converted_file_asks_no_more(tmp_path: Path) -> None:
    """An alignment that the metadata bring along is the writer's as well."""
    keys = [
        crafted.key("general.alignment", 4, struct.pack("<I", 1 << 16)),
        crafted.string("general.architecture", "x"),
    ]
    data = bytes(1 << 16) * 300
    entries = [crafted.entry(f"t{i}", [1], 0, i << 16) for i in range(300)]
    path = written(tmp_path / "m", crafted.gguf(keys, entries, data, align=1 << 16))
    with limits.raised({"padding-bytes": 1 << 30}):
        convert(path, tmp_path / "m.apr", keep_names=True)
    with pytest.raises(LimitExceededError, match="padding"):
        convert(tmp_path / "m.apr", tmp_path / "out.gguf", keep_names=True)
    assert not (tmp_path / "out.gguf").exists()
