"""docs/shrink.md: its commands run, its tables say what the code says; the README's command is the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from rosetta_ref.reduce.folder.replay import EXIT
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from tests.support.served import programs

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "shrink.md").read_text("utf-8")
WRONG = MEMBERS["k-scales-bit-stream"]
#: What a command of the guide ends with, while the converter is wrong.
ENDS = {"shrink": 0, "explain": 0, "replay": 1}


def commands(text: str) -> list[str]:
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def cells(first: str) -> list[list[str]]:
    """The cells of the table whose first row begins with that."""
    table = DOCUMENT.partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def run(command: str, place: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=place["PWD"], env=place, capture_output=True, text=True, timeout=300
    )


def model(folder: Path) -> None:
    assert WRONG.shown_by is not None
    (folder / "shown").mkdir()
    shutil.copyfile(WRONG.shown_by(folder / "shown"), folder / "model.gguf")


def test_commands_run(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    model(tmp_path)
    with programs(tmp_path, "my-tool", converter(WRONG)) as place:
        words = [command.split()[1] for command in commands(DOCUMENT)]
        assert words == ["shrink", "explain", "replay", "shrink"]
        for word, command in zip(words, commands(DOCUMENT), strict=True):
            done = run(command, place)
            assert done.returncode == ENDS[word], (command, done.stdout[-3000:], done.stderr[-2000:])
    named = re.search(r"such as `(F-CONV-[\w-]+)`", DOCUMENT)
    assert named is not None
    files = {path.name for path in (tmp_path / named[1]).iterdir()}
    listed = {name for row in cells("file") for name in re.findall(r"`([^`]+)`", row[0])}
    always = {name for name in listed if not name.startswith(("input", "actual"))}
    assert {name for name in files if not name.startswith("actual")} == {"input.gguf", *always}
    assert len(files) == len(always) + 2


def test_what_replay_says_is_what_the_code_says() -> None:
    assert {row[0]: int(row[1]) for row in cells("it says")} == EXIT


def test_the_readme_has_the_command() -> None:
    assert commands(DOCUMENT)[0] in commands((ROOT / "README.md").read_text("utf-8"))


def test_links_lead_somewhere() -> None:
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", DOCUMENT) if not (ROOT / "docs" / link).exists()] == []
