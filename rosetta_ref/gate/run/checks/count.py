"""F-CONV-CARD-001: no tensor is lost, none is invented, none is written twice."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import CARD
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject, judged_of


class Count(Check):
    """The output has the tensors of the source, each once."""

    group, order = Group.PAIR, 1
    unit = "tensors"

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        yield Case(f"{CARD}/{letters(pair)}/{subject.sample.name}", CARD, self.name, subject.sample.name, pair)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        judged = judged_of(question, judgements)
        result.expected, result.compared = len(judged.expected), len(judged.elements)
        result.findings = [finding for finding in judged.findings if finding.gate == CARD]


CHECK = Count()
