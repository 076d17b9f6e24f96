"""The gate as a plugin of pytest: in processes of its own, as users run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.plugin.run import of_json, to_json
from rosetta_ref_pytest import asks_for_the_gate
from tests.support.plugin import PLUGIN

ROOT = Path(__file__).parents[1]
#: The reference, which writes down what it was asked, and is wrong with names that the test chooses.
TOOL = """
import os, pathlib, sys
from rosetta_ref.gate.adapters import reference

def convert(src, dst, **options):
    src = pathlib.Path(src)
    with open(os.environ["CALLS"], "a") as log:
        log.write(f"{str(src).partition('faces/')[2]} {pathlib.Path(dst).suffix}\\n")
    if "q8_0.bin" in str(src) or os.environ.get("FALL", "none") in str(src):
        raise KeyError("it falls")
    if os.environ.get("REFUSE", "none") in str(src):
        raise ValueError("not this one")
    if os.environ.get("DIE", "none") in str(src):
        os._exit(9)
    reference.convert(src, dst, **options)
"""
#: Enough to have several samples, formats and kinds of cases.
CASES = [
    "--gate-case=F-CONV-001/llama-f32*",
    "--gate-case=F-CONV-*/G-A*/llama-f32*",
    "--gate-case=F-CONV-SAFE-001/gguf/*count*",
]


class Project:
    """Somebody's folder, with a converter and without tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls.txt"
        (folder / "tool.py").write_text(TOOL)

    def pytest(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it as it is run where rosetta-ref is installed."""
        self.calls.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", *arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        told = {**clean, "PYTHONPATH": str(ROOT), "CALLS": str(self.calls), "COLUMNS": "200", **environment}
        return subprocess.run(command, cwd=self.folder, env=told, capture_output=True, text=True, timeout=300)

    def gate(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the gate on the converter."""
        fixed = ["--pyargs", "rosetta_ref.gate", "--converter=tool.py:convert", "--architectures=llama", "-ra"]
        return self.pytest(*fixed, *arguments, **environment)

    def expect(self, text: str) -> str:
        """Write expectations; the flag for them."""
        (self.folder / "expected.yaml").write_text(text)
        return "--expectations=expected.yaml"

    def results(self) -> dict[str, Any]:
        """What was written to `out`."""
        made: dict[str, Any] = json.loads((self.folder / "out" / "result.json").read_text())
        return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The numbers of pytest's last line."""
    last = [line for line in done.stdout.splitlines() if re.search(r"\d+ (passed|failed|skipped|xfailed|error)", line)][
        -1
    ]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last) if word != "warnings"}


def ids(text: str) -> list[str]:
    return re.findall(r"::test_case\[(F-CONV-[^\]]*)\]", text)


