"""F-CONV-NAME-001: every tensor has the name that its format gives it."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import NAME
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject, judged_of


class Names(Check):
    """The tensors of the output are called what the target format calls them."""

    group, order = Group.PAIR, 2
    unit = "names"

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        yield Case(f"{NAME}/{letters(pair)}/{subject.sample.name}", NAME, self.name, subject.sample.name, pair)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        judged = judged_of(question, judgements)
        result.compared = len(judged.elements)
        # A tensor that is lost has no name that could be wrong.
        result.expected = result.compared or len(judged.expected)
        result.findings = [finding for finding in judged.findings if finding.gate == NAME]


CHECK = Names()
