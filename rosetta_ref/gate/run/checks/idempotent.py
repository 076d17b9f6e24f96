"""F-CONV-IDEM-001: the same conversion gives the same model again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.chains import retyped
from rosetta_ref.gate.judge.metadata import compare_keys
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Second, Subject, take, take_all


class Idempotent(Check):
    """Twice the same conversion: equal tensors and equal metadata, timestamps and the like aside."""

    group = Group.TWICE
    single = False
    gate: ClassVar[str] = "F-CONV-IDEM-001"

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample = subject.sample
        if sample.architecture is not None and subject.twice:
            yield Case(f"{self.gate}/{letters(pair)}/{sample.name}", self.gate, self.name, sample.name, pair)

    def second(self, case: Case) -> Second:
        return Second(case.steps, turn=1)

    def no_second(self, result: Result, case: Case, how: str) -> None:
        result.findings.append(Finding("not-deterministic", case.gate, f"the second time the run {how}"))

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        assert question.other is not None
        gate = question.case.gate
        with look(question.target) as source, look(question.other) as target:
            judged = judgements.of(source, target, gate=gate)
            judged.findings += retyped(judged, gate)
            take_all(result, gate, judged)
            take(result, gate, compare_keys(source, target).findings)


CHECK = Idempotent()
