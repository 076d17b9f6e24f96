"""Pipes, devices, sockets, folders and circles of links where files belong: refused at once by whoever reads, never waited for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rosetta_ref.archive import FileMap
from rosetta_ref.cli import main
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.formats.detect import open_archive, sniff
from tests.support import crafted

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with pipes that have names")

SECONDS = 5.0
SMALL = crafted.gguf([], [crafted.entry("t", [1], 0, 0)], bytes(32))


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Whoever waits for somebody to write into a pipe is stopped."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    """One without end, by a link: to make one takes rights."""
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty" if os.path.exists("/dev/tty") else "/dev/null")


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nothing")


KINDS: dict[str, Callable[[Path], None]] = {
    made.__name__: made for made in (pipe, device, terminal, a_socket, circle, dangling)
}
READERS: dict[str, Callable[[Path], Any]] = {
    "sniff": sniff,
    "FileMap": FileMap,
    "open_archive": open_archive,
    "gguf": gguf.read,
    "apr": apr.read,
    "safetensors": safetensors.read,
    "convert": lambda path: convert(path, path.with_name("out.gguf" if path.suffix == ".apr" else "out.apr")),
}


@pytest.mark.parametrize("suffix", [".gguf", ".apr", ".safetensors", ".index.json", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / ("model" + suffix)
    KINDS[kind](path)
    for name, read in READERS.items():
        with at_once(), pytest.raises(RosettaError) as caught:
            read(path)
        assert caught.value.file == path, name
        assert str(path) in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_commands_end_with_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, good = tmp_path / "m.gguf", tmp_path / "good.gguf"
    KINDS[kind](path)
    good.write_bytes(SMALL)
    for arguments in (
        ["inspect", path],
        ["validate", path],
        ["diff", good, path],
        ["convert", path, tmp_path / "o.apr"],
    ):
        with at_once():
            assert main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        assert out.count("\n") <= 1
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert str(path) in err


@pytest.mark.parametrize("kind", KINDS)
def test_siblings_are_opened_as_carefully(kind: str, tmp_path: Path) -> None:
    """A shard that an index names, the index beside a shard, the second part of a split file, the one file of a folder."""
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"t": "a.safetensors"}}))
    KINDS[kind](shards / "a.safetensors")
    index = tmp_path / "index"
    index.mkdir()
    KINDS[kind](index / "model.safetensors.index.json")
    (index / "model-00001-of-00002.safetensors").write_bytes(crafted.safetensors({}))
    alone = tmp_path / "alone"
    alone.mkdir()
    KINDS[kind](alone / "model.safetensors")
    split = tmp_path / "m-00001-of-00002.gguf"
    keys = [crafted.key(key, 2, value) for key, value in (("split.no", b"\0\0"), ("split.count", b"\2\0"))]
    split.write_bytes(crafted.gguf([*keys, crafted.key("split.tensors.count", 5, bytes(4))]))
    KINDS[kind](tmp_path / "m-00002-of-00002.gguf")
    for path in (shards, index, index / "model-00001-of-00002.safetensors", alone, split):
        with at_once(), pytest.raises(RosettaError) as caught:
            open_archive(path)
        assert Path(str(caught.value.file)).is_relative_to(tmp_path)


def test_a_folder_that_is_named_like_a_file(tmp_path: Path) -> None:
    for suffix, read in ((".gguf", gguf.read), (".apr", apr.read)):
        path = tmp_path / ("folder" + suffix)
        path.mkdir()
        for reader in (read, open_archive):
            with pytest.raises(RosettaError) as caught:
                reader(path)
            assert caught.value.file == path


@pytest.mark.parametrize("name", ["a\0b.gguf", "\ud800.gguf", "x" * 5_000 + ".gguf", "x/" * 3_000 + "m.gguf"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    for read in READERS.values():
        with pytest.raises(RosettaError):
            read(tmp_path / name)
    (tmp_path / "m.gguf").write_bytes(SMALL)
    with pytest.raises(RosettaError):
        convert(tmp_path / "m.gguf", (tmp_path / name).with_suffix(".apr"))
    assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte that is not UTF-8, as Linux allows; what is printed is UTF-8 all the same, and JSON is ASCII."""
    path = tmp_path / os.fsdecode(b"m\xff.gguf")
    try:
        path.write_bytes(SMALL)
    except OSError:
        pytest.skip("the file system has no such names")
    for command in ("inspect", "validate"):
        assert main([command, str(path)]) == 0
        capsys.readouterr().out.encode()
        assert main([command, "--json", str(path)]) == 0
        out = capsys.readouterr().out
        assert out.isascii()
        json.loads(out)
    assert convert(path, tmp_path / os.fsdecode(b"o\xff.apr"), keep_names=True).tensors == 1
