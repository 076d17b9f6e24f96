"""What is told of a file from a stranger is inert: report.md, annotated.txt, evidence.json, and what shrink and replay print."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rosetta_ref import evidence
from rosetta_ref.cli import main
from rosetta_ref.cli.terminal import print_json, say
from rosetta_ref.errors import safe, safe_line
from rosetta_ref.formats.fields.field import printable, shown
from rosetta_ref.gate.converter.entry import Run
from rosetta_ref.gate.findings import Finding
from rosetta_ref.reduce.folder.prose import block, code
from rosetta_ref.reduce.search.complaint import complaint, unchanging
from rosetta_ref.reduce.search.failure import subject_of

#: What moves a cursor, ends a line, turns a direction, or is a command to a CI service.
ODD = "a\x1b[2J\x9b31m\u202e\u2066\u2028\u2029\x85\r\n::error file=x::forged\n##[error]forged```\n# heading <img src=x>|\u200f\u061c\ufeff\0"
STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def is_inert(text: str) -> bool:
    lines = text.split("\n")
    return STEERING.search(text) is None and not any(
        line.lstrip(" \t").startswith("::") or "##[" in line for line in lines
    )


@given(st.text(st.characters(codec=None), max_size=30) | st.sampled_from([ODD, "::error::x", " ::x", "##[x", "\ud800"]))
def test_one_line_of_anything_is_inert(text: str) -> None:
    for made in (printable(text), shown(text), code(text), safe_line(text)):
        assert "\n" not in made
        assert is_inert(made) or made.isprintable() is False
    for line in block(text):
        assert is_inert(line)
        assert line.isprintable()
    # It leaves alone what the guard of all messages leaves alone, of what can be seen.
    if text.isprintable():
        assert printable(text) == safe_line(text)


def test_nothing_is_shown_at_any_length() -> None:
    assert len(code("x" * 10_000_000)) < 3_000
    assert len(shown(b"\xff" * 10_000_000)) < 300
    assert max(map(len, block("x" * 10_000_000 + "\n" + "y"))) < 3_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shrink leaves of a file with such names, and of a converter that says such words."""
    home = tmp_path_factory.mktemp("inert")
    name, key = "a\x1b[2J\u202e\u2028\n::error::b```|# x".encode(), ODD.encode()  # no reader takes a longer name
    keys = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(key)) + key
    table = struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 2, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + keys + table
    (home / "a ::b\u202e.gguf").write_bytes(
        head.ljust(-(-len(head) // 32) * 32, b"\0") + struct.pack("<2f", 1, 2).ljust(32, b"\0")
    )
    (home / "bad.py").write_text(
        f"import sys\n\n\ndef convert(src, dst):\n    print({ODD!r}, file=sys.stderr)\n    raise SystemExit({ODD!r})\n"
    )
    asked = [
        "shrink",
        str(home / "a ::b\u202e.gguf"),
        "--to",
        "safetensors",
        "--converter",
        f"{home / 'bad.py'}:convert",
    ]
    assert main([*asked, "--max-calls", "2", "--output", str(home / "out")]) == 0
    (made,) = (home / "out").iterdir()
    return made


def test_a_folder_is_inert(folder: Path) -> None:
    assert is_inert(folder.name)
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(("input", "__")):
            assert is_inert(path.read_text(encoding="utf-8")), path.name
    report = (folder / "report.md").read_text(encoding="utf-8")
    outside = re.sub(r"(`+).*?\1", "", report, flags=re.DOTALL)  # of code
    assert "\n# " not in outside
    assert "<img" in report
    assert "<img" not in outside


def test_what_is_printed_is_inert(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["explain", str(folder)],
        ["replay", str(folder), "--converter", f"{folder.parents[1] / 'bad.py'}:convert"],
    ):
        main(command)
        done = capfd.readouterr()
        said = list((done.out + done.err).split("\n"))
        assert all(is_inert(line) for line in said), said


def test_evidence_is_put_in_its_place_by_a_name_that_nobody_foresees(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for name in ("evidence.json", ".evidence.json.partial"):
        (tmp_path / name).symlink_to(secret)
    evidence.write_json(tmp_path / "evidence.json", ["\ud800".encode("utf-8", "backslashreplace").decode()])
    assert secret.read_text() == "secret"
    assert not (tmp_path / "evidence.json").is_symlink()
    assert json.loads((tmp_path / "evidence.json").read_text()) == ["\\ud800"]
    assert (tmp_path / "evidence.json").stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(OSError, match="gone"):
        evidence.write_json(tmp_path / "gone" / "evidence.json", [])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "piece", ["a.", "a-", "/", "a/", "0x", "'a", "1:", "\n", "thread 'a' panicked at ", "error: a-", "~"]
)
def test_words_of_a_converter_take_no_time(piece: str) -> None:
    """Nor does what is made of them: the words of a refusal tell one failure from another."""
    began = time.process_time()
    said = piece * (400_000 // len(piece))
    for words in (said, "error: " + said, f"thread 'a' panicked at b.rs:1\n{said}"):
        made = complaint(Run("refused", 1, stdout=words, stderr=words, detail="exit code 1"))
        finding = Finding("refused", "F-CONV-003", words)
        assert max(len(made), len(unchanging(words)), len(subject_of(finding))) < 5_000
        assert len(subject_of(Finding("number-wrong", "F-CONV-META-001", words))) <= 2_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        "::error::x",
        " \t::error::x",
        "\u00a0::error::x",
        "\u3000::add-mask::a",
        "\u2003\u1680::a",
        "a ##[error]b",
        "##vso[task.x]",
    ],
)
def test_no_line_is_a_command_of_a_ci_service(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub's runner trims what Unicode calls a blank before it looks, Azure looks anywhere in a line."""
    print_json({text: [text]})
    say(Console(width=200), text)
    shown = capsys.readouterr().out + safe_line(text) + "\n" + safe("a\n" + text)
    for line in shown.splitlines():
        assert not line.strip().startswith("::"), line
        assert "##[" not in line
        assert "##vso[" not in line
    assert json.loads(shown[: shown.index("}") + 1]) == {text: [text]}
