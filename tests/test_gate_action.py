"""action.yml: its inputs, and its shell steps run by bash as GitHub would run them, as far as that goes without GitHub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = {step.get("name", "set up"): step for step in ACTION["runs"]["steps"]}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def value(text: str, inputs: dict[str, str]) -> str:
    """An expression of GitHub's that names an input, and nothing else."""
    name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)
    assert name, text
    return inputs.get(name[1], ACTION["inputs"][name[1]]["default"])


def run_step(name: str, folder: Path, path: str = "", **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a composite action does: `bash --noprofile --norc -eo pipefail`, with its env and GitHub's files."""
    step = STEPS[name]
    env = {
        key: value(text, {k.replace("_", "-"): v for k, v in inputs.items()})
        for key, text in step.get("env", {}).items()
    }
    github = {"GITHUB_STEP_SUMMARY": str(folder / "summary"), "GITHUB_OUTPUT": str(folder / "outputs"),
              "GITHUB_ACTION_PATH": str(ROOT)}  # fmt: skip
    search = os.pathsep.join(filter(None, (path, str(Path(sys.executable).parent), os.environ["PATH"])))
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=folder, capture_output=True, text=True,
        env={**os.environ, **github, **env, "PATH": search, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A folder with this tree's rosetta-ref in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "rosetta-ref"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rosetta_ref.cli "$@"\n')
    script.chmod(0o755)
    return str(folder)


def test_inputs_are_those_that_are_used() -> None:
    assert ACTION["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == ACTION["inputs"].keys()
    assert {"converter", "pairs", "expectations", "profile", "python-version", "output"} <= used
    assert all("default" in each and each["description"] for each in ACTION["inputs"].values())


def test_no_input_is_put_into_a_script() -> None:
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"


def test_evidence_is_uploaded_also_of_a_run_that_failed() -> None:
    step = STEPS["Upload the evidence"]
    assert step["uses"].startswith("actions/upload-artifact@")
    assert step["if"] == "${{ !cancelled() }}"
    assert step["with"]["path"] == "${{ inputs.output }}"


def test_it_installs_what_it_stands_beside(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > installed\n')
    fake.chmod(0o755)
    done = run_step("Install rosetta-ref", tmp_path, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed").read_text().split() == ["-m", "pip", "install", "--quiet", f"{ROOT}[gate]"]


def test_a_run_that_passes(tmp_path: Path, program: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    done = run_step("Run the gate", tmp_path, program, converter="reference", pairs="G-A", output="out",
                    arguments="--case='F-CONV-001/floats/*' --env 'A=b c'")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "outputs").read_text() == "exit-code=0\n"
    assert (tmp_path / "summary").read_text().startswith("## reference: as expected")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "evidence.json", "summary.md"}
    made = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (made["converter"]["pairs"], made["converter"]["environment"]) == (["G-A"], ["A"])


def test_a_run_that_fails_says_so_with_its_summary(tmp_path: Path, program: str) -> None:
    (tmp_path / "wrong.py").write_text("def convert(src, dst): raise KeyError\n")
    command = "wrong.py:convert"
    done = run_step("Run the gate", tmp_path, program, converter=command, arguments="--case=F-CONV-001/floats/*")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (tmp_path / "outputs").read_text() == "exit-code=1\n"
    assert "**Crashed**" in (tmp_path / "summary").read_text()


@pytest.mark.parametrize("converter", ["no-such", "'; touch broken-out; '", "$(touch broken-out)"])
def test_a_converter_that_there_is_not(converter: str, tmp_path: Path, program: str) -> None:
    done = run_step("Run the gate", tmp_path, program, converter=converter)
    assert done.returncode == 2
    assert (tmp_path / "outputs").read_text() == "exit-code=2\n"
    assert "error:" in done.stderr
    assert not (tmp_path / "broken-out").exists()
    assert not (tmp_path / "summary").exists()
