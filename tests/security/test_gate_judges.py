"""A process that judges and is ended or stopped from outside accuses no converter; its limits fit into those that there are."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.converter.walk import bytes_behind
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.judge import processes
from rosetta_ref.gate.judge.files import HarnessError
from rosetta_ref.gate.run.engine import run as gate


class Right:
    """The reference."""

    entry = Entry("right", function="none:none", pairs=("G-S",), architectures=("llama",), safetensors_as="file")

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert."""
        reference(src, dst)
        return Run(ACCEPTED, 0)


def judged() -> Result:
    sample = build("llama-f32", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)
    (found,) = gate(Right(), samples=[sample], only=["F-CONV-CARD-001/G-S/*"])
    return found


def struck(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[int]:
    """Send a signal to the processes that are asked, so many times; the numbers of those that were asked."""
    asked: list[int] = []
    plain = processes.JudgeProcess.ask

    def ask(self: processes.JudgeProcess, line: bytes, seconds: float) -> bytes:
        asked.append(self._process.pid)
        if len(asked) <= times:
            os.kill(self._process.pid, number)
        return plain(self, line, seconds)

    monkeypatch.setattr(processes.JudgeProcess, "ask", ask)
    return asked


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_judge_that_is_killed_is_replaced_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = struck(monkeypatch, number, 1)
    assert (judged().outcome, len(set(asked))) == ("Corroborated", 2)


def test_a_judge_that_is_killed_twice_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    struck(monkeypatch, signal.SIGKILL, 9)
    with pytest.raises(HarnessError, match="the machine ended the process that judges, twice: it fell: SIGKILL"):
        judged()


def test_a_reader_that_falls_is_still_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = struck(monkeypatch, signal.SIGSEGV, 1)
    found = judged()
    assert (found.outcome, [each.kind for each in found.findings], len(asked)) == ("Falsified", ["unreadable"], 1)


def test_a_judge_that_stands_still_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged().outcome == "Corroborated"  # so that one is there, and quick
    monkeypatch.setattr(processes, "_PATIENCE", 0.03)
    asked = struck(monkeypatch, signal.SIGSTOP, 1)
    plain = processes.JudgeProcess.ask

    def patient(self: processes.JudgeProcess, line: bytes, seconds: float) -> bytes:
        if asked:
            monkeypatch.setattr(processes, "_PATIENCE", 3)
        return plain(self, line, seconds)

    monkeypatch.setattr(processes.JudgeProcess, "ask", patient)
    assert (judged().outcome, len(set(asked))) == ("Corroborated", 2)


def test_seconds_in_which_the_gate_itself_stood_still_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ahead, selecting = time.perf_counter, [0.0], select.select
    monkeypatch.setattr(time, "perf_counter", lambda: plain() + ahead[0])
    monkeypatch.setattr(time, "monotonic", lambda: plain() + ahead[0])

    def frozen(*given: Any) -> Any:
        """The first wait ends with its timeout, much later."""
        if not ahead[0]:
            ahead[0] = 1e5
            return [], [], []
        return selecting(*given)

    monkeypatch.setattr(select, "select", frozen)
    asked = struck(monkeypatch, 0, 0)
    assert (judged().outcome, len(asked), ahead) == ("Corroborated", 1, [1e5])


@pytest.mark.parametrize("limited", [True, False])
def test_a_judge_that_the_shell_lets_compute_no_more_is_replaced(
    limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_is_limited", lambda: limited)
    asked = struck(monkeypatch, signal.SIGXCPU, 1)
    assert (judged().outcome, len(asked)) == (("Corroborated", 2) if limited else ("Falsified", 1))


def test_limits_of_the_judge_fit_into_those_that_there_are() -> None:
    script = (
        "import resource; from rosetta_ref.gate.judge import process\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (15, 15)); resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        "process._limit(60, 2 << 30)\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0], resource.getrlimit(resource.RLIMIT_DATA)[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["14", str(1 << 30)]


def test_a_judge_computes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    plain = subprocess.Popen

    def popen(*given: Any, **chosen: Any) -> Any:
        started.append(chosen["env"])
        return plain(*given, **chosen)

    monkeypatch.setattr(subprocess, "Popen", popen)
    processes.JudgeProcess()._end()
    (environment,) = started
    assert {environment.get(f"{name}_NUM_THREADS") for name in ("OPENBLAS", "OMP", "MKL")} == {"1"}


def test_a_model_behind_links_has_all_its_bytes(tmp_path: Path) -> None:
    blobs, model = tmp_path / "blobs", tmp_path / "model"
    blobs.mkdir()
    model.mkdir()
    (blobs / "x").write_bytes(b"x" * 1000)
    (model / "a.safetensors").symlink_to(blobs / "x")
    (model / "b.safetensors").symlink_to(blobs / "x")
    (model / "nowhere").symlink_to(blobs / "y")
    (tmp_path / "link").symlink_to(model)
    assert bytes_behind(tmp_path / "link") == 1000 + bytes_behind(tmp_path / "none")
    assert bytes_behind(model / "a.safetensors") == 1000
