"""The folder in which a target is made: what stands in its place already, and whose it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert.publish import tree
from rosetta_ref.convert.publish.rules import StagingFolderError
from rosetta_ref.errors import RosettaError
from tests.support.journals import forged
from tests.support.kill_points import DEMO, content

unix = pytest.mark.skipif(os.name != "posix", reason="links, owners and pipes of Unix")
pytestmark = unix


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
