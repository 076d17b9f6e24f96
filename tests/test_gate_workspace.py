"""What must be true of the files around a conversion."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosetta_ref.gate.run.workspace import Place, Snapshot, Workspace


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_bytes(b"{}")
    return folder


def kind(place: Place, source: Path, **options: bool) -> str | None:
    flaw = place.flaw(Snapshot(source), **options)
    return None if flaw is None else flaw.kind


def test_each_place_is_new_and_all_go(tmp_path: Path) -> None:
    with Workspace(tmp_path) as work:
        places = [
            work.place("gguf"),
            work.place("gguf"),
            work.place("safetensors"),
            work.place("safetensors", safetensors_as="file"),
        ]
        assert len({place.folder for place in places}) == 4
        assert [place.dst.name for place in places] == ["model.gguf", "model.gguf", "model", "model.safetensors"]
        assert not any(place.dst.exists() for place in places)
    assert list(tmp_path.iterdir()) == []


def test_a_new_output_has_no_flaw(work: Workspace, source: Path) -> None:
    place = work.place("gguf")
    place.dst.write_bytes(b"new")
    assert kind(place, source) is None
    directory = work.place("safetensors")
    shutil.copytree(source, directory.dst)  # a tokenizer may be copied, weights may not
    os.utime(directory.dst / "model.safetensors")
    (directory.dst / "model.safetensors").write_bytes(b"others")
    assert kind(directory, source) is None


OUTPUTS: dict[str, Callable[[Place, Path], object]] = {
    "missing": lambda place, source: (place.folder / "model.gguf.bin").write_bytes(b"x"),
    "empty": lambda place, source: place.dst.touch(),
    "stale": lambda place, source: (place.dst.write_bytes(b"old"), os.utime(place.dst, (1, 1))),
    "copied": lambda place, source: shutil.copyfile(source / "model.safetensors", place.dst),
    "linked": lambda place, source: os.link(source / "model.safetensors", place.dst),
}


@pytest.mark.parametrize("wanted", OUTPUTS)
def test_nothing_is_taken_for_an_output_that_is_none(work: Workspace, source: Path, wanted: str) -> None:
    place = work.place("gguf")
    OUTPUTS[wanted](place, source)
    assert kind(place, source) == wanted


def test_a_link_to_the_input_is_the_input(work: Workspace, source: Path) -> None:
    file, directory = work.place("gguf"), work.place("safetensors")
    file.dst.symlink_to(source / "model.safetensors")
    directory.dst.symlink_to(source)
    assert (kind(file, source), kind(directory, source)) == ("linked", "linked")


def test_a_directory_without_weights_is_empty(work: Workspace, source: Path) -> None:
    place = work.place("safetensors")
    place.dst.mkdir()
    assert kind(place, source) == "empty"
    (place.dst / "config.json").write_bytes(b"{}")
    assert kind(place, source) == "empty"


def test_what_stands_beside_a_missing_output_is_told(work: Workspace, source: Path) -> None:
    place = work.place("gguf")
    (place.folder / "other.gguf").write_bytes(b"x")
    assert "but other.gguf" in str(place.flaw(Snapshot(source)))


def test_within_one_format_there_may_be_nothing_to_do(work: Workspace, source: Path) -> None:
    place = work.place("gguf")
    OUTPUTS["copied"](place, source)
    assert kind(place, source, may_be_equal=True) is None


CHANGES: dict[str, Callable[[Path], object]] = {
    "its bytes changed": lambda path: path.write_bytes(b"WEIGHTS"),
    "its time changed": lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)),
    "was removed": lambda path: path.unlink(),
    "was added": lambda path: (path.parent / "tokenizer.json").touch(),
}


@pytest.mark.parametrize("words", CHANGES)
def test_an_input_that_was_touched_is_told(source: Path, words: str) -> None:
    before = Snapshot(source)
    assert before.flaw() is None
    CHANGES[words](source / "model.safetensors")
    flaw = before.flaw()
    assert flaw is not None
    assert (flaw.kind, words in flaw.detail) == ("touched", True)


def test_bytes_that_change_under_an_old_time_are_told(source: Path) -> None:
    path = source / "model.safetensors"
    before, time = Snapshot(path), path.stat().st_mtime_ns
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(time, time))
    flaw = before.flaw()
    assert flaw is not None
    assert "its bytes changed" in flaw.detail
