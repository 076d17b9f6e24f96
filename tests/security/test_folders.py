"""Folders that somebody else has made: replay, explain and shrink refuse what is odd by name, in little time, and run nothing of it."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.cli import main
from rosetta_ref.errors import RosettaError
from rosetta_ref.reduce.folder import output
from rosetta_ref.reduce.folder.expected import load
from rosetta_ref.reduce.folder.folder import place_for
from rosetta_ref.reduce.search.input import copied, files
from rosetta_ref_pytest import is_ours


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def gguf(name: bytes = b"a", values: bytes = struct.pack("<2f", 1, 2)) -> bytes:
    """A file with one tensor of floats."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    table = text(name) + struct.pack("<IQIQ", 1, len(values) // 4, 0, 0)
    return (head + table).ljust(-(-len(head + table) // 32) * 32, b"\0") + values.ljust(32, b"\0")


def record(data: bytes, **changes: Any) -> dict[str, Any]:
    """An expected.json of ours about an input."""
    right = {"name": "a", "type": "F32", "shape": [2], "bytes": "0000803f00000040", "values": ["1", "2"]}
    return {
        "format": 1,
        "fingerprint": {"gate": "F-CONV-001", "kind": "values", "subject": "", "cause": [], "type": "F32"},
        "source_format": "gguf", "target_format": "safetensors", "input": "input.gguf",
        "files": {"input.gguf": hashlib.sha256(data).hexdigest()}, "asked": None, "safetensors_as": "file", "loses": [],
        "converter": {"name": "mine", "command": "touch run {src} {dst}", "function": None},
        "expected": {"a": right}, "wrong": {"count": 1, "first": {}}, "versions": {},
    } | changes  # fmt: skip


def made(folder: Path, data: bytes = gguf(), **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "input.gguf").write_bytes(data)
    (folder / "expected.json").write_text(json.dumps(record(data, **changes)))
    return folder


def replaced(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "expected.json").write_text(json.dumps(record(gguf(), **changes)))


def as_text(words: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "expected.json").write_text(words)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def fingerprint(**changes: Any) -> Callable[[Path], object]:
    return replaced(fingerprint={**record(b"")["fingerprint"], **changes})


def tensor(**changes: Any) -> Callable[[Path], object]:
    return replaced(expected={"a": {**record(b"")["expected"]["a"], **changes}})


def sparse(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


SHA = "0" * 64
SPOILT: dict[str, Callable[[Path], object]] = {
    "expected.json: a pipe": instead("expected.json", os.mkfifo),
    "expected.json: a folder": instead("expected.json", Path.mkdir),
    "expected.json: a link": instead("expected.json", lambda path: path.symlink_to("/etc/hostname")),
    "expected.json: a loop": instead("expected.json", lambda path: path.symlink_to(path.name)),
    "expected.json: 1 TiB": instead("expected.json", sparse(1 << 40)),
    "input.gguf: a pipe": instead("input.gguf", os.mkfifo),
    "input.gguf: a folder": instead("input.gguf", Path.mkdir),
    "input.gguf: a link": instead("input.gguf", lambda path: path.symlink_to("/dev/zero")),
    "input.gguf: 1 TiB": instead("input.gguf", sparse(1 << 40)),
    "no JSON": as_text("{"), "deep": as_text('{"format": 1, "files": ' + "[" * 100_000),
    "deep, but closed": replaced(versions={"a": json.loads("[" * 900 + "]" * 900)}),
    "a key twice": as_text('{"format": 1, "format": 1}'), "NaN": as_text('{"format": NaN}'), "a number": as_text("1"),
    "many digits": as_text('{"format": ' + "1" * 5000 + "}"), "half a pair": as_text('{"format": 1, "input": "\\ud800"}'),
    "not UTF-8": lambda folder: (folder / "expected.json").write_bytes(b"\xff\xfe{}"),
    "format is a list": replaced(format=[1]), "format is 1.5": replaced(format=1.5),
    "files: absolute": replaced(files={"/etc/hostname": SHA}, input="/etc/hostname"),
    "files: upwards": replaced(files={"input/../../x": SHA}), "files: a dot": replaced(files={".": SHA}),
    "files: empty": replaced(files={"": SHA}), "files: NUL": replaced(files={"a\0b": SHA}),
    "files: backslash": replaced(files={"..\\x": SHA}), "files: control": replaced(files={"a\n::error::b": SHA}),
    "files: a long name": replaced(files={"a" * 5000: SHA}), "files: many": replaced(files={f"f{n}": SHA for n in range(5000)}),
    "files: digests of another kind": replaced(files={"input.gguf": 5}), "files: no digest": replaced(files={"input.gguf": ""}),
    "fingerprint: a list": replaced(fingerprint=[]), "fingerprint: gate is a list": fingerprint(gate=["F-CONV-001"]),
    "fingerprint: kind is an object": fingerprint(kind={}), "fingerprint: type is a list": fingerprint(type=[]),
    "fingerprint: causes again and again": fingerprint(cause=["k-scales-bit-stream"] * 100_000),
    "fingerprint: many causes": fingerprint(cause=[f"c{n}" for n in range(50_000)]),
    "fingerprint: long words": fingerprint(subject="x" * 1_000_000), "fingerprint: cause of numbers": fingerprint(cause=[1]),
    "asked: no type": replaced(asked="--output=/tmp/x"), "asked: a list": replaced(asked=[]),
    "wrong: first is a list": replaced(wrong={"count": 1, "first": [1]}), "converter: text": replaced(converter="x"),
    "shape: negative": tensor(shape=[-1]), "shape: huge": tensor(shape=[1 << 70]), "shape: many": tensor(shape=[2] * 100_000),
    "shape: true": tensor(shape=[True]), "type: a list": tensor(type=[]), "bytes: no hex": tensor(bytes="zz"),
    "values: numbers": tensor(values=[1]), "expected: a list": replaced(expected=[1]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_odd_is_refused_by_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "folder")
    SPOILT[name](folder)
    for command in (["replay", str(folder), "--converter", "reference"], ["explain", str(folder)]):
        began = time.process_time()
        assert main(command) == 2
        said = capsys.readouterr().err
        assert (said.count("\n"), str(folder) in said, len(said) < 8000) == (1, True, True), said[:500]
        assert time.process_time() - began < 5
    assert not (folder / "run").exists()


def test_whole_folders_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "folder")
    assert main(["replay", str(folder), "--converter", "reference"]) == 0
    assert main(["explain", str(folder)]) == 0
    assert "data a / values" in capsys.readouterr().out


def test_a_part_of_a_name_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.gguf").write_bytes(gguf())
    files_ = {"input/a.gguf": hashlib.sha256(gguf()).hexdigest()}
    folder = made(tmp_path / "folder", files=files_, input="input")
    (folder / "input").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RosettaError, match="symbolic link"):
        load(folder)


# What explain prints


ACTUAL: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "1 TiB": sparse(1 << 40),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a folder of pipes": lambda path: (path.mkdir(), os.mkfifo(path / "config.json")),
    "a folder with a link": lambda path: (path.mkdir(), (path / "config.json").symlink_to("/etc/passwd")),
    "a folder that is a link": lambda path: path.symlink_to("/etc"),
}


@pytest.mark.parametrize("name", ACTUAL)
def test_odd_outputs_are_refused_by_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "folder")
    ACTUAL[name](folder / "actual.gguf")
    assert main(["explain", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "actual.gguf" in said
    assert "root:" not in said


def test_what_it_prints_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 20_000
    table = b"".join(text(b"%05d" % n) + struct.pack("<IQIQ", 1, 1, 0, 32 * n) for n in range(count))
    data = (b"GGUF" + struct.pack("<IQQ", 3, count, 0) + table).ljust(900_000, b"\1")
    folder = made(tmp_path / "folder", data)
    (folder / "actual.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b'{"a":' * 150_000)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["explain", str(folder)]) == 0
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10
    said = capsys.readouterr().out
    assert 1_000 < len(said) < 2_000_000
    assert "more bytes of the file" in said


def test_names_do_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = gguf("a\x1b[2J\u202e\u2028\n::error::b".encode())
    folder = made(tmp_path / "folder", data)
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert not any(mark in said for mark in ("\x1b", "\u202e", "\u2028", "\n::error"))


# What is written


def test_a_folder_with_anything_else_in_it_stays(tmp_path: Path) -> None:
    way = ("gguf", "safetensors")
    folder = made(tmp_path / "name")
    assert place_for("name", tmp_path, tmp_path / "m.gguf", way) == folder
    for odd in ("input.txt", "actual.notes.md", "input/notes.md", "__pycache__/notes.md", "expected.json.bak"):
        path = folder / odd
        path.parent.mkdir(exist_ok=True)
        path.write_text("somebody's")
        assert place_for("name", tmp_path, tmp_path / "m.gguf", way) == tmp_path / "name-2", odd
        path.unlink()
    (folder / "actual.gguf").symlink_to(tmp_path)
    assert place_for("name", tmp_path, tmp_path / "m.gguf", way) == tmp_path / "name-2"


def test_outputs_are_copied_without_links_and_onto_none(tmp_path: Path) -> None:
    target, secret = tmp_path / "target", tmp_path / "secret"
    target.mkdir()
    secret.write_text("secret")
    (target / "a").write_text("a")
    (target / "link").symlink_to(secret)
    (target / "folder").symlink_to(tmp_path)
    os.mkfifo(target / "pipe")
    output.keep_output(target, tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["a"]
    (tmp_path / "planted").symlink_to(secret)
    with pytest.raises(output.UnwritableError, match="planted"):
        output.keep_output(target / "a", tmp_path / "planted")
    with pytest.raises(RosettaError, match="planted"):
        output.write_text(tmp_path / "planted", "mine")
    assert secret.read_text() == "secret"
    sparse(1 << 40)(target / "a")
    with pytest.raises(RosettaError, match="too large"):
        output.keep_output(target, tmp_path / "kept")


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path / "folder")
    bad = tmp_path / "bad.py"
    bad.write_text("import pathlib\ndef convert(src, dst):\n    pathlib.Path(dst).write_bytes(b'no')\n")

    def full(path: Path, words: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rosetta_ref.reduce.folder.folder.write_text", full)
    asked = [
        "shrink",
        str(folder / "input.gguf"),
        "--to",
        "safetensors",
        "--converter",
        f"{bad}:convert",
        "--max-calls",
        "3",
    ]
    assert main([*asked, "--output", str(tmp_path / "out")]) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_what_shrink_writes_is_what_replay_takes(tmp_path: Path) -> None:
    source = tmp_path / "m.we\x1bird"
    source.write_bytes(gguf("\u202e\n::error::".encode()))
    bad = tmp_path / "bad.py"
    bad.write_text("def convert(src, dst):\n    raise SystemExit('no')\n")
    asked = ["shrink", str(source), "--to", "apr", "--converter", f"{bad}:convert", "--max-calls", "3"]
    assert main([*asked, "--output", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert load(folder).input == "input.gguf"
    assert main(["replay", str(folder), "--converter", "reference"]) == 0
    assert is_ours(folder / "expected.json")


# Inputs


def test_links_out_of_a_model_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert [file.name for file in files(model)] == ["model.safetensors"]
    for name in ("config.json", "x.safetensors", "rosetta"):
        (model / name).symlink_to("/etc/passwd" if name != "rosetta" else "/etc")
        with pytest.raises(RosettaError, match=name):
            copied(model, tmp_path / "copy")
        (model / name).unlink()
    for name in ("config.json", "x.safetensors"):
        os.mkfifo(model / name)
        with pytest.raises(RosettaError, match=name):
            files(model)
        (model / name).unlink()
    blobs = tmp_path / "models--x" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "hash").write_text("{}")
    snapshot = tmp_path / "models--x" / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/hash")
    assert [file.name for file in files(snapshot)] == ["config.json"]
