"""What a run did not ask, and why: it was stopped, its time was spent, or it is one part of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Partial:
    """A run that has not answered every case. `planned` and `answered` count cases by gate.

    stopped: by whom it was ended; spent: the seconds that it had; part: (1, 3) is the first of three; selected: somebody chose
    which cases are asked at all.
    """

    planned: Mapping[str, int]
    answered: Mapping[str, int]
    stopped: str | None = None
    spent: float | None = None
    part: tuple[int, int] | None = None
    selected: bool = False

    @property
    def why(self) -> str:
        """In words."""
        number = f"part {self.part[0]} of {self.part[1]}" if self.part is not None else None
        budget = f"its budget of {self.spent:g} s is spent" if self.spent is not None else None
        return ", ".join(filter(None, (number, self.stopped and f"stopped by {self.stopped}", budget)))

    @property
    def cut(self) -> dict[str, tuple[int, int]]:
        """The gates of which something was not asked, each with how many of how many cases have an answer."""
        return {
            gate: (answered, planned)
            for gate, planned in sorted(self.planned.items())
            if (answered := self.answered.get(gate, 0)) < planned
        }

    def __str__(self) -> str:
        cases = f"{sum(self.answered.values()):,} of {sum(self.planned.values()):,} cases are answered"
        gates = ", ".join(f"{gate} ({answered} of {planned})" for gate, (answered, planned) in self.cut.items())
        return f"partial ({self.why}): {cases}" + (f"; cut: {gates}" if gates else "")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "why": self.why,
            "stopped": self.stopped,
            "budget": self.spent,
            "part": list(self.part) if self.part is not None else None,
            "selected": self.selected,
            "planned": sum(self.planned.values()),
            "answered": sum(self.answered.values()),
            "cut": {gate: {"answered": a, "planned": p} for gate, (a, p) in self.cut.items()},
        }


def counted(gates: Sequence[str]) -> Mapping[str, int]:
    """How many cases there are of each gate."""
    return Counter(gates)
