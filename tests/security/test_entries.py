"""Which `rosetta.toml` is run unasked: one of the repository that one is in, one's own, and never in the place of a bundled name."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.named import EntryError, UnknownConverterError, find_entries, resolve

ENTRY = "[converters.{}]\ncommand = 'touch {{dst}} {{src}}'\n"


def written(folder: Path, *names: str, file: str = "rosetta.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    prefix = "tool.rosetta-ref." if file == "pyproject.toml" else ""
    (folder / file).write_text("".join(ENTRY.format(name).replace("[", f"[{prefix}") for name in names))
    return folder / file


@pytest.mark.parametrize("file", named.FILES)
@pytest.mark.parametrize("mark", [".git", ".hg", ".svn"])
def test_the_search_ends_at_the_root_of_the_repository(file: str, mark: str, tmp_path: Path) -> None:
    written(tmp_path, "planted", file=file)
    inner = tmp_path / "repository" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "repository" / mark).mkdir()
    assert find_entries(inner) == {}
    written(tmp_path / "repository", "ours", file=file)
    assert list(find_entries(inner)) == ["ours"]


def test_a_worktree_is_a_repository(tmp_path: Path) -> None:
    written(tmp_path, "planted")
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "tree" / ".git").write_text("gitdir: elsewhere\n")
    assert find_entries(tmp_path / "tree" / "a") == {}


def test_without_a_repository_the_current_folder_alone_counts(tmp_path: Path) -> None:
    written(tmp_path, "planted")
    (tmp_path / "a").mkdir()
    assert find_entries(tmp_path / "a") == {}
    assert list(find_entries(tmp_path)) == ["planted"]


def test_nothing_above_home_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "planted")
    (tmp_path / ".git").mkdir()
    (tmp_path / "home" / "a").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_entries(tmp_path / "home" / "a") == {}
    assert find_entries(tmp_path / "home") == {}


@pytest.mark.parametrize("whose", ["file", "folder", "link"])
def test_what_belongs_to_somebody_else_is_left_aside(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen by an owner that is another one: only root could give a file away."""
    path = written(tmp_path / "top", "planted")
    (tmp_path / "top" / ".git").mkdir()
    inner = tmp_path / "top" / "inner"
    inner.mkdir()
    if whose == "link":
        path.rename(tmp_path / "real.toml")
        path.symlink_to(tmp_path / "real.toml")
        path = tmp_path / "real.toml"
    foreign = (path if whose != "folder" else tmp_path / "top").stat().st_ino
    plain = named._is_mine
    monkeypatch.setattr(named, "_is_mine", lambda about: about.st_ino != foreign and plain(about))
    monkeypatch.chdir(inner)
    with pytest.raises(UnknownConverterError):
        named.from_arguments(arguments("planted"))
    if whose != "folder":
        assert "is left aside, since it belongs to somebody else" in capsys.readouterr().err


def test_what_everybody_may_write_to_is_left_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "mine")
    path.chmod(0o646)
    assert find_entries(tmp_path) == {}
    monkeypatch.chdir(tmp_path)
    assert resolve("mine", config=path).entry.name == "mine"  # who names it wants it
    path.chmod(0o644)
    assert list(find_entries(tmp_path)) == ["mine"]


def test_a_pipe_is_no_file_of_entries(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rosetta.toml")
    assert find_entries(tmp_path) == {}
    with pytest.raises(EntryError, match="no regular file"):
        named.read_entries(tmp_path / "rosetta.toml")


def arguments(name: str, **others: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    named.add_arguments(parser)
    parsed = parser.parse_args(["--converter", name])
    for key, value in others.items():
        setattr(parsed, key, value)
    return parsed


def test_a_bundled_name_means_what_is_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "reference", "mine")
    monkeypatch.chdir(tmp_path)
    assert named.from_arguments(arguments("reference")).entry == bundled.entry("reference")
    assert "that of" in (said := capsys.readouterr().err)
    assert "is entry:reference" in said
    assert named.from_arguments(arguments("entry:reference")).entry.command == "touch '{dst}' '{src}'"
    assert capsys.readouterr().err == f"entries: {tmp_path / 'rosetta.toml'}\n"


def test_the_file_in_use_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\n::error::b"
    written(folder, "mine")
    monkeypatch.chdir(folder)
    named.from_arguments(arguments("mine"))
    said = capsys.readouterr().err
    assert said.startswith(f"entries: {tmp_path}/a")
    assert said.count("\n") == 1
    named.from_arguments(arguments("mine", quiet=True))
    named.from_arguments(arguments("true {src} {dst}"))
    assert capsys.readouterr().err == ""
