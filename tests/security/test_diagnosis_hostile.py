"""A diagnosis of odd files: it says unknown or raises its own error, in bounded time and memory, and writes nowhere but in its folder."""

from __future__ import annotations

import json
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.diagnosis import Diagnosis, UndiagnosedError, diagnose, explain
from rosetta_ref.diagnosis.replay import part_of
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge.view import look
from rosetta_ref.zoo import MEMBERS

SOME = [MEMBERS[name] for name in ("gate-and-up-exchanged", "q5_0-interleaved")]


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def gguf(path: Path, *tensors: tuple[bytes, list[float]], keys: bytes = b"", count: int = 0) -> Path:
    table, data = b"", b""
    for name, values in tensors:
        table += text(name) + struct.pack("<IQIQ", 1, len(values), 0, len(data))
        made = struct.pack(f"<{len(values)}f", *values)
        data += made.ljust(-(-len(made) // 32) * 32, b"\0")
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + keys + table
    path.write_bytes(head.ljust(-(-len(head) // 32) * 32, b"\0") + data)
    return path


def directory(
    path: Path, config: Any = None, values: bytes = struct.pack("<2f", 2, 1), size: int | None = None
) -> Path:
    path.mkdir()
    nbytes = size if size is not None else len(values)
    head = json.dumps({"a": {"dtype": "F32", "shape": [nbytes // 4], "data_offsets": [0, nbytes]}}).encode()
    with (path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + values)
        file.truncate(8 + len(head) + nbytes)
    if config is not None:
        (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return path


CONFIGS: dict[str, Any] = {
    "architectures is a number": {"architectures": 5}, "architectures is an object": {"architectures": {"a": 1}},
    "model_type is a list": {"model_type": ["llama"]}, "a list": [1], "a number": 5, "deep": "[" * 100_000,
    "deep, but closed": '{"a":' * 900 + "1" + "}" * 900, "rope_parameters is a list": {"rope_parameters": [1]},
    "heads is a list": {"architectures": ["LlamaForCausalLM"], "num_attention_heads": [1], "hidden_size": {}},
    "heads is 2^70": {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 1 << 70, "hidden_size": -1},
    "half a pair": '{"architectures": ["\\ud800"]}', "NaN": '{"rope_theta": NaN, "architectures": ["LlamaForCausalLM"]}',
}  # fmt: skip


def said(source: Path, output: Path) -> list[Diagnosis] | UndiagnosedError:
    """What is said, soon; nothing else is raised."""
    began = time.process_time()
    try:
        found: list[Diagnosis] | UndiagnosedError = diagnose(source, output, members=SOME)
    except UndiagnosedError as error:
        found = error
    assert time.process_time() - began < 5
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_odd_configurations_break_nothing(name: str, tmp_path: Path) -> None:
    source = gguf(tmp_path / "source.gguf", (b"a", [1, 2]))
    found = said(source, directory(tmp_path / "output", CONFIGS[name]))
    assert found or isinstance(found, UndiagnosedError)
    assert said(directory(tmp_path / "source", CONFIGS[name]), gguf(tmp_path / "output.gguf", (b"a", [1, 2])))


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo, "nothing": lambda path: None, "a loop": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"), "empty": lambda path: path.write_bytes(b""),
    "an empty folder": Path.mkdir, "noise": lambda path: path.write_bytes(b"GGUF\3\0\0\0" + b"\xff" * 100),
    "1 TiB": lambda path: directory(path, size=1 << 40), "just too large": lambda path: directory(path, size=65 << 20),
    "a pipe in it": lambda path: (directory(path), os.mkfifo(path / "config.json")),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_outputs_break_nothing(name: str, tmp_path: Path) -> None:
    source = gguf(tmp_path / "source.gguf", (b"a", [1, 2]))
    ODD[name](tmp_path / "output")
    found = said(source, tmp_path / "output")
    assert found == [] or found
    if name in ("1 TiB", "just too large", "nothing", "a loop", "a pipe", "a device"):
        assert isinstance(found, UndiagnosedError)
        assert "output" in str(found)


def test_whatever_breaks_is_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = gguf(tmp_path / "source.gguf", (b"a", [1, 2]))

    def broken(*_: object, **__: object) -> None:
        raise TypeError("unhashable type: 'list'")

    monkeypatch.setattr(explain, "judge", broken)
    with pytest.raises(UndiagnosedError, match=r"output.*TypeError: unhashable"):
        diagnose(source, directory(tmp_path / "output"), members=SOME)


@pytest.mark.parametrize("name", ["{there}/planted", "../planted", "../../planted", "a/../../../planted"])
def test_no_name_of_a_tensor_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a source that is looked at tensor by tensor each one gets a folder."""
    with tempfile.TemporaryDirectory() as there:  # a name has at most 64 bytes
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(below))
        stored = name.format(there=there).encode()
        source = gguf(tmp_path / "source.gguf", (stored, [1, 2]))
        output = gguf(tmp_path / "output.gguf", (stored, [2, 1]))
        assert diagnose(source, output, members=SOME, whole=0)
        assert [list(Path(place).iterdir()) for place in (there, below, tmp_path / "a")] == [[], [], [below]]


@pytest.mark.parametrize("words", [True, False])
def test_files_beside_a_source_are_read_with_care(words: bool, tmp_path: Path) -> None:
    source = directory(tmp_path / "source", {"architectures": ["LlamaForCausalLM"]})
    (source / "secret.json").symlink_to("/etc/passwd")
    (source / "x.json").write_text("no companion")
    with look(source) as view:
        made = part_of(view, "a", tmp_path / "part", words=words)
        assert {path.name for path in made.iterdir()} == {"config.json", "model.safetensors"}
        (source / "config.json").unlink()
        (source / "config.json").symlink_to("/etc/passwd")
        with pytest.raises(RosettaError, match=r"config\.json"):
            part_of(view, "a", tmp_path / "another", words=words)
