"""F-CONV-RT-001 to 004: chains through all formats, leg by leg, and the end against the start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.chains import Chain
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.pairs import FORMATS, letters, path
from rosetta_ref.gate.run.checks.check import Check, Group, Steps, Subject, take, take_all

_PATHS = {
    "F-CONV-RT-001": "G-A-S-G", "F-CONV-RT-002": "S-A-G-S", "F-CONV-RT-003": "S-A-G-A-S", "F-CONV-RT-004": "S-A-G-A",
}  # fmt: skip
#: Chains that others go through as well, where they are more than the pairs one after the other: not every format has a face.
_SHORT = ("F-CONV-RT-001", "F-CONV-RT-002")


class RoundTrips(Check):
    """What comes back at the end of a chain is what went in, but for what a leg may change."""

    group = Group.CHAIN
    single = False

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample = subject.sample
        if sample.architecture is None:
            return
        for gate, name in _PATHS.items():
            short = gate in _SHORT and len(sample.formats) < len(FORMATS) and not sample.for_quantisers
            if path(name)[:2] == pair and (subject.thorough or short):
                yield Case(f"{gate}/{sample.name}", gate, self.name, sample.name, path(name))

    def chains(self, case: Case) -> Sequence[Steps]:
        return (case.steps,)

    def wrong_steps(self, case: Case, findings: Sequence[Finding]) -> Steps:
        wrong = {finding.leg for finding in findings}
        paths = (case.steps[:end] for end in range(2, len(case.steps) + 1))
        return next((steps for steps in paths if letters(steps[-2:]) in wrong), ())

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        chain, gate = Chain(question.legs, judgements), question.case.gate
        take_all(result, gate, chain.ends(gate))
        take(result, gate, chain.metadata())


CHECK = RoundTrips()
