"""A file whose metadata nobody can read is said to be that: it is no tensor that stands twice, and no file that is cut."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.write import write
from rosetta_ref.gate.judge.view import UnreadableError, look
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.search.candidate import Oracle

SAMPLE = build("one", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)


def text(word: str) -> bytes:
    return struct.pack("<Q", len(word.encode())) + word.encode()


def gguf_of(keys: bytes, count: int, names: tuple[str, ...] = ("a.weight",)) -> bytes:
    """A GGUF file of single floats, by ggml's docs/gguf.md."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), count) + keys
    head += b"".join(text(name) + struct.pack("<IQIQ", 1, 1, 0, 32 * place) for place, name in enumerate(names))
    return head + bytes(-len(head) % 32) + struct.pack("<f28x", 1.0) * len(names)


def u32(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def safetensors_of(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + struct.pack("<f", 1.0)


def apr_of(metadata: str, tmp_path: Path) -> bytes:
    """A file of ours with that in the place of its metadata, which is as long: what APR's header says of it stays right."""
    data = write(SAMPLE, "apr", tmp_path / "whole").read_bytes()
    start, size = struct.unpack_from("<QI", data, 12)
    assert json.loads(data[start : start + size])
    made = metadata.encode().ljust(size)
    assert len(made) == size
    return data[:start] + made + data[start + size :]


ONE = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
#: The suffix, the file, and what is said of it.
FILES = {
    "a key twice": (".gguf", gguf_of(u32("a.b", 1) + u32("a.b", 2), 2), "metadata-unreadable"),
    "an alignment of three": (".gguf", gguf_of(u32("general.alignment", 3), 1), "metadata-unreadable"),
    "a value of kind 77": (".gguf", gguf_of(text("a.b") + struct.pack("<II", 77, 1), 1), "metadata-unreadable"),
    "words that sound alike": (
        ".gguf", gguf_of(text("(a name stands twice)") + struct.pack("<II", 77, 1), 1), "metadata-unreadable",
    ),
    "a file that is cut": (".gguf", gguf_of(u32("a.b", 1), 1)[:40], "unreadable"),
    "metadata of numbers": (".safetensors", safetensors_of(f'{{"__metadata__": {{"a": 1}}, {ONE}}}'), "metadata-unreadable"),
    "a tensor twice": (".safetensors", safetensors_of(f"{{{ONE}, {ONE}}}"), "twice"),
    "no JSON": (".safetensors", safetensors_of("{nothing"), "unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_has_its_own_kind(name: str, tmp_path: Path) -> None:
    suffix, data, kind = FILES[name]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        look(path)
    assert caught.value.kind == kind


class Spoils:
    """It writes one APR file, whatever it is given."""

    def __init__(self, data: bytes) -> None:
        self.entry = Entry("spoils", function="none:none", pairs=("G-A",), architectures=("llama",), whole_models=True)
        self._data = data

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        dst.write_bytes(self._data)
        return Run(ACCEPTED, 0)


@pytest.mark.parametrize("metadata", ['{"a": 1, "a": 2}', '{"a": NaN}', "[1]", "nothing"])
def test_gate_and_reducer_say_the_same_of_it(metadata: str, tmp_path: Path) -> None:
    spoils = Spoils(apr_of(metadata, tmp_path))
    results = run(spoils, samples=[SAMPLE], only=["F-CONV-001/one/*", "F-CONV-META-001/*"])
    assert len(results) > 5
    assert {finding.kind for result in results for finding in result.findings} == {"metadata-unreadable"}
    with Workspace() as work:
        seen = Oracle(spoils, "apr", work).look(write(SAMPLE, "gguf", tmp_path / "given"))
    assert [finding.kind for finding in seen.findings] == ["metadata-unreadable"]
