"""The pairs that an entry does not claim: each is a case that is skipped, so that nobody takes it for one that passed."""

from __future__ import annotations

from collections.abc import Iterator

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.judge.tensors import gate_of
from rosetta_ref.gate.pairs import PAIRS, letters, path
from rosetta_ref.gate.run.checks.check import Check, Group


class Claims(Check):
    """A pair that the entry does not claim is skipped."""

    group = Group.CONVERTER
    unit = "pairs"

    def plan_once(self, entry: Entry) -> Iterator[Case]:
        claimed = entry.pairs if entry.pairs is not None else PAIRS
        for pair in PAIRS:
            if pair not in claimed:
                gate = gate_of(*path(pair))
                yield Case(f"{gate}/not-claimed", gate, self.name, "", path(pair))

    def not_asked(self, case: Case) -> str:
        return f"the entry does not claim {letters(case.steps)}"


CHECK = Claims()
