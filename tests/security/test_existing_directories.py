"""A directory that is converted into again: what it holds besides stays, whoever else works in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging, writing
from rosetta_ref.convert.publish import place
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.formats.output import create
from rosetta_ref.formats.unfinished import (
    HalfPublishedError,
)
from tests.support.journals import forged
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


def test_what_a_directory_holds_besides_stays_the_very_files(tmp_path: Path) -> None:
    hf = tmp_path / "hf"
    rosetta_ref.convert(DEMO, hf)
    hf.chmod(0o2750)
    (hf / "README.md").write_text("mine")
    (hf / "closed").mkdir()
    (hf / "closed" / "inner.txt").write_text("mine")
    os.mkfifo(hf / "pipe")
    (hf / "closed").chmod(0o555)
    (hf / "link").symlink_to("nowhere")
    mine = ("README.md", "closed/inner.txt", "pipe")
    numbers = [os.lstat(hf / name).st_ino for name in mine]
    rosetta_ref.convert(DEMO, hf, force=True)
    assert [os.lstat(hf / name).st_ino for name in mine] == numbers
    assert stat.S_IMODE(hf.stat().st_mode) == 0o2750
    assert stat.S_IMODE((hf / "closed").stat().st_mode) == 0o555
    assert os.readlink(hf / "link") == "nowhere"
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_what_comes_into_a_directory_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf = tmp_path / "hf"
    rosetta_ref.convert(DEMO, hf)
    (hf / "README.md").write_text("mine")
    honest = writing.check

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        (hf / "late.txt").write_text("late")
        (hf / "folder").mkdir(exist_ok=True)
        (hf / "folder" / "late.txt").write_text("late")
        create(hf / ".README", b"edited", replace=True)
        os.replace(hf / ".README", hf / "README.md")
        return honest(*arguments, **named)

    monkeypatch.setattr(writing, "check", meanwhile)
    rosetta_ref.convert(DEMO, hf, force=True)
    assert {(hf / name).read_text() for name in ("late.txt", "folder/late.txt")} == {"late"}
    assert (hf / "README.md").read_text() == "edited"


def test_a_directory_with_names_longer_than_the_system_takes_stays(tmp_path: Path) -> None:
    hf = tmp_path / "hf"
    rosetta_ref.convert(DEMO, hf)
    number, here = hf.stat().st_ino, os.open(hf, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=here)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    rosetta_ref.convert(DEMO, hf, force=True, keep_blocks=False)
    assert hf.stat().st_ino == number
    assert not (hf / "rosetta").exists()
    assert os.fstat(here).st_nlink
    os.close(here)
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_another_conversion_into_the_directory_is_left_alone(tmp_path: Path) -> None:
    hf = tmp_path / "hf"
    rosetta_ref.convert(DEMO, hf)
    with staging.staged(staging.place_of(hf / "other.apr", directory=False)) as other:
        create(other.weights, b"begun")
        rosetta_ref.convert(DEMO, hf, force=True)
        assert other.weights.read_bytes() == b"begun"
    forged(hf / ".m.safetensors.partial")
    before = content(tmp_path)
    with pytest.raises(HalfPublishedError):
        rosetta_ref.convert(DEMO, hf, force=True)
    assert content(tmp_path) == before


def test_a_directory_beside_which_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume of a container, say: it is prepared in the directory itself."""
    monkeypatch.setattr(place, "_can_be_exchanged", lambda _: False)
    hf = tmp_path / "hf"
    hf.mkdir()
    number = hf.stat().st_ino
    for force in (False, True):
        rosetta_ref.convert(DEMO, hf, force=force)
        assert hf.stat().st_ino == number
        assert [path.name for path in tmp_path.iterdir()] == ["hf"]
        assert not list(hf.glob(".*"))
    with pytest.raises(staging.TargetExistsError):
        rosetta_ref.convert(DEMO, hf)
    forged(hf / ".hf.partial", "hf")
    for path in (hf, hf / "model.safetensors"):
        with pytest.raises(HalfPublishedError):
            open_archive(path)


def test_whoever_is_in_the_directory_stays_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf = tmp_path / "hf"
    rosetta_ref.convert(DEMO, hf)
    number = hf.stat().st_ino
    monkeypatch.chdir(hf)
    rosetta_ref.convert(DEMO, Path(), force=True, keep_blocks=False)
    assert os.stat(".").st_ino == number
    assert not (hf / "rosetta").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]
