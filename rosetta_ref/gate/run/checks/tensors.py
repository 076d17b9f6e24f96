"""F-CONV-001 to 006: the tensors of a pair, one case for each label of the sample (a type, a shape, a payload)."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.mapping import FROM_CONFIGURATION
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.judge.tensors import gate_of
from rosetta_ref.gate.run.checks.check import Check, Group, Subject, judged_of


class Tensors(Check):
    """Every element arrives with the value that it has, or that its new type gives it."""

    group = Group.PAIR

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        gate, by_label = gate_of(*pair), dict[str, list[str]]()
        for name, label in subject.sample.labels.items():
            if of(pair[0]).has_companions and name in FROM_CONFIGURATION:
                continue  # that face has parameters in its place
            by_label.setdefault(label, []).append(name)
        for label, names in by_label.items():
            id_ = f"{gate}/{subject.sample.name}/{label}"
            yield Case(id_, gate, self.name, subject.sample.name, pair, tensors=tuple(names))

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        judged, names = judged_of(question, judgements), question.case.tensors
        result.expected = sum(judged.expected.get(name, 0) for name in names)
        result.compared = sum(judged.elements.get(name, 0) for name in names)
        result.nbytes = judged.nbytes if len(judged.expected) == len(names) else 0
        result.findings = [finding for finding in judged.of(*names) if finding.gate == question.case.gate]
        types = [judged.types[name] for name in names if name in judged.types]
        result.source_types = tuple(sorted({source for source, _ in types}))
        result.target_types = tuple(sorted({target for _, target in types}))
        for name in names:
            if name in judged.by_tensor:
                result.notes[judged.by_tensor[name]] = result.notes.get(judged.by_tensor[name], 0) + 1


CHECK = Tensors()
