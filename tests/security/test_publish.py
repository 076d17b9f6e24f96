"""What is checked is what is published: nothing that changes, comes or is named otherwise in between."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging, writing
from rosetta_ref.convert import target as target_plans
from rosetta_ref.convert.publish import disk, names
from rosetta_ref.convert.publish.rules import ChangedAfterCheckError
from rosetta_ref.convert.target import Plan
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.output import WriteError, create, open_new, write_file
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


# --- the check is the last thing


@pytest.mark.parametrize("target", ["m.apr", "m.safetensors", "hf"])
def test_what_changes_after_the_check_is_not_published(tmp_path: Path, target: str) -> None:
    def spoils(source: Path, written: Path) -> str:
        path = written / "model.safetensors" if written.is_dir() else written
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        return "all is well"

    with pytest.raises(ChangedAfterCheckError):
        rosetta_ref.convert(DEMO, tmp_path / target, verify=spoils)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["m.apr", "m.safetensors", "hf"])
def test_what_comes_after_the_check_is_not_published(tmp_path: Path, target: str) -> None:
    def adds(source: Path, written: Path) -> str:
        ((written if written.is_dir() else written.parent) / "conftest.py").write_text("")
        return "all is well"

    with pytest.raises(ChangedAfterCheckError, match=r"conftest\.py"):
        rosetta_ref.convert(DEMO, tmp_path / target, verify=adds)
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_planned_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = safetensors.write

    def writes_more(archive: Any, path: Path, **options: Any) -> None:
        honest(archive, path, **options)
        (path.parent / "numpy.py").write_text("")

    monkeypatch.setattr(safetensors, "write", writes_more)
    with pytest.raises(names.PublishedNameError, match=r"numpy\.py"):
        rosetta_ref.convert(DEMO, tmp_path / "hf", keep_blocks=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b.apr", "\ud800.apr", "hf\0", "\ud800"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(RosettaError, match=r"NUL|surrogate"):
        rosetta_ref.convert(DEMO, tmp_path / name)
    with pytest.raises(RosettaError):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr", checksums=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors", "Model.safetensors", "model-00001-of-00001.safetensors", "rosetta/source.json", "rosetta/blocks.safetensors",
        "conftest.py", ".bash_profile", "../config.json", "sub/config.json", "CONFIG.JSON",
    ],
)  # fmt: skip
def test_no_file_beside_takes_the_place_of_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a plan says: the names that it is made of come from a file."""
    monkeypatch.setattr(writing, "planned_names", lambda plan: [])
    honest = target_plans.plan_safetensors

    def plan(*arguments: Any, **named: Any) -> Plan:
        made: Plan = honest(*arguments, **named)
        made.files[name] = b"NaN"
        return made

    monkeypatch.setattr(target_plans, "plan_safetensors", plan)
    monkeypatch.setitem(inspect.unwrap(rosetta_ref.convert).__globals__, "planned_names", lambda plan: [])
    for target in ("hf", "m.safetensors", "model.safetensors"):
        with pytest.raises(names.PublishedNameError):
            rosetta_ref.convert(DEMO, tmp_path / target)
    assert list(tmp_path.iterdir()) == []


def test_everything_is_there_when_it_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    honest = writing.check

    def check(written: Any, *arguments: Any, **named: Any) -> Any:
        folder = written.path if written.path.is_dir() else written.path.parent
        seen.append({path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()})
        return honest(written, *arguments, **named)

    monkeypatch.setattr(writing, "check", check)
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    published = {
        path.relative_to(tmp_path / "hf").as_posix() for path in (tmp_path / "hf").rglob("*") if path.is_file()
    }
    assert seen[-1] == published


def test_a_remembered_index_is_the_one_that_is_checked(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", max_shard_size=150_000, keep_blocks=False)
    index = tmp_path / "hf" / safetensors.INDEX_NAME
    index.write_text(index.read_text().replace("\n", "\n "))  # the same, spelled otherwise
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "back")
    assert (tmp_path / "back" / safetensors.INDEX_NAME).read_bytes() == index.read_bytes()


