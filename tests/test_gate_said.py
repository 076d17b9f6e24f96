"""What a converter says when it does not convert: which line is the reason, and when a traceback is a refusal."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.gate.converter.command import CommandLine
from rosetta_ref.gate.converter.entry import CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.converter.said import reason_of, traceback_of
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.report.score import Scored, score
from rosetta_ref.gate.run.engine import run

TRACEBACK = "Traceback (most recent call last):\n  File \"c.py\", line 3, in <module>\n    x = d['a']\nKeyError: 'a'\n"


@pytest.mark.parametrize(
    ("stderr", "stdout", "reason"),
    [
        ("error: no such tensor\nUsage: tool [OPTIONS]\n", "", "error: no such tensor"),
        ("error: bad magic\nhint: see https://x/1\n", "", "error: bad magic"),
        ("c.py:3: UserWarning: an error may follow\n  warnings.warn('error')\n", "Error: gone\n", "Error: gone"),
        ("c.py:3: UserWarning: it fails later\n  warnings.warn('it fails later')\n", "not this\n", "not this"),
        ("Error: first\n 45%|████▌     | 9/20 [00:01<00:01,  8.9it/s]\n", "", "Error: first"),
        ("\rReading:   0%|          | 0/9\rReading: 100%|##########| 9/9\n", "done nothing\n", "done nothing"),
        ("12.5% [=====>      ]\rfile is cut\n", "", "file is cut"),
        ("INFO:x:loading\nERROR:x:Model Foo is not supported\nINFO:x:bye\n", "", "ERROR:x:Model Foo is not supported"),
        ("2026-11-30 12:00:01 ERROR gguf reader gave up\nbye\n", "", "2026-11-30 12:00:01 ERROR gguf reader gave up"),
        ("\x1b[1;31mError:\x1b[0m no \x1b[1mtokenizer\x1b[0m\n", "", "Error: no tokenizer"),
        ("Error: cannot read\n\nCaused by:\n    0: eof\n", "", "Error: cannot read"),
        ("loading\n", "ValueError: in stdout\nbye\n", "ValueError: in stdout"),
        ("0 errors, 2 warnings\nunsupported dtype 39\nbye\n", "", "unsupported dtype 39"),
        ("one\ntwo\n", "three\n", "two"),
        ("", "", "the detail"),
        (TRACEBACK, "", "KeyError: 'a'"),
        (f"{TRACEBACK}tool: error: giving up\n", "", "tool: error: giving up"),
        ("Traceback (most recent call last):\n  File \"c\", line 1\nmy.Refused: no\n", "", "my.Refused: no"),
    ],
)  # fmt: skip
def test_the_reason_is_the_line_that_says_it(stderr: str, stdout: str, reason: str) -> None:
    assert reason_of(Run(REFUSED, 1, stdout, stderr, detail="the detail")) == reason


@pytest.mark.parametrize(
    ("run_", "raised"),
    [
        (Run(CRASHED, 1, stderr=TRACEBACK), "KeyError: 'a'"),
        (Run(CRASHED, 1, stdout=TRACEBACK), "KeyError: 'a'"),
        (Run(CRASHED, 3, stderr=TRACEBACK), "KeyError: 'a'"),  # 3 refuses
        (Run(CRASHED, 2, stderr=TRACEBACK), None),
        (Run(CRASHED, -11, stderr=TRACEBACK), None),
        (Run(CRASHED, None, stderr=TRACEBACK, detail="5,000.0 MiB resident, past the limit of 4,096.0 MiB"), None),
        (Run(CRASHED, None, stderr=TRACEBACK, detail="KeyError: 'a'"), "KeyError: 'a'"),  # in this process
        (Run(CRASHED, 1, stderr=f"thread 'main' panicked at a.rs:1:\nno\n{TRACEBACK}"), None),
        (Run(CRASHED, 1, stderr="Traceback (most recent call last):\n  File"), None),
        (Run(REFUSED, 1, stderr="no"), None),
    ],
)
def test_which_end_is_a_refusal_by_traceback(run_: Run, raised: str | None) -> None:
    assert traceback_of(run_, (3,)) == raised


TOOL = """
import pathlib, sys
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError

class Odd(Exception):
    pass

def run(src, dst):
    if "malformed" in str(src):
        try:
            convert(pathlib.Path(src), pathlib.Path(dst))
        except RosettaError:
            END
    else:
        convert(pathlib.Path(src), pathlib.Path(dst))

if __name__ == "__main__":
    run(*sys.argv[1:])
"""
_SAFE = "F-CONV-SAFE-001/gguf/version-unknown"
_ENTRY = Entry("raises", pairs=("G-A",), architectures=("llama",), whole_models=True)


def tool(folder: Path, end: str) -> Path:
    path = folder / "tool.py"
    path.write_text(TOOL.replace("END", end))
    return path


def command(path: Path, **more: object) -> CommandLine:
    # The interpreter of the tests, without looking for more.
    return CommandLine(replace(_ENTRY, command=f"{shlex.join([sys.executable, str(path)])} {{src}} {{dst}}", **more))  # type: ignore[arg-type]


def result(converter: CommandLine | Function, case: str = _SAFE) -> Result:
    model = build("llama-f32-tied", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)
    (found,) = run(converter, samples=[model], only=[case], jobs=1)
    return found


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_traceback_on_malformed_input_is_falsified(kind: str, tmp_path: Path) -> None:
    path = tool(tmp_path, "raise KeyError('tokens')")
    made = command(path) if kind == "command" else Function(replace(_ENTRY, function=f"{path}:run"))
    found = result(made)
    assert (found.outcome, [each.kind for each in found.findings]) == ("Falsified", ["refused-by-traceback"])
    assert found.findings[0].detail.endswith("KeyError: 'tokens'")
    points = score([Scored.of(found)])
    assert (points.penalty, points.gateways["G3"]) == (0, None)


@pytest.mark.parametrize(
    "end", ["import os; os.kill(os.getpid(), 11)", "sys.exit(2)",
            "print(\"thread 'main' panicked at src/main.rs:1:1:\", file=sys.stderr); sys.exit(1)"],
)  # fmt: skip
def test_a_signal_a_panic_and_an_undeclared_code_stay_crashes(end: str, tmp_path: Path) -> None:
    assert result(command(tool(tmp_path, end))).outcome == "Crashed"


def test_a_traceback_on_valid_input_stays_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "tool.py"
    path.write_text("raise KeyError('tokens')")
    found = result(command(path), "F-CONV-META-001/G-A/*")
    assert found.outcome == "Crashed"
    assert "KeyError: 'tokens'" in found.reason


def test_exceptions_by_which_a_command_refuses(tmp_path: Path) -> None:
    path = tool(tmp_path, "raise Odd('not this file')")
    assert result(command(path)).outcome == "Falsified"
    found = result(command(path, refuse_exceptions=("Odd",)))
    assert (found.outcome, found.findings) == ("Corroborated", [])
    assert "Odd: not this file" in found.reason
