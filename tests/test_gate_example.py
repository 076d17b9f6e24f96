"""examples/broken-converter as a repository of its own: the gate finds what is wrong with it, that alone, and nothing once it is mended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rosetta_ref.cli import main
from tests.support.few import few_members

EXAMPLE = Path(__file__).parents[1] / "examples" / "broken-converter"
#: A process for each conversion: these are not all of them, but every kind of finding that all of them have.
CASES = ("F-CONV-003/legacy/*", "F-CONV-003/floats/*", "F-CONV-*/G-S/llama-mix", "F-CONV-003/llama-mix/*", "F-CONV-*/not-claimed",
         "F-CONV-SAFE-001/gguf/ver*", "F-CONV-SAFE-001/gguf/five*")  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("gguf")
    made = tmp_path / "some one's repository"
    shutil.copytree(EXAMPLE, made)
    monkeypatch.chdir(made)
    return made


def gate(capsys: pytest.CaptureFixture[str], *cases: str) -> tuple[int, dict[str, set[str]]]:
    """The exit code, and the unexpected cases by kind of finding, or by outcome where there is none."""
    few = [*(f"--case={case}" for case in cases), "--no-reproductions"] if cases else []
    code = main(["gate", "--json", *few])
    run = json.loads(capsys.readouterr().out)
    failures = set(run["verdict"]["failures"])
    kinds: dict[str, set[str]] = {}
    for case in run["cases"]:
        if case["case"] in failures:
            for kind in [finding["kind"] for finding in case["findings"]] or [case["outcome"]]:
                kinds.setdefault(kind, set()).add(case["case"])
    return code, kinds


def is_found_and_mended(repository: Path, capsys: pytest.CaptureFixture[str], *cases: str) -> None:
    code, kinds = gate(capsys, *cases)
    assert (code, set(kinds)) == (1, {"values"})
    assert all("/q4_0/" in case for case in kinds["values"])
    assert "F-CONV-003/llama-mix/q4_0/llama-8x2-token_embd/index-coded" in kinds["values"]
    script = repository / "convert.py"
    halves = ["blocks[:, 2:] >> 4", "blocks[:, 2:] & 15"]
    text = script.read_text()
    assert ", ".join(halves) in text
    script.write_text(text.replace(", ".join(halves), ", ".join(reversed(halves))))
    assert gate(capsys, *cases) == (0, {})


def test_what_is_wrong_is_found(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with few_members("q4_0-packs-neighbours"):
        is_found_and_mended(repository, capsys, *CASES)


@pytest.mark.slow
def test_what_is_wrong_is_found_by_the_full_gate(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    is_found_and_mended(repository, capsys)
