"""F-CONV-META-001: configuration and tokenizer arrive."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.judge import loads
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import META
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject


class Metadata(Check):
    """Every number, token and special id that the target has a place for arrives with its value. Only models have them."""

    group, order = Group.PAIR, 3
    unit = "keys"

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        if subject.sample.architecture is not None:
            yield Case(f"{META}/{letters(pair)}/{subject.sample.name}", META, self.name, subject.sample.name, pair)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        found = judgements.metadata(question.source, question.target)
        result.expected, result.compared, result.findings = found.expected, found.compared, list(found.findings)
        if question.case.steps[-1] == "gguf" and (why := loads.refusal(question.target)) is not None:
            result.findings.append(Finding("answers-load", META, f"llama.cpp does not load it: {why}"))


CHECK = Metadata()
