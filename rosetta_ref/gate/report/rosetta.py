"""The rosetta score: the share of judged cases that are right, each gate weighted alike, and the worst causes in a sentence each.

It stands beside the MQS (`score`), and is none: it has no gateways, no categories and no penalties. A converter that does one thing
wrong keeps what it does right, so two runs of it can be told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosetta_ref.gate.findings import CORROBORATED, CRASHED, SKIPPED, TIMEOUT
from rosetta_ref.gate.kinds import KINDS, UNSTATED
from rosetta_ref.gate.report.score import Scored

#: Causes that are named.
MOST_CAUSES = 3
#: Outcomes that are a cause by themselves, and the kinds that they are.
ENDED = {CRASHED: "crashed", TIMEOUT: "timeout"}


@dataclass(frozen=True)
class Share:
    """Of the cases of a gate that were judged, how many are right."""

    right: int
    judged: int


@dataclass(frozen=True)
class RosettaScore:
    """By gate, the share of right cases; and the worst causes, a sentence each. Gates of which nothing was judged are not there."""

    gates: Mapping[str, Share]
    worst: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """0 to 1: the mean over the gates."""
        return sum(each.right / each.judged for each in self.gates.values()) / len(self.gates)

    def __str__(self) -> str:
        # 100 % is said of no converter that was wrong once.
        percent = 100 * self.share
        return f"{percent if percent == 100 else min(percent, 99.9):.1f} %"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        gates = {name: {"right": each.right, "judged": each.judged} for name, each in self.gates.items()}
        return {"share": round(self.share, 6), "gates": gates, "worst": list(self.worst)}


def rosetta_score(cases: Iterable[Scored]) -> RosettaScore | None:
    """The score of cases; None where none was judged."""
    judged = [case for case in cases if case.outcome != SKIPPED]
    if not judged:
        return None
    total = Counter(case.gate for case in judged)
    right = Counter(case.gate for case in judged if case.outcome == CORROBORATED)
    return RosettaScore({gate: Share(right[gate], total[gate]) for gate in sorted(total)}, tuple(_worst(judged)))


def _worst(judged: Sequence[Scored]) -> Iterable[str]:
    """The worst causes first: by the severity of the kind, then by how many cases show it."""
    groups: dict[tuple[str, str | None], list[Scored]] = {}
    for case in judged:
        for kind in _kinds(case):
            groups.setdefault((kind, case.diagnosis), []).append(case)
    ranked = sorted(groups, key=lambda cause: (KINDS[cause[0]].severity.rank, -len(groups[cause]), str(cause)))
    return (_sentence(*cause, groups[cause]) for cause in ranked[:MOST_CAUSES])


def _kinds(case: Scored) -> Iterable[str]:
    if not case.failed:
        return ()
    if case.outcome in ENDED:
        return (ENDED[case.outcome],)
    return sorted(kind for kind in case.kinds if kind in KINDS) or (UNSTATED,)


def _sentence(kind: str, diagnosis: str | None, cases: Sequence[Scored]) -> str:
    says, means = KINDS[kind].says, KINDS[kind].means
    named = f" ({diagnosis})" if diagnosis else ""
    count = "1 case" if len(cases) == 1 else f"{len(cases):,} cases"
    first = cases[0].case or cases[0].gate
    return f"{says[0].upper()}{says[1:]}{named} in {count}, such as {first}: {means[0].lower()}{means[1:]}"
