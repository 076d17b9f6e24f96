"""What comes between a conversion and its target: planted folders, journals, links and pipes, and files that change after the check."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging, writing
from rosetta_ref.convert import target as target_plans
from rosetta_ref.convert.publish import disk, names, place, tree
from rosetta_ref.convert.publish.rules import ChangedAfterCheckError, StagingFolderError, TargetKindError
from rosetta_ref.convert.target import Plan
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.formats.output import WriteError, create, open_new, write_file
from rosetta_ref.formats.unfinished import (
    JOURNAL,
    MARK,
    HalfPublishedError,
    JournalError,
    ReplacedWhileReadError,
    steady,
)
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


def forged(folder: Path, target: str = "m.safetensors", **changes: Any) -> Path:
    """A staging folder with a journal, by hand: valid, but for the changes."""
    (folder / "new").mkdir(parents=True, exist_ok=True)
    (folder / "old").mkdir(exist_ok=True)
    (folder / "new" / target).write_text("weights")
    (folder / MARK).touch()
    mark = (folder / MARK).stat()
    record: dict[str, Any] = {
        "version": 1,
        "bound": [folder.stat().st_ino, mark.st_ino, mark.st_ctime_ns],
        "base": folder.parent.stat().st_ino,
        "target": target,
        "directory": False,
        "manifest": None,
        "new": [[target, (folder / "new" / target).stat().st_ino]],
        "old": [],
    }
    (folder / JOURNAL).write_text(json.dumps({**record, **changes}))
    return folder


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


# --- the staging folder


@pytest.mark.parametrize("kind", ["link", "dangling link", "empty file"])
def test_what_is_no_folder_is_removed_and_not_followed(tmp_path: Path, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    folder = tmp_path / "out" / ".m.apr.partial"
    if kind == "empty file":
        folder.write_text("")
    else:
        folder.symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    rosetta_ref.convert(DEMO, tmp_path / "out" / "m.apr")
    assert content(tmp_path / "out").keys() == {"m.apr"}
    assert content(elsewhere).keys() == {"precious"}


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("target", ["m.apr", "hf"])
def test_what_is_not_ours_is_not_removed(tmp_path: Path, kind: str, target: str) -> None:
    """Whether the run would be refused all the same, or not."""
    folder = tmp_path / f".{target}.partial"
    if kind == "folder":
        (folder / "new").mkdir(parents=True)
        (folder / "thesis.txt").write_text("precious")
    else:
        folder.write_text("a download")
    before = content(tmp_path)
    with pytest.raises(StagingFolderError):
        rosetta_ref.convert(DEMO, tmp_path / target)
    assert content(tmp_path) == before


def test_a_source_that_is_called_like_what_is_written_meanwhile_is_refused(tmp_path: Path) -> None:
    model = tmp_path / ".m.apr.partial"
    model.write_bytes(DEMO.read_bytes())
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    (tmp_path / "hf").rename(tmp_path / ".hf.partial")
    (tmp_path / ".sums.json.partial").write_bytes(DEMO.read_bytes())
    (tmp_path / ".in").mkdir()
    (tmp_path / ".o.gguf.partial").mkdir()
    (tmp_path / ".o.gguf.partial" / "m.apr").symlink_to("no")
    before = content(tmp_path)
    for source, target, options in (
        (model, "m.apr", {}),
        (tmp_path / ".hf.partial", "hf", {}),
        (tmp_path / ".hf.partial" / "model.safetensors", "hf", {}),
        (tmp_path / ".sums.json.partial", "x.apr", {"checksums": tmp_path / "sums.json"}),
        (DEMO, "m.apr", {"type": "q8_0", "imatrix": model}),
    ):
        with pytest.raises(RosettaError):
            rosetta_ref.convert(source, tmp_path / target, **options)
        assert content(tmp_path) == before, target


@pytest.mark.parametrize("what", ["target", "checksums"])
def test_an_importance_matrix_is_not_overwritten(tmp_path: Path, what: str) -> None:
    matrix = tmp_path / "im.apr"
    matrix.write_bytes(b"the matrix")
    names = {"target": tmp_path / "im.apr"} if what == "target" else {"target": tmp_path / "m.apr", "checksums": matrix}
    target = names.pop("target")
    with pytest.raises(RosettaError):
        rosetta_ref.convert(DEMO, target, type="q8_0", imatrix=matrix, force=True, **names)
    assert matrix.read_bytes() == b"the matrix"


def test_a_manifest_is_no_file_of_a_model(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    before = content(tmp_path)
    for name in ("tokenizer.model", "model.safetensors", "x.safetensors.index.json", "w.safetensors"):
        with pytest.raises(RosettaError, match=name):
            rosetta_ref.convert(DEMO, tmp_path / "hf", checksums=tmp_path / "hf" / name, force=True)
    assert content(tmp_path) == before


def test_a_run_that_fails_after_the_exchange_has_replaced_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    (tmp_path / "hf" / "notes.txt").write_text("mine")
    before = content(tmp_path)

    def fails(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tree, "keep_late", fails)
    with pytest.raises(RosettaError, match="Input/output error"):
        rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f16", force=True)
    assert content(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_attributes_of_a_directory_stay(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    try:
        os.setxattr(tmp_path / "hf", "user.note", b"mine")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f16", force=True)
    assert os.getxattr(tmp_path / "hf", "user.note") == b"mine"


def test_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".m.apr.partial")
    with pytest.raises(StagingFolderError):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    folder = forged(tmp_path / ".m.apr.partial", "m.apr")
    os.chown(folder, 12345, -1)
    before = content(tmp_path)
    with pytest.raises(StagingFolderError, match="another user"):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr")
    assert content(tmp_path) == before


def test_a_stale_folder_is_removed_however_deep_and_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    folder = out / ".m.apr.partial" / "new"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe")
    (folder / "closed").mkdir(mode=0o000)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):  # deeper than a path can be long, and than Python calls itself
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.symlink(elsewhere, "link", dir_fd=here)
    os.close(here)
    rosetta_ref.convert(DEMO, out / "m.apr")
    assert content(out).keys() == {"m.apr"}
    assert content(elsewhere).keys() == {"precious"}


# --- targets, and what stands around them


def special(path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as made:
            before = os.getcwd()
            os.chdir(path.parent)  # names of sockets are short
            try:
                made.bind(path.name)
            finally:
                os.chdir(before)


@pytest.mark.parametrize("kind", ["fifo", "socket"])
@pytest.mark.parametrize("target", ["m.gguf", "m.apr", "m.safetensors", "hf"])
def test_a_target_that_is_no_file_is_refused(tmp_path: Path, kind: str, target: str) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "source.apr")
    special(tmp_path / target, kind)
    before = os.lstat(tmp_path / target)
    with pytest.raises(RosettaError, match=target):
        rosetta_ref.convert(tmp_path / "source.apr" if target == "m.gguf" else DEMO, tmp_path / target, force=True)
    assert os.path.samestat(before, os.lstat(tmp_path / target))


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder"])
@pytest.mark.parametrize(
    ("target", "name"), [("m.safetensors", "config.json"), ("hf", "hf/config.json"), ("hf", "hf/rosetta/source.json")]
)
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, kind: str, target: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    special(tmp_path / name, kind)
    with pytest.raises(TargetKindError) as caught:
        rosetta_ref.convert(DEMO, tmp_path / target, force=True)
    assert caught.value.file == tmp_path / name
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("target", ["m.safetensors", "hf"])
def test_no_folder_of_a_model_is_a_link(tmp_path: Path, target: str, keep: bool) -> None:
    """Nothing is written where it leads, and what lies there is not read as if it belonged to the new model."""
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "source.json").write_text("precious")
    folder = work / "hf" if target == "hf" else work
    folder.mkdir(parents=True)
    (folder / "rosetta").symlink_to(elsewhere)
    with pytest.raises(TargetKindError, match="rosetta"):
        rosetta_ref.convert(DEMO, work / target, force=True, keep_blocks=keep)
    assert content(elsewhere).keys() == {"source.json"}
    assert content(folder) == {"rosetta": f"-> {elsewhere}"}


@pytest.mark.parametrize("target", ["m.apr", "m.safetensors", "hf"])
def test_links_at_the_names_are_replaced_and_not_written_through(tmp_path: Path, target: str) -> None:
    victim = tmp_path / "victim"
    work = tmp_path / "work"
    folder = work / "hf" if target == "hf" else work
    folder.mkdir(parents=True)
    planted = [
        "m.apr",
        "m.safetensors",
        "model.safetensors",
        "config.json",
        "sums.json",
        ".sums.json.partial",
        ".sums.json.former.partial",
    ]
    for name in planted:
        (folder / name).symlink_to(victim.with_name(f"victim-{name}"))
        victim.with_name(f"victim-{name}").write_text("precious")
    rosetta_ref.convert(DEMO, work / target, force=True, checksums=folder / "sums.json")
    assert {path.read_text() for path in tmp_path.glob("victim-*")} == {"precious"}
    assert not (folder / "sums.json").is_symlink()
    assert not (folder / {"hf": "model.safetensors"}.get(target, target)).is_symlink()


def test_a_manifest_elsewhere_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / ".sums.json.partial").symlink_to(tmp_path / "victim")
    rosetta_ref.convert(DEMO, tmp_path / "m.apr", checksums=tmp_path / "sums" / "sums.json")
    assert (tmp_path / "victim").read_text() == "precious"
    assert content(tmp_path / "sums").keys() == {"sums.json"}


@pytest.mark.parametrize("way", ["exchanged", "one by one"])
def test_a_manifest_beside_a_directory_is_that_of_the_model_in_it(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf, sums = tmp_path / "hf", tmp_path / "sums.json"
    if way == "one by one":
        monkeypatch.setattr(disk, "exchange", lambda *_: False)
    rosetta_ref.convert(DEMO, hf, checksums=sums, dtype="f32")
    before = content(tmp_path)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:  # the former one comes back with the model that it speaks of
        patch.setattr(place.Place, "publish", fails)
        with pytest.raises(RosettaError, match="No space"):
            rosetta_ref.convert(DEMO, hf, checksums=sums, dtype="f16", force=True)
    assert content(tmp_path) == before
    rosetta_ref.convert(DEMO, hf, checksums=sums, dtype="f16", force=True)
    after = sums.read_bytes()
    rosetta_ref.convert(DEMO, tmp_path / "again", checksums=tmp_path / "again.json", dtype="f16")
    assert after == (tmp_path / "again.json").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_dangling_link_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "m.apr").symlink_to("nowhere")
    with pytest.raises(staging.TargetExistsError):
        rosetta_ref.convert(DEMO, tmp_path / "m.apr")
    (tmp_path / "hf").symlink_to("hf")  # without end
    with pytest.raises(RosettaError):
        rosetta_ref.convert(DEMO, tmp_path / "hf", force=True)


def test_the_mode_is_that_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        rosetta_ref.convert(DEMO, tmp_path / "hf", checksums=tmp_path / "sums.json")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o640}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "hf", tmp_path / "hf" / "rosetta")} == {0o750}


# --- an existing directory


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