@pytest.mark.parametrize("force", [False, True])
def test_a_link_in_the_place_of_a_directory_leads_nowhere(tmp_path: Path, force: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    if force:
        (tmp_path / "elsewhere" / "config.json").write_text("precious")
    (tmp_path / "hf").symlink_to("elsewhere")
    before = content(tmp_path)
    with pytest.raises(RosettaError, match="it is a link"):
        rosetta_ref.convert(DEMO, tmp_path / "hf", force=force)
    assert content(tmp_path) == before
    (tmp_path / "way").symlink_to(".")  # a link on the way to it is the user's own
    rosetta_ref.convert(DEMO, tmp_path / "way" / "new")
    assert (tmp_path / "new" / "model.safetensors").exists()


@pytest.mark.parametrize("target", ["m.safetensors", "hf"])
def test_an_empty_folder_of_somebodys_stays(tmp_path: Path, target: str) -> None:
    base = tmp_path if target == "m.safetensors" else tmp_path / "hf"
    for name in ("rosetta", "additional_chat_templates", "mine"):
        (base / name).mkdir(parents=True)
    rosetta_ref.convert(DEMO, tmp_path / target, keep_blocks=False, force=True)
    assert (base / "mine").is_dir()
    if target == "m.safetensors":
        assert (base / "rosetta").is_dir()
        assert (base / "additional_chat_templates").is_dir()


# --- single steps


def test_a_new_file_is_new(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    (tmp_path / "link").symlink_to("there")
    for name in ("there", "link"):
        with pytest.raises(WriteError, match=name):
            create(tmp_path / name, b"mine")
    assert (tmp_path / "there").read_text() == "precious"
    os.close(open_new(tmp_path / "link", replace=True))
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "a\0b", tmp_path / "no" / "such"):
        with pytest.raises(WriteError):
            create(path, b"", replace=True)


def test_a_file_that_another_one_writes_is_not_given_a_name(tmp_path: Path) -> None:
    def planted(count: int) -> None:
        (tmp_path / ".m.bin.partial").unlink()
        (tmp_path / ".m.bin.partial").write_text("another's")

    with pytest.raises(WriteError, match="another one"):
        write_file(tmp_path / "m.bin", [b"mine"], progress=planted)
    assert content(tmp_path).keys() == {".m.bin.partial"}


@pytest.mark.parametrize("target", ["m.gguf", "hf"])
def test_a_target_that_is_made_meanwhile_is_not_replaced(target: str, tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "source.apr")

    def made(source: Path, written: Path) -> str:
        (tmp_path / target).write_text("somebody's")
        return "all is well"

    with pytest.raises(RosettaError, match=target):
        rosetta_ref.convert(tmp_path / "source.apr", tmp_path / target, verify=made)
    assert (tmp_path / target).read_text() == "somebody's"
    with pytest.raises(FileExistsError):
        disk.rename_new(tmp_path / "source.apr", tmp_path / target)


def test_an_error_in_the_middle_takes_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "m.safetensors")
    before, honest = content(tmp_path), disk.move
    for which in range(1, 8):
        calls: list[str] = []

        def fails(base: Path, name: str, *rest: Any, which: int = which, calls: list[str] = calls) -> None:
            calls.append(name)
            if len(calls) == which:
                raise OSError(28, "No space left on device")
            honest(base, name, *rest)

        monkeypatch.setattr(disk, "move", fails)
        with pytest.raises(WriteError, match=r"m\.safetensors.*No space"):
            rosetta_ref.convert(DEMO, tmp_path / "m.safetensors", force=True)
        assert content(tmp_path) == before


def test_without_descriptors_of_folders_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: no lock, no exchange, nothing by descriptor."""
    monkeypatch.setattr(disk, "_BY_DESCRIPTOR", False)
    monkeypatch.setattr(disk, "_system_call", lambda: None)
    monkeypatch.setattr(staging, "fcntl", None)
    for target in ("m.safetensors", "hf"):
        for _ in range(2):
            rosetta_ref.convert(DEMO, tmp_path / target, force=True)
    (tmp_path / "hf" / "rosetta" / "source.json").unlink()
    (tmp_path / "hf" / "rosetta" / "blocks.safetensors").unlink()
    (tmp_path / "hf" / "rosetta").rmdir()
    (tmp_path / "hf" / "rosetta").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        disk.move(tmp_path, "m.safetensors", tmp_path / "hf", "rosetta/m.safetensors")
    assert not list(tmp_path.glob(".*"))


def test_a_system_without_all_that_imports_and_works(tmp_path: Path) -> None:
    program = """
import os, sys
for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "geteuid", "chown", "mkfifo"):
    delattr(os, name)
os.supports_dir_fd, os.supports_follow_symlinks = set(), set()
sys.modules["fcntl"] = None
from rosetta_ref.convert import convert
for target in ("hf", "hf", "m.safetensors", "m.safetensors", "m.apr"):
    convert(sys.argv[1], os.path.join(sys.argv[2], target), force=True)
"""
    subprocess.run([sys.executable, "-c", program, DEMO, tmp_path], check=True)
    assert not list(tmp_path.glob(".*"))
    assert {"hf", "m.safetensors", "m.apr"} <= {path.name for path in tmp_path.iterdir()}
