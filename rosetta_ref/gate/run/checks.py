"""The answer to each case: its conversions, and what the judge says of their files. `no_output` answers where there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from rosetta_ref.gate import cases as asked
from rosetta_ref.gate.cases import Case, letters
from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.files import settled
from rosetta_ref.gate.judge.processes import Asking
from rosetta_ref.gate.judge.question import Leg, Question
from rosetta_ref.gate.run import no_output
from rosetta_ref.gate.run.session import Conversion, Session

_UNITS = {
    asked.TENSORS: "elements", asked.COUNT: "tensors", asked.NAMES: "names", asked.WORDS: "keys", asked.CHAIN: "elements",
    asked.SAME: "elements", asked.AGAIN: "elements", asked.BYTES: "bytes", asked.ENCODED: "elements", asked.CLAIM: "pairs",
    asked.ANSWERS: "positions", asked.REFUSAL: "refusals",
}  # fmt: skip


@dataclass
class Answers:
    """Answers cases of a session. The judge keeps what it knows of a conversion while its cases come one after the other."""

    session: Session
    judge: Asking = field(default_factory=Asking)

    def answer(self, case: Case) -> Result:
        """The result of a case; it never raises for what a converter does."""
        result = Result(case.id, case.gate, CORROBORATED, unit=_UNITS[case.what], sample=case.sample)
        if case.what == asked.CLAIM:
            result.outcome, result.expected = SKIPPED, 1
            result.reason = f"the entry does not claim {letters(case.steps)}"
            return result
        sample = self.session.samples[case.sample]
        result.seed, result.expected = sample.seed, _expected(case, sample)
        result.source_format, result.target_format = case.steps[0], case.steps[-1]
        done = self.session.conversion(case.sample, case.steps, type=case.type)
        no_output.note_run(result, done)
        if not done.usable:
            return no_output.tell(result, case, self.session, done)
        used = [done]
        other = self._other(result, case)
        if other is not None and other.target is not None:
            used.append(other)
        elif other is not None:
            return settled(result)
        legs = self._legs(case, used)
        if (changed := next((flaw for each in used if (flaw := each.changed()) is not None), None)) is None:
            result = self.judge(self._question(case, done, other, legs), result)
            changed = next((flaw for each in used if (flaw := each.changed()) is not None), None)
        if changed is not None:  # what was compared meanwhile says nothing of the output that there is
            result.outcome, result.findings = CORROBORATED, [Finding(changed.kind, case.gate, changed.detail)]
        return settled(result)

    def _other(self, result: Result, case: Case) -> Conversion | None:
        """The second conversion that a case asks for; the result says what is wrong with one that gives nothing."""
        if case.what in (asked.AGAIN, asked.BYTES):
            again = self.session.conversion(case.sample, case.steps, turn=1)
            if again.target is None:
                detail = f"the second time the run {again.run.outcome}: {again.flaw or again.run.detail}"
                result.findings.append(Finding("not-deterministic", case.gate, detail))
            return again
        if case.what == asked.SAME:
            direct = self.session.conversion(case.sample, case.other)
            if direct.target is None:
                result.outcome, result.reason = SKIPPED, f"{letters(case.other)} gives nothing to compare with"
            return direct
        return None

    def _legs(self, case: Case, used: list[Conversion]) -> tuple[Leg, ...]:
        """The legs of a chain, or of two ways."""
        paths = {asked.CHAIN: [case.steps], asked.SAME: [case.steps, case.other]}.get(case.what, [])
        legs = []
        for steps in paths:
            for pair, leg in zip(pairwise(steps), self.session.legs(case.sample, steps), strict=True):
                if leg.target is not None:
                    legs.append(Leg(pair, leg.source, leg.target))
                    used.append(leg)
        return tuple(legs)

    def _question(self, case: Case, done: Conversion, other: Conversion | None, legs: tuple[Leg, ...]) -> Question:
        assert done.target is not None
        entry = self.session.converter.entry
        ours = (self.session.face(case.sample, case.steps[0]),)
        second = other.target if other is not None else None
        return Question(case, done.source, done.target, second, legs, ours, entry.lossless, entry.loses)


def _expected(case: Case, sample: Sample) -> int:
    """What a case expects before anything is known of the output, so that one that never runs still says how much is missing."""
    if case.what in (asked.TENSORS, asked.CHAIN, asked.SAME, asked.AGAIN, asked.ENCODED):
        names = case.tensors or tuple(sample.model.tensors)
        return sum(max(sample.model.tensors[name].count, 1) for name in names)
    return max(len(sample.model.tensors), 1)
