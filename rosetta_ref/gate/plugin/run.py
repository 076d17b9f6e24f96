"""What runs under pytest: the cases of one process, and the results of all of them. Read `plugin` first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from rosetta_ref.errors import SHOWN, safe, safe_line
from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Result
from rosetta_ref.gate.judge.question import Case, of_json, to_json
from rosetta_ref.gate.report.rosetta import rosetta_score
from rosetta_ref.gate.report.score import Scored
from rosetta_ref.gate.report.verdict import RunVerdict, contradiction, place, said
from rosetta_ref.gate.run import request
from rosetta_ref.gate.run.answers import Answers
from rosetta_ref.gate.run.engine import Engine, OnFailure, failures, group_of
from rosetta_ref.gate.run.request import Request
from rosetta_ref.gate.run.workspace import Workspace

__all__ = ["SENT", "Collected", "ExpectedFailure", "Gate", "of_json", "to_json"]

#: The attribute of a report that its result is sent in, and the key of what else processes tell each other.
SENT = "rosetta_gate"
_MOST_FINDINGS = 10
#: Characters of one part of what is told, which may have several lines.
_LONGEST = 4 * SHOWN
#: Exit statuses that the verdict may replace: all well, tests failed, no tests.
_ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class ExpectedFailure(AssertionError):  # noqa: N818 (it is what it is called)
    """A case is wrong, and just so as its expectations say."""


# One process


class Gate:
    """The cases of a run in one process, and their answers. Planning runs no conversion."""

    def __init__(self, asked: Request, on_failure: OnFailure = lambda failures: None) -> None:
        self.asked = asked
        self._on_failure = on_failure
        self._work = Workspace()
        self._engines = [
            Engine.of(asked.converter, self._work, seed, asked.samples(seed), asked.only) for seed in asked.seeds
        ]
        self._answers = [Answers(engine.session) for engine in self._engines]
        #: By id and by seed. The cases of samples are the same with every seed, the cuts of malformed files are not.
        self._planned = [{case.id: case for case in engine.cases} for engine in self._engines]
        self.cases = {case.id: case for engine in self._engines for case in engine.cases}
        self._expected = asked.in_force()
        self.results: dict[str, Result] = {}

    def close(self) -> None:
        """Remove the files."""
        self._work.close()

    def check(self, case: Case) -> None:
        """Answer a case. Fails for anything unexpected; raises ExpectedFailure for a failure that is expected."""
        __tracebackhide__ = True
        result = self.results[case.id] = self._answer(case)
        found = RunVerdict(errors=list(contradiction(result)))
        place(result, [entry for entry in self._expected if entry.matches(result.case)], found)
        if any((found.errors, found.failures, found.unpinned, found.unskipped)):
            pytest.fail(_told(result, found, self.asked), pytrace=False)
        if result.outcome == SKIPPED:
            pytest.skip(safe_line(result.reason, SHOWN))
        if result.outcome != CORROBORATED:
            raise ExpectedFailure(safe_line(said(result), SHOWN))

    def _answer(self, case: Case) -> Result:
        """With each seed, up to the first that shows something."""
        result = None
        for engine, answers, planned in zip(self._engines, self._answers, self._planned, strict=True):
            if case.id in planned and (result is None or result.outcome == CORROBORATED):
                result = engine.answer(planned[case.id], answers)
                if found := failures(engine, [result]):
                    self._on_failure(found)
        assert result is not None
        return result

    @property
    def groups(self) -> dict[str, str]:
        """What belongs in one process: the cases of a sample; the many malformed files of a format, which need a twin only."""
        return {
            case.id: f"malformed {case.steps[0]}" if case.malformed else group_of(case) for case in self.cases.values()
        }

    def parameters(self) -> Iterator[Any]:
        """A parameter of pytest for each case: its id, and whether a failure is expected."""
        for case in self.cases.values():
            marks = []
            failing = [entry for entry in self._expected if entry.outcome != SKIPPED and entry.matches(case.id)]
            if failing:
                reason = "; ".join(" ".join(filter(None, (entry.reason.strip(), entry.issue))) for entry in failing)
                strict = any(entry.strict for entry in failing)
                marks.append(pytest.mark.xfail(reason=reason, strict=strict, raises=ExpectedFailure))
            yield pytest.param(case, id=case.id, marks=marks)


def _told(result: Result, found: RunVerdict, asked: Request) -> str:
    """What pytest prints of a case that fails."""
    lines = [*found.lines(), *(f"  {finding}" for finding in result.findings[1:_MOST_FINDINGS])]
    if len(result.findings) > _MOST_FINDINGS:
        lines.append(f"  and {len(result.findings) - _MOST_FINDINGS} more findings")
    if result.stderr.strip():
        lines.append(f"it said: {result.stderr.strip()}")
    lines.append(f"reproduce: {asked.reproduce(result, asked.converter.entry)}")
    return safe("\n".join(line[:_LONGEST] for line in lines))


# All of them


class Collected:
    """The results of all processes, and the verdict over them at the end."""

    def __init__(self, asked: Request) -> None:
        self.asked = asked
        self.began = time.perf_counter()
        self.results: dict[str, Result] = {}
        self.planned: set[str] = set()
        self.selected: set[str] = set()
        self.verdict: RunVerdict | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result that came with a report."""
        if (text := getattr(report, SENT, None)) is not None:
            result = of_json(text)
            self.results[result.case] = result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a process of xdist was to do."""
        self.add(*getattr(node, "workeroutput", {}).get(SENT, ((), ())))

    def add(self, planned: Iterable[str], selected: Iterable[str]) -> None:
        """The ids of the cases that there are, and of those that were to be answered."""
        self.planned |= set(planned)
        self.selected |= set(selected)

    def finish(self, session: pytest.Session) -> None:
        """The verdict, its files, and the exit status where the tests alone would say too little."""
        whole = not self.asked.only and self.planned == self.results.keys()
        results = list(self.results.values())
        self.verdict = found = self.asked.judge(results, whole=whole)
        missing = self.selected - self.results.keys()
        if missing and not (session.shouldfail or session.shouldstop):
            found.errors.append(f"{len(missing)} cases have no result, {min(missing)} for one")
        self.asked.write(results, found, self.asked.info(time.perf_counter() - self.began, whole=whole))
        if found.exit_code and session.exitstatus in _ENDED:
            session.exitstatus = found.exit_code

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What no single test can say, and the verdict."""
        if self.verdict is None:
            return
        terminalreporter.section(safe_line(f"rosetta-ref gate: {self.asked.converter.entry.name}", SHOWN))
        told = ("unexpected: ", "skipped, and not pinned: ")
        for line in self.verdict.lines():
            if not line.startswith(told):
                terminalreporter.line(safe_line(line, SHOWN), red=True)
        points = request.points(list(self.results.values()))
        score = f"; MQS {points.raw} of 1000 ({points.grade})" if points else ""
        beside = rosetta_score(map(Scored.of, self.results.values()))
        score += f"; rosetta score {beside}" if beside is not None else ""
        part = "" if self.planned == self.results.keys() else f" of {len(self.planned)}"
        terminalreporter.line(f"{self.verdict.word}: {len(self.results)}{part} cases{score}")
