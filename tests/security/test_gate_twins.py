"""A converter's own output is broken only where it is small, and nothing outside of it is read."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import pytest

from rosetta_ref.gate import malformed
from rosetta_ref.gate.converter.entry import ACCEPTED, REFUSED, Entry, Run
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.run.engine import run as gate


def safetensors(path: Path, count: int) -> None:
    header = {f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(count))


class Many:
    """Refuses what is ours; what it writes itself, of many tensors, it takes."""

    entry = Entry("many", function="none:none", pairs=("G-S", "S-G"), architectures=("llama",), safetensors_as="file")

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert."""
        if src.suffix == ".gguf":
            safetensors(dst, 6000)
            return Run(ACCEPTED, 0)
        if "given" in str(src):
            return Run(REFUSED, 1, stderr="not mine")
        dst.write_bytes(b"GGUF" * 9)
        return Run(ACCEPTED, 0)


def test_an_own_output_of_many_tensors_is_no_twin() -> None:
    sample = build("llama-f32-tied", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)
    began = time.monotonic()
    (found,) = gate(Many(), samples=[sample], only=["F-CONV-SAFE-001/safetensors/dtype-unknown"])
    assert found.outcome == "Skipped"
    assert "what it wrote itself is none: it holds 6,000 tensors, where 1,000 are few enough" in found.reason
    assert time.monotonic() - began < 20


def test_a_large_foreign_file_is_no_twin(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors(path, 3)
    assert malformed.from_file(path, 0, foreigner=True)
    with path.open("r+b") as file:
        file.truncate(5 << 20)
    with pytest.raises(malformed.NoTwinError, match="5,242,880 bytes"):
        malformed.from_file(path, 0, foreigner=True)
    for head, what in (
        (b"GGUF" + struct.pack("<IQQ", 3, 1001, 0), "1,001 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1001), "1,001 keys"),
    ):
        other = tmp_path / "x.gguf"
        other.write_bytes(head + bytes(100))
        with pytest.raises(malformed.NoTwinError, match=what):
            malformed.from_file(other, 0, foreigner=True)


@pytest.mark.parametrize("name", ["../x.safetensors", "/dev/zero", "pipe.safetensors"])
def test_an_index_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    safetensors(tmp_path / "x.safetensors", 3)
    folder = tmp_path / "model"
    folder.mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"t0": name}}))
    (folder / "config.json").write_text("{}")
    with pytest.raises(malformed.NoTwinError, match=r"outside of the directory|cannot be taken apart"):
        malformed.from_file(folder, 0)


def test_a_header_that_is_nested_is_no_twin(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = b'{"t":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(malformed.NoTwinError):
        malformed.from_file(path, 0, foreigner=True)


def gguf(value: bytes, dimensions: int) -> bytes:
    """One key of a value (its kind first), one tensor of F32."""
    key = struct.pack("<Q", 1) + b"k" + value
    info = (
        struct.pack("<Q", 1)
        + b"t"
        + struct.pack(f"<I{dimensions}QIQ", dimensions, *[4 if dimensions == 1 else 2**63] * dimensions, 0, 0)
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + key + info
    return head + bytes(-len(head) % 32 + 32)


def test_what_is_small_is_taken_apart_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    began = time.process_time()
    path.write_bytes(gguf(struct.pack("<II", 4, 0), 300_000))
    with pytest.raises(malformed.NoTwinError, match="300000 dimensions"):
        malformed.from_file(path, 0, foreigner=True)
    path.write_bytes(gguf(struct.pack("<IIQ", 9, 8, 200_000) + bytes(8 * 200_000), 1))
    assert malformed.from_file(path, 0, foreigner=True)
    path.write_bytes(gguf(struct.pack("<IIQ", 9, 9, 1) * 100_000, 1))
    with pytest.raises(malformed.NoTwinError):
        malformed.from_file(path, 0, foreigner=True)
    assert time.process_time() - began < 10
