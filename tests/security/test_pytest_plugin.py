"""The plugin in a project of somebody else: whatever a folder called `failures` holds, collection goes on as if nothing were there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rosetta_ref_pytest import is_ours
from tests.support.plugin import PLUGIN

INPUT = b"GGUF\3\0\0\0" + bytes(16)
CASE = {
    "id": "0" * 32, "gate_id": "F-CONV-001", "outcome": "Falsified", "metadata": {"reproduction": "case", "case": "F-CONV-001/x"},
}  # fmt: skip
RECORD = {
    "format": 1,
    "fingerprint": {"gate": "F-CONV-001", "kind": "values", "subject": "", "cause": [], "type": None},
    "source_format": "gguf", "target_format": "apr", "input": "input.gguf",
    "files": {"input.gguf": hashlib.sha256(INPUT).hexdigest()}, "asked": None, "safetensors_as": "file", "loses": [],
    "converter": {"name": "mine", "command": "touch /tmp/run {src} {dst}"}, "expected": {}, "wrong": {}, "versions": {},
}  # fmt: skip


def written(folder: Path, record: Any = RECORD, case: Any = CASE) -> Path:
    folder.mkdir(parents=True)
    (folder / "input.gguf").write_bytes(INPUT)
    (folder / "expected.json").write_text(record if isinstance(record, str) else json.dumps(record))
    (folder / "evidence.json").write_text(json.dumps([case]))
    return folder


def alone(words: str | bytes) -> Callable[[Path], object]:
    """An expected.json, and beside it what our folders hold, but no evidence."""

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "expected.json").write_bytes(words.encode() if isinstance(words, str) else words)
        (folder / "input.gguf").write_bytes(INPUT)

    return make


def with_evidence(words: str | bytes) -> Callable[[Path], object]:
    """The same, and an evidence.json of somebody else."""

    def make(folder: Path) -> None:
        alone(words)(folder)
        (folder / "evidence.json").write_text(json.dumps([{"gate_id": "F-CONV-001"}]))

    return make


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        written(folder)
        (folder / name).unlink()
        make(folder / name)

    return spoil


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def changed(**fields: Any) -> Callable[[Path], object]:
    # The keys in another order: what begins as ours does is ours.
    return lambda folder: written(folder, {"expected": {}, **RECORD, **fields})


def case(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: written(folder, case={**CASE, **fields})


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "pipe": instead("expected.json", os.mkfifo), "folder": instead("expected.json", Path.mkdir),
    "link": instead("expected.json", lambda path: path.symlink_to("/etc/passwd")),
    "device": instead("expected.json", lambda path: path.symlink_to("/dev/zero")),
    "loop": instead("expected.json", lambda path: path.symlink_to("expected.json")),
    "large": instead("expected.json", sparse),
    "evidence-pipe": instead("evidence.json", os.mkfifo), "evidence-large": instead("evidence.json", sparse),
    "evidence-link": instead("evidence.json", lambda path: path.symlink_to("/dev/zero")),
    "cut": alone('{"format": 1, "fingerprint": {"gate": "F-CONV-'), "empty": with_evidence(""), "bytes": with_evidence(b"\xff\0"),
    "deep": with_evidence("[" * 200_000), "deep-object": with_evidence('{"fingerprint":' * 100_000),
    "digits": with_evidence('{"fingerprint": ' + "9" * 100_000 + "}"), "gate-only": alone('{"fingerprint": {"gate": "F-CONV-001"}}'),
    "gate-list": with_evidence('{"fingerprint": {"gate": ["F-CONV-"]}}'), "fingerprint-list": with_evidence('{"fingerprint": []}'),
    "record-only": alone(json.dumps(RECORD)), "answer": with_evidence('{"answer": 42}'), "number": with_evidence("1"),
    "gate-object": changed(fingerprint={"gate": {}, "kind": "x", "subject": "", "cause": []}),
    "other-gate": changed(fingerprint={"gate": "F-CONV-\n::error::", "kind": "x", "subject": "", "cause": []}),
    "no-files": changed(files={}), "other-digests": changed(files={"a": 5}), "other-format": changed(source_format=["gguf"]),
    "case-id": case(id=5), "case-gate": case(gate_id=["F-CONV-001"]), "case-metadata": case(metadata=[]), "case-none": case(id=None),
    "case-outcome": case(outcome={"Falsified": 1}), "a::error::b": written, "##[error]c": written,
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_not_ours_is_left_alone(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "failures" / name
    NOT_OURS[name](folder)
    began = time.process_time()
    assert not is_ours(folder / "expected.json")
    assert time.process_time() - began < 0.5


def test_what_is_ours_is_a_test_also_where_it_was_damaged(tmp_path: Path) -> None:
    assert is_ours(written(tmp_path / "whole") / "expected.json")
    assert is_ours(written(tmp_path / "cut", json.dumps(RECORD)[:300]) / "expected.json")
    assert is_ours(written(tmp_path / "later", {**RECORD, "format": 2}) / "expected.json")
    folder = written(tmp_path / "other bytes")
    (folder / "input.gguf").write_bytes(b"other bytes")
    assert is_ours(folder / "expected.json")


def ended(project: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        *PLUGIN,
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "error",
        *flags,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")])),
    }
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, errors="replace", timeout=60, check=False, env=environment
    )  # fmt: skip


def test_a_project_of_somebody_else_is_collected_as_ever(tmp_path: Path) -> None:
    for name, make in NOT_OURS.items():
        make(tmp_path / "tests" / "failures" / name)
    os.makedirs(os.fsencode(tmp_path) + b"/tests/failures/\xff\xfe")
    (tmp_path / "tests" / "failures" / "round").symlink_to("..")
    (tmp_path / "tests" / "test_mine.py").write_text(
        "import sys\n\ndef test_mine():\n    assert 'numpy' not in sys.modules and 'rosetta_ref' not in sys.modules\n"
    )
    done = ended(tmp_path)
    assert (done.returncode, "1 passed" in done.stdout, done.stderr) == (0, True, ""), done.stdout + done.stderr
    assert "warning" not in done.stdout


def test_no_command_of_a_folder_is_run(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "failures" / "case", {**RECORD, "converter": {"name": "mine", "command": f"touch {tmp_path}/ran"}}
    )
    for place in (folder, folder.parent):
        (place / "rosetta.toml").write_text(f"[converters.mine]\ncommand = 'touch {tmp_path}/ran {{src}} {{dst}}'\n")
    (folder / "build.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = ended(tmp_path)
    assert (done.returncode, "no converter" in done.stdout) == (1, True), done.stdout
    assert not (tmp_path / "ran").exists()


def test_what_it_says_of_a_folder_is_inert(tmp_path: Path) -> None:
    fingerprint = {**RECORD["fingerprint"], "subject": "a\n::error::forged\u2028\x1b[2J\u202e"}  # type: ignore[dict-item]
    written(
        tmp_path / "failures" / "a & <b> \u00e9",
        {**RECORD, "fingerprint": fingerprint, "converter": {"name": "\n::error::x\0"}},
    )
    cut = json.dumps(RECORD).replace("input.gguf", "\\n::error::y")
    written(tmp_path / "failures" / "cut", cut)
    done = ended(tmp_path, "--junit-xml", "made.xml")
    assert (done.returncode, "2 failed" in done.stdout) == (1, True), done.stdout
    assert not any(line.lstrip().startswith("::") for line in done.stdout.splitlines())
    assert not any(mark in done.stdout for mark in ("\x1b[2J", "\u2028", "\u202e"))
    assert not (tmp_path / "run").exists()
    said = "".join(ElementTree.parse(tmp_path / "made.xml").getroot().itertext())
    assert "::error::" not in "".join(line[:9] for line in said.splitlines())
