"""What a verification found: failures by kind, figures, counts, and which weight is to blame."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.errors import SHOWN, safe_line
from rosetta_ref.verify.blame import Blame


@dataclass(frozen=True)
class Failure:
    """One thing that does not hold.

    `kind` is vocabulary, tokens, stops, weights, numbers, logits, top1, text, limit, nan, flat, deaf, silent, load or engines;
    `engine` is where it was seen.
    """

    kind: str
    engine: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.engine}): {self.detail}"


@dataclass
class Report:
    """The outcome of `verify`. `counts` are of what was compared, `figures` by engine or by pair of engines."""

    source: Path
    target: Path
    claim: str = ""
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    #: By case, "conversion" or a pair of engines: positions that were to be compared, and that were.
    expected: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    blame: Blame | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def same(self) -> bool:
        """Whether the converted model answers as the source does, within its claim."""
        return not self.failures

    def fail(self, kind: str, engine: str, detail: str) -> None:
        """Note a failure: in one line, cut, since it may hold the words of a file."""
        self.failures.append(Failure(kind, engine, safe_line(detail, SHOWN)))

    def note(self, text: str) -> None:
        """Note what is no failure."""
        self.notes.append(safe_line(text, SHOWN))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a figure that is no number is text."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "same": self.same,
            "claim": self.claim,
            "failures": [vars(failure) for failure in self.failures],
            "counts": dict(self.counts),
            "expected": dict(self.expected),
            "compared": dict(self.compared),
            "figures": {name: _plain(row) for name, row in self.figures.items()},
            "limits": {name: _plain(row) for name, row in self.limits.items()},
            "answer": self.answer,
            "blame": self.blame.to_json() if self.blame is not None else None,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


def _plain(figures: dict[str, float]) -> dict[str, Any]:
    return {name: value if abs(value) < float("inf") else str(value) for name, value in figures.items()}
