"""The answer to each case: its conversions, and what the judge says of their files. `no_output` answers where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Finding, Result
from rosetta_ref.gate.judge.question import Case, Leg, Question
from rosetta_ref.gate.run import no_output
from rosetta_ref.gate.run.checks import CHECKS
from rosetta_ref.gate.run.checks.check import Check, Group
from rosetta_ref.gate.run.judging.processes import Asking
from rosetta_ref.gate.run.judging.questions import settled
from rosetta_ref.gate.run.session import Conversion, Session
from rosetta_ref.gate.run.workspace import Flaw


@dataclass
class Answers:
    """Answers cases of a session. The judge keeps what it knows of a conversion while its cases come one after the other."""

    session: Session
    judge: Asking = field(default_factory=Asking)

    def answer(self, case: Case) -> Result:
        """The result of a case; it never raises for what a converter does."""
        check = CHECKS[case.what]
        result = Result(case.id, case.gate, CORROBORATED, unit=check.unit, sample=case.sample)
        if (reason := check.not_asked(case)) is not None:
            result.outcome, result.expected, result.reason = SKIPPED, 1, reason
            result.unclaimed = check.group == Group.CONVERTER
            return result
        if (reason := no_output.not_claimed(self.session.converter.entry, case)) is not None:
            result.outcome, result.expected, result.unclaimed, result.reason = SKIPPED, 1, True, reason
            return result
        sample = self.session.samples[case.sample]
        result.seed, result.expected = sample.seed, check.expected(case, sample)
        result.source_format, result.target_format = case.steps[0], case.steps[-1]
        done = self.session.conversion(case.sample, case.steps, type=case.type)
        no_output.note_run(result, done)
        if not done.usable:
            return no_output.tell(result, case, self.session, done)
        other = self._second(check, case, result)
        if other is not None and not other.usable:
            return settled(result)
        return self._judged(check, case, result, done, other)

    def _second(self, check: Check, case: Case, result: Result) -> Conversion | None:
        """The second conversion that a case needs; the check says what is wrong where it left no output."""
        if (second := check.second(case)) is None:
            return None
        done = self.session.conversion(case.sample, second.steps, turn=second.turn)
        if not done.usable:
            check.no_second(result, case, f"{done.run.outcome}: {done.flaw or done.run.detail}")
            result.unclaimed = result.outcome == SKIPPED and no_output.is_unclaimed(
                replace(case, steps=second.steps), self.session, done
            )
        return done

    def _judged(
        self, check: Check, case: Case, result: Result, done: Conversion, other: Conversion | None
    ) -> Result:  # fmt: skip
        """What the judge says of the outputs, unless somebody wrote to one of them meanwhile."""
        walked = [
            (pair, leg)
            for steps in check.chains(case)
            for pair, leg in zip(pairwise(steps), self.session.legs(case.sample, steps), strict=True)
        ]
        legs = tuple(Leg(pair, leg.source, leg.target) for pair, leg in walked if leg.target is not None)
        used = [done, *([other] if other is not None else []), *(leg for _, leg in walked if leg.usable)]
        if (changed := _changed(used)) is None:
            result = self.judge(self._question(case, done, other, legs), result)
            changed = _changed(used)
        if changed is not None:  # what was compared meanwhile says nothing of the output that there is
            result.outcome, result.findings = CORROBORATED, [Finding(changed.kind, case.gate, changed.detail)]
        return settled(result)

    def _question(self, case: Case, done: Conversion, other: Conversion | None, legs: tuple[Leg, ...]) -> Question:
        assert done.target is not None
        entry = self.session.converter.entry
        ours = (self.session.face(case.sample, case.steps[0]),)
        second = other.target if other is not None else None
        return Question(case, done.source, done.target, second, legs, ours, entry.lossless, entry.loses)


def _changed(used: Sequence[Conversion]) -> Flaw | None:
    """What was written to one of those outputs after its run, if anything."""
    return next((flaw for each in used if (flaw := each.changed()) is not None), None)