def test_cases_are_collected_without_a_conversion(project: Project) -> None:
    done = project.gate("--collect-only", "-q", *CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    found = ids(done.stdout)
    assert len(found) == len(set(found)) > 30
    assert {"F-CONV-001/llama-f32-tied/f32/llama-8x2-attn_q/index-coded", "F-CONV-META-001/G-A/llama-f32-wide",
            "F-CONV-SAFE-001/gguf/tensor-count-overflows"} <= set(found)  # fmt: skip
    assert not project.calls.exists()


def test_processes_of_xdist_do_the_work_of_one(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same results as on the command line, from the same conversions, none of them twice."""
    both = project.gate("--gate-output=out", "-n2", *CASES)
    assert both.returncode == 0, both.stdout + both.stderr
    assert "2 workers" in both.stdout
    several, again = project.results(), Counter(project.calls.read_text().splitlines())

    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("CALLS", str(project.calls))
    project.calls.unlink()
    arguments = [each.replace("--gate-", "--") for each in CASES]
    assert main(["gate", "--converter=tool.py:convert", "--architectures=llama", "--json", *arguments]) == 0
    one, calls = json.loads(capsys.readouterr().out), Counter(project.calls.read_text().splitlines())
    models = {line: count for line, count in again.items() if line.startswith("llama")}
    # Malformed files are a group of their own, with another conversion of their twin.
    assert {line: n for line, n in calls.items() if line.startswith("llama")} == models | {
        "llama-f32-tied-gguf/given/model.gguf .apr": 2
    }
    assert models["llama-f32-tied-gguf/given/model.gguf .apr"] in (2, 3)
    assert len(one["cases"]) == counts(both)["passed"] > 30
    told = [[{key: case[key] for key in ("case", "outcome", "compared", "notes", "target_types")} for case in run["cases"]]
            for run in (one, several)]  # fmt: skip
    assert told[0] == told[1]
    assert several["gates"] == one["gates"]
    assert (project.folder / "out" / "summary.md").read_text().startswith("## tool.py:convert: as expected")
    assert len(json.loads((project.folder / "out" / "evidence.json").read_text())) == len(one["cases"])


NAMES = "--gate-case=F-CONV-NAME-001/G-A/llama-f32*"
WIDE = "F-CONV-NAME-001/G-A/llama-f32-wide"


def test_an_unexpected_failure_says_how_to_see_it_again(project: Project) -> None:
    done = project.gate(NAMES, FALL="llama-f32-wide")
    assert done.returncode == 1
    assert counts(done)["failed"] == 1
    assert f"unexpected: {WIDE}: Crashed: KeyError: 'it falls'" in done.stdout
    assert (
        f"reproduce: rosetta-ref gate --converter=tool.py:convert --architectures=llama --case={WIDE} --seed=0"
        in done.stdout
    )
    assert "pytest_run.py" not in done.stdout.partition("FAILURES")[2], "no traceback of the gate"


EXPECTED = """
- {pattern: F-CONV-NAME-001/G-A/llama-f32-wide, outcome: Crashed, reason: it is old, issue: https://x/1}
- {pattern: F-CONV-META-001/G-A/llama-f32-wide, reason: another outcome}
- {pattern: F-CONV-CARD-001/G-A/llama-f32-wide, outcome: Crashed, reason: too late, expires: 2020-01-01}
- {pattern: F-CONV-NAME-001/G-A/llama-f32-tied, outcome: Crashed, reason: strict}
- {pattern: F-CONV-META-001/G-A/llama-f32-tied, outcome: Crashed, reason: lenient, strict: false}
- {pattern: F-CONV-CARD-001/G-A/llama-f32-tied, outcome: Skipped, reason: not skipped}
- {pattern: F-CONV-NAME-001/G-A/llama-f16-scores, outcome: Skipped, reason: pinned}
"""


def test_expectations(project: Project) -> None:
    """Everything that can come of an expectation, in one run: `wide` falls, `scores` is refused and was never claimed, `tied` is right."""
    few = ["wide", "tied", "scores"]
    chosen = [f"--gate-case=F-CONV-{gate}-001/G-A/llama-*{name}" for gate in ("NAME", "META", "CARD") for name in few]
    done = project.gate(*chosen, project.expect(EXPECTED), "-rA", FALL="llama-f32-wide", REFUSE="llama-f16-scores")
    told = re.findall(r"^(PASSED|FAILED|SKIPPED|XFAIL|XPASS).*?(?:\[(?:F-CONV-(\w+)-001/G-A/llama-f\d\d-(\w+))\])?(?: - .*)?$",
                      done.stdout, re.MULTILINE)  # fmt: skip
    assert done.returncode == 1
    assert {word: {(gate, name) for each, gate, name in told if each == word} for word, _, _ in told} == {
        "XFAIL": {("NAME", "wide")},
        "XPASS": {("META", "tied")},
        "SKIPPED": {("", "")},  # pytest counts those by line
        "FAILED": {
            ("META", "wide"),
            ("CARD", "wide"),
            ("NAME", "tied"),
            ("CARD", "tied"),
        },
    }
    assert counts(done) == {"failed": 4, "skipped": 3, "xfailed": 1, "xpassed": 1}
    for line in ("it is old https://x/1", "[XPASS(strict)] strict", "expected until 2020-01-01: ",
                 "expected to be skipped, but was not: F-CONV-CARD-001/G-A/llama-f32-tied"):  # fmt: skip
        assert line in done.stdout


# Three runs of pytest; which expectations answer for no case is asked of the verdict itself in every run.
@pytest.mark.slow
def test_what_no_case_answers_for_fails_all_the_same(project: Project) -> None:
    """An expectation that matches no case, in a run of everything: one pair of one type here."""
    few = ["--pairs=G-A", "--types=F32", "--whole-models", "--gate-output=out"]
    claims = "- {pattern: F-CONV-*/not-claimed, outcome: Skipped, reason: r}\n"
    done = project.gate(*few, project.expect(claims))
    assert done.returncode == 0, done.stdout
    assert project.results()["whole"] is True
    missed = project.expect(f"{claims}- {{pattern: F-CONV-009/*, reason: r}}\n")
    done = project.gate(*few, missed)
    assert "failed" not in counts(done)
    assert done.returncode == 1
    assert "expected, but no case is called F-CONV-009/*" in done.stdout
    assert "unexpected results:" in done.stdout
    assert project.results()["verdict"]["exit_code"] == 1
    assert project.gate(*few, missed, "-k", "META").returncode == 0, "a selection says nothing of what it left out"
    assert project.results()["whole"] is False


@pytest.mark.parametrize(
    "arguments", [[NAMES, "-k", "none"], pytest.param(["--gate-case=none/*"], marks=pytest.mark.slow)]
)
def test_a_run_of_nothing_is_an_error(project: Project, arguments: list[str]) -> None:
    done = project.gate(*arguments)
    assert done.returncode == 2, done.stdout
    assert "error of the run: no case was run" in done.stdout


def test_a_converter_that_takes_the_process_with_it_is_no_success(project: Project) -> None:
    """pytest-xdist may well fall itself: it tries the case again, until no process is left."""
    done = project.gate(NAMES, "-n1", "--maxfail=1", "--max-worker-restart=0", DIE="llama-f32-wide")
    assert done.returncode not in (0, 5), done.stdout
    assert "as expected: 5 cases" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--converter=no-such"], "there is no 'no-such'"),
        # What the options say is checked as on the command line: one of them here.
        pytest.param(["--converter=reference", "--pairs=G-X"], "unknown pair 'G-X'", marks=pytest.mark.slow),
        (["--converter=reference", "--gate-seed=x"], "--seed: invalid int value"),
        pytest.param(["--converter=reference", "--expectations=none.yaml"], "none.yaml", marks=pytest.mark.slow),
        ([], "none was named, and there is no entry"),
    ],
)
def test_usage_errors_are_said_in_a_line(project: Project, arguments: list[str], message: str) -> None:
    done = project.pytest("--pyargs", "rosetta_ref.gate", *arguments)
    assert (done.returncode, done.stdout.count("Traceback")) == (4, 0), done.stdout + done.stderr
    assert message in done.stderr


def test_a_model_that_is_not_there(project: Project) -> None:
    done = project.gate("--gate-model=none.gguf")
    assert done.returncode == 2
    assert "none.gguf" in done.stdout


def test_options_of_the_command_line_are_options_of_pytest(project: Project) -> None:
    shown = project.pytest("--pyargs", "rosetta_ref.gate", "--help").stdout
    for flag in ("--converter", "--config", "--pairs", "--no-lossless", "--env", "--refuse-exit", "--expectations", "--gate-output",
                 "--gate-case", "--gate-model", "--gate-seed", "--gate-profile"):  # fmt: skip
        assert re.search(rf"^\s+.*{flag}\b", shown, re.MULTILINE), flag
    done = project.gate(NAMES, "--no-lossless", "--env=A=1", "--env=B=2", "--loses=lossy-unasked", "--gate-output=out")
    assert done.returncode == 0, done.stdout + done.stderr
    claims = project.results()["converter"]
    assert (claims["lossless"], claims["environment"], claims["loses"]) == (False, ["A", "B"], ["lossy-unasked"])


def test_the_tests_of_the_project_may_be_what_they_like(project: Project) -> None:
    """Files of another name, doctests, markers that are deselected: the cases are collected, and nothing else of the gate's folder."""
    (project.folder / "pytest.ini").write_text(
        "[pytest]\npython_files = check_*.py\naddopts = --doctest-modules --strict-markers -m 'not slow'\n"
        "markers =\n  slow: takes long\n"
    )
    done = project.gate(NAMES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(counts(done)) == {"passed"}


def test_other_runs_know_nothing_of_it(project: Project) -> None:
    """Nothing is imported, and options of the same name are the project's own."""
    (project.folder / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--converter')\n")
    (project.folder / "test_own.py").write_text(
        "import sys\ndef test_own(request):\n    assert request.config.getoption('--converter') == 'x'\n"
        "    assert not {'numpy', 'rosetta_ref'} & sys.modules.keys()\n"
    )
    done = project.pytest("--converter=x", "test_own.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argument", "asks"),
    [
        ("rosetta_ref.gate", True), ("rosetta_ref.gate.test_gate", True), ("rosetta_ref/gate", True), ("rosetta_ref/gate/", True),
        ("a/rosetta_ref/gate/test_gate.py::test_case[F-CONV-001/a]", True), ("rosetta_ref.gate::test_case", True),
        ("rosetta_ref", False), ("rosetta_ref/gate/report/score.py", False), ("tests/test_gate.py", False), ("rosetta_ref.gateway", False),
    ],
)  # fmt: skip
def test_what_asks_for_the_gate(argument: str, asks: bool) -> None:
    assert asks_for_the_gate(["-q", argument]) is asks


def test_results_travel_whole() -> None:
    finding = Finding("values", "g", "d", "t", "F32", "F16", 3, {"index": [1, 2], "offset": 4})
    result = Result("a/b", "g", "Falsified", "r", "keys", 3, 2, 8, [finding], ("F32",), ("F16", "F32"), {"carried": 2}, "s", "gguf",
                    "apr", 1.5, 7, -11, "out", "err", "d", "https://x", Path("a/b"), 3)  # fmt: skip
    assert of_json(to_json(result)) == result
