"""F-CONV-QUANT-001: a quantiser writes the type that it is asked for, with no larger an error than the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.metadata import compare_keys, judge_encoding, judge_metadata
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import QUANT, Judged
from rosetta_ref.gate.judge.view import View, look
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject, judged_of, take
from rosetta_ref.quant import TYPES, BlockType


class Quantised(Check):
    """Each block is off by no more than the reference quantiser's, and a margin; all that is no weight stays as it was."""

    group = Group.QUANTISER

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample, where = subject.sample, "" if pair[0] == pair[1] == "gguf" else f"{letters(pair)}/"
        for kind in _asked(subject.entry, sample):
            if of(pair[1]).holds(TYPES[kind]):
                yield Case(
                    f"{QUANT}/{where}{kind.lower()}/{sample.name}", QUANT, self.name, sample.name, pair, type=kind
                )

    def not_asked(self, case: Case) -> str | None:
        if case.type is not None and TYPES[case.type].decode is None:
            return f"nothing here knows what a block of {case.type} means, so that nobody can judge it"
        return None

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        judged, gate = judged_of(question, judgements), question.case.gate
        result.expected, result.compared = sum(judged.expected.values()), sum(judged.elements.values())
        result.notes = dict(judged.done)
        assert question.case.type is not None
        with look(question.source) as source, look(question.target) as target:
            take(result, gate, judge_asked(judged, source, target, question.case.type))


def judge_asked(judged: Judged, source: View, target: View, kind: str) -> list[Finding]:
    """Everything that is wrong with an output whose type was asked for: tensors, the type, words and numbers."""
    findings = list(judged.findings)
    if kind not in {target for _, target in judged.types.values()}:
        findings.append(Finding("not-encoded", QUANT, f"no tensor is {kind}"))
    if source.format == target.format:
        found = compare_keys(source, target)
        judge_encoding(found, target)
    else:
        found = judge_metadata(source, target)
    return [replace(finding, gate=QUANT) for finding in [*findings, *found.findings]]


def _asked(entry: Entry, sample: Sample) -> tuple[str, ...]:
    """The types. Float models only: what is quantised already is another question. Where the data lies is asked of one type."""
    if sample.architecture is None or any(not tensor.type.is_scalar for tensor in sample.model.tensors.values()):
        return ()
    aligned = any("/alignment-" in label for label in sample.labels.values())
    asked = tuple(kind for kind in entry.quantises if fits(TYPES[kind], sample))
    return asked if sample.for_quantisers else asked[:1] if aligned else ()


def fits(kind: BlockType, sample: Sample) -> bool:
    """Whether a matrix of the sample has rows of whole blocks: all others are right to stay what they are."""
    shapes = [tensor.shape for tensor in sample.model.tensors.values() if len(tensor.shape) > 1]
    return any(shape[-1] % kind.elements == 0 for shape in shapes)


CHECK = Quantised()
