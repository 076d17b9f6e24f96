"""Journals that somebody planted: what is followed, and that nothing elsewhere is moved, removed or read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.formats.output import create
from rosetta_ref.formats.unfinished import (
    JOURNAL,
    MARK,
    HalfPublishedError,
    JournalError,
    ReplacedWhileReadError,
    steady,
)
from tests.support.journals import forged
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


# --- journals


def test_a_journal_that_is_right_is_followed(tmp_path: Path) -> None:
    forged(tmp_path / ".m.safetensors.partial")
    with pytest.raises(staging.TargetExistsError):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors")
    assert content(tmp_path).keys() == {"m.safetensors"}
    assert (tmp_path / "m.safetensors").read_text() == "weights"


OUTSIDE = [
    "../victim",
    "/etc/victim",
    "rosetta/../victim",
    "victim",
    "conftest.py",
    ".bashrc",
    "",
    ".",
    "..",
    "a\0b",
    "rosetta/victim",
]


@pytest.mark.parametrize("list_name", ["new", "old"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_journal_names_only_what_publishing_writes(tmp_path: Path, name: str, list_name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for victim in (tmp_path / "victim", work / "victim", work / "conftest.py", work / ".bashrc"):
        victim.write_text("precious")
    number = (tmp_path / "victim").stat().st_ino
    inside = (work / name).stat().st_ino if name in ("victim", "conftest.py", ".bashrc") else number
    forged(work / ".m.safetensors.partial")
    record = json.loads((work / ".m.safetensors.partial" / JOURNAL).read_text())
    record[list_name].append([name, inside])
    (work / ".m.safetensors.partial" / JOURNAL).write_text(json.dumps(record))
    before = content(tmp_path)
    with pytest.raises(JournalError) as caught:
        rosetta_ref.convert(DEMO, work / "m.safetensors", force=True)
    assert caught.value.file == work / ".m.safetensors.partial" / JOURNAL
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"version": True}, {"bound": None}, {"bound": [1, 2, 3]}, {"base": None}, {"base": 1}, {"base": True}, {"target": "other.safetensors"}, {"target": "../m"},
        {"directory": 1}, {"directory": True}, {"manifest": 5}, {"manifest": "../m"}, {"new": None}, {"new": {}, "old": 3},
        {"new": [["m.safetensors"]]}, {"new": [["m.safetensors", "1"]]}, {"new": [["m.safetensors", 1]]}, {"new": [[[], 1]]},
        {"new": [["m.safetensors", 1], ["m.safetensors", 1]]}, {"old": [["config.json", 2**70]], "more": 1}, {"old": "ab"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_journal_is_as_it_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    forged(tmp_path / ".m.safetensors.partial", **changes)
    before = content(tmp_path)
    with pytest.raises(JournalError, match=r"PUBLISHING\.json"):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors", force=True)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100_000, b'{"a":1,"a":2}', b"\xff", b"[]", b"3", b"NaN", b'{"version":1e400}', b'"\\ud800"'],
    ids=lambda data: repr(data[:12]),
)
def test_a_journal_is_foreign_text(tmp_path: Path, data: bytes) -> None:
    forged(tmp_path / ".m.gguf.partial", "m.gguf")
    (tmp_path / ".m.gguf.partial" / JOURNAL).write_bytes(data)
    before = content(tmp_path)
    with pytest.raises(RosettaError, match=r"PUBLISHING\.json"):
        rosetta_ref.convert(DEMO, tmp_path / "m.gguf", type="Q8_0")
    assert content(tmp_path) == before


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "huge"])
def test_a_journal_is_a_file(tmp_path: Path, kind: str) -> None:
    folder = forged(tmp_path / ".m.apr.partial", "m.apr")
    path = folder / JOURNAL
    path.rename(tmp_path / "kept.json")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "kept.json")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(RosettaError, match=r"PUBLISHING\.json"):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr", force=True)
    assert (folder / "new" / "m.apr").read_text() == "weights"


def test_a_journal_that_came_with_an_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    number = (tmp_path / "config.json").stat().st_ino
    forged(tmp_path / "packed" / ".m.safetensors.partial", old=[["config.json", number]])
    shutil.copytree(tmp_path / "packed", tmp_path, dirs_exist_ok=True)
    before = content(tmp_path)
    with pytest.raises(JournalError, match="written in this folder"):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors", force=True)
    assert content(tmp_path) == before
    # Nor does it keep anybody from reading.
    rosetta_ref.convert(DEMO, tmp_path / "packed" / "other.safetensors")
    shutil.move(tmp_path / "packed" / "other.safetensors", tmp_path / "m.safetensors")
    open_archive(tmp_path / "m.safetensors").close()


def test_a_mark_that_was_touched_binds_nothing(tmp_path: Path) -> None:
    """The file numbers may be guessed; when the mark last changed is not for an archive to say."""
    folder = forged(tmp_path / ".m.apr.partial", "m.apr")
    os.utime(folder / MARK, ns=(1, 1))
    with pytest.raises(JournalError, match="written in this folder"):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr", force=True)


@pytest.mark.parametrize("change", ["new gone", "new another", "old another", "in the way"])
def test_a_file_that_is_not_the_one_meant_stays(tmp_path: Path, change: str) -> None:
    (tmp_path / "config.json").write_text("old")
    number = (tmp_path / "config.json").stat().st_ino
    folder = forged(tmp_path / ".m.safetensors.partial", old=[["config.json", number]])
    if change == "new gone":
        (folder / "new" / "m.safetensors").unlink()
    elif change == "new another":
        create(folder / "new" / "another", b"weights")
        os.replace(folder / "new" / "another", folder / "new" / "m.safetensors")
    elif change == "old another":
        create(tmp_path / "another", b"somebody's")
        os.replace(tmp_path / "another", tmp_path / "config.json")
    else:
        (tmp_path / "m.safetensors").write_text("somebody's")
    before = content(tmp_path)
    with pytest.raises(JournalError, match="Nothing was touched"):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors", force=True)
    assert content(tmp_path) == before


def test_a_journal_writes_through_no_link(tmp_path: Path) -> None:
    """Its folder `rosetta` is a link by now: what waits for it is not put where that leads."""
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = forged(work / ".m.safetensors.partial")
    (folder / "new" / "rosetta").mkdir()
    (folder / "new" / "rosetta" / "source.json").write_text("{}")
    record = json.loads((folder / JOURNAL).read_text())
    record["new"].insert(0, ["rosetta/source.json", (folder / "new" / "rosetta" / "source.json").stat().st_ino])
    (folder / JOURNAL).write_text(json.dumps(record))
    (work / "rosetta").symlink_to(elsewhere)
    with pytest.raises(RosettaError):
        rosetta_ref.convert(DEMO, work / "m.safetensors", force=True)
    assert list(elsewhere.iterdir()) == []


# --- readers of what is half published


@pytest.mark.parametrize("name", ["m.safetensors", "m.gguf", "m.apr"])
def test_a_half_published_target_is_not_read(tmp_path: Path, name: str) -> None:
    forged(tmp_path / f".{name}.partial", name)
    with pytest.raises(HalfPublishedError, match="Run a conversion onto that target again"):
        open_archive(tmp_path / name)
    with pytest.raises(HalfPublishedError):
        rosetta_ref.convert(tmp_path / name, tmp_path / "out.gguf", type="Q8_0")
    if name == "m.safetensors":  # nor the folder that it is the model of
        with pytest.raises(HalfPublishedError):
            open_archive(tmp_path)


def test_a_model_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    with pytest.raises(ReplacedWhileReadError), steady(tmp_path / "hf"):
        rosetta_ref.convert(DEMO, tmp_path / "hf", force=True)
    with steady(tmp_path / "hf"):
        pass
