"""F-CONV-ABA-001: a format, another one, and the first again."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Group, Subject
from rosetta_ref.gate.run.checks.round_trips import RoundTrips

_GATE = "F-CONV-ABA-001"


class ThereAndBack(RoundTrips):
    """The shortest chain that comes back."""

    group, order = Group.WAYS, 1

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        back, sample = (*pair, pair[0]), subject.sample
        if sample.architecture is not None and subject.thorough:
            yield Case(f"{_GATE}/{letters(back)}/{sample.name}", _GATE, self.name, sample.name, back)


CHECK = ThereAndBack()
