"""F-CONV-COM-001: two ways to one format give the same model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rosetta_ref.gate.findings import SKIPPED, Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.chains import Chain, excuse
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.pairs import FORMATS, letters
from rosetta_ref.gate.run.checks.check import Check, Group, Second, Steps, Subject, take_all

_GATE = "F-CONV-COM-001"


class TwoWays(Check):
    """The way through a third format gives the numbers of the direct one, whatever their types, but where one way rounds."""

    group, order = Group.WAYS, 2
    single = False

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample = subject.sample
        if sample.architecture is None or not subject.thorough:
            return
        for between in FORMATS:
            way = (pair[0], between, pair[1])
            if between not in pair and subject.is_asked(way):
                yield Case(f"{_GATE}/{letters(way)}/{sample.name}", _GATE, self.name, sample.name, way, other=pair)

    def second(self, case: Case) -> Second:
        return Second(case.other)

    def no_second(self, result: Result, case: Case, how: str) -> None:
        result.outcome, result.reason = SKIPPED, f"{letters(case.other)} gives nothing to compare with"

    def chains(self, case: Case) -> Sequence[Steps]:
        return (case.steps, case.other)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        assert question.other is not None
        gate = question.case.gate
        with look(question.other) as source, look(question.target) as target:
            judged = judgements.of(source, target, gate=gate)
        excuse(judged, Chain(question.legs, judgements).rounded())
        take_all(result, gate, judged)


CHECK = TwoWays()
