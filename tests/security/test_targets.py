"""Links, pipes and folders at the target and at the names around it: refused or replaced, and never written through."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging
from rosetta_ref.convert.publish import disk, place
from rosetta_ref.convert.publish.rules import TargetKindError
from rosetta_ref.errors import RosettaError
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


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
