"""F-CONV-QUANT-001: a quantiser writes the type that it is asked for, with no larger an error than the reference's."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.metadata import compare_keys, judge_encoding
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import QUANT
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.run.checks.check import Check, Group, Subject, judged_of, take


class Quantised(Check):
    """Each block is off by no more than the reference quantiser's, and a margin; all that is no weight stays as it was."""

    group = Group.QUANTISER

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample = subject.sample
        for kind in _asked(subject.entry, sample):
            yield Case(f"{QUANT}/{kind.lower()}/{sample.name}", QUANT, self.name, sample.name, pair, type=kind)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        judged, gate = judged_of(question, judgements), question.case.gate
        result.expected, result.compared = sum(judged.expected.values()), sum(judged.elements.values())
        result.notes = dict(judged.done)
        take(result, gate, judged.findings)
        assert question.case.type is not None
        if question.case.type not in {target for _, target in judged.types.values()}:
            result.findings.append(Finding("not-encoded", gate, f"no tensor is {question.case.type}"))
        with look(question.source) as source, look(question.target) as target:
            found = compare_keys(source, target)
            judge_encoding(found, target)
            take(result, gate, found.findings)


def _asked(entry: Entry, sample: Sample) -> tuple[str, ...]:
    """The types. Float models only: what is quantised already is another question. Where the data lies is asked of one type."""
    if sample.architecture is None or any(not tensor.type.is_scalar for tensor in sample.model.tensors.values()):
        return ()
    aligned = any("/alignment-" in label for label in sample.labels.values())
    return entry.quantises if sample.for_quantisers else entry.quantises[:1] if aligned else ()


CHECK = Quantised()
