"""MQS, the Model Qualification Score: what evidence is worth, from 0 to 1000 points, by the rules of aprender's QA playbook.

Gateways come first: where one fails, the score is 0. Then every category gives points in proportion to its cases that passed.
Cases that were skipped asked nothing and count nowhere, so a converter gains nothing by declining. A category in which nothing was
tested gives full points, as in the playbook, and the score names it: read those points as unproven.

The evidence may be ours, the playbook's list, or its export with the list under `evidence`. Fields that are not needed are ignored.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate import names as renamed
from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, OUTCOMES, SKIPPED, TIMEOUT, Result
from rosetta_ref.gate.kinds import ANSWERS
from rosetta_ref.gate.pairs import PAIRS

#: Points that each category gives at most; 1000 in all.
CATEGORIES = {"QUAL": 200, "PERF": 150, "STAB": 200, "COMP": 150, "EDGE": 150, "REGR": 150}
#: Characters of a gate_id.
_LONGEST = 200
#: Conversion gates that count for REGR; all others count for COMP.
REGRESSION = ("RT", "ABA", "IDEM", "COM")
CRASH_PENALTY, TIMEOUT_PENALTY = 20, 10
GRADES = ((97, "A+"), (93, "A"), (90, "A-"), (87, "B+"), (83, "B"), (80, "B-"), (77, "C+"), (73, "C"), (70, "C-"),
          (67, "D+"), (63, "D"), (60, "D-"))  # fmt: skip
QUALIFIES, PRODUCTION = 70, 90

GATEWAYS = {
    "G0": "integrity",
    "G1": "loads",
    "G2": "basic inference",
    "G3": "nothing crashed",
    "G4": "at most 25 % garbage",
}
#: In aprender's own evidence the six pairs go by their letters.
_BY_LETTERS = {f"F-CONV-{pair}": f"F-CONV-{number:03}" for number, pair in enumerate(PAIRS, 1)}
_INTEGRITY = re.compile(r"F-CONV-(00[1-6]|CARD-\d+|SAFE-\d+)|G0-INTEGRITY.*")
_META, _ENGINES = re.compile(r"F-CONV-META-\d+"), re.compile(r"F-CONV-BE-\d+")
#: What `verify` calls a model that does not load, and answers that no working model gives. Evidence of the gate has `kinds.ANSWERS`
#: in front of these, evidence of `verify` has not.
_UNLOADED, _GARBAGE = frozenset({"load"}), frozenset({"nan", "flat", "deaf", "silent"})


class EvidenceError(RosettaError):
    """Evidence is a JSON list of cases, each with a gate_id and an outcome, and at least one of them was tested."""


@dataclass(frozen=True)
class Scored:
    """What the score needs to know of a case. `kinds` are the kinds of its findings, where the evidence tells them.

    `case` and `diagnosis` are for the words about it.
    """

    gate: str
    outcome: str
    kinds: frozenset[str] = frozenset()
    case: str = ""
    diagnosis: str | None = None

    @classmethod
    def of(cls, result: Result) -> Scored:
        """A result of the gate."""
        kinds = frozenset(finding.kind for finding in result.findings)
        return cls(result.gate, result.outcome, kinds, result.case, result.diagnosis)

    @property
    def failed(self) -> bool:
        """Whether it was tested and did not pass."""
        return self.outcome in (FALSIFIED, TIMEOUT, CRASHED)

    def says(self, failures: frozenset[str]) -> bool:
        """Whether `verify` has said so of its model, by either spelling. A tensor may be `nan`, too: that is another thing."""
        if not _ENGINES.fullmatch(self.gate):
            return False
        return any(kind.removeprefix(ANSWERS) in failures for kind in self.kinds)


@dataclass(frozen=True)
class Category:
    """How many of the cases of a category passed, and what that gives."""

    name: str
    passed: int
    total: int

    @property
    def points(self) -> int:
        """Rounded half up, in whole numbers: no float decides."""
        most = CATEGORIES[self.name]
        return (2 * most * self.passed + self.total) // (2 * self.total) if self.total else most


@dataclass(frozen=True)
class Score:
    """The score. `gateways` gives for each why it fails, or None."""

    gateways: Mapping[str, str | None]
    categories: Mapping[str, Category]
    outcomes: Mapping[str, int]

    @property
    def penalty(self) -> int:
        """Points lost by crashes and timeouts."""
        return CRASH_PENALTY * self.outcomes[CRASHED] + TIMEOUT_PENALTY * self.outcomes[TIMEOUT]

    @property
    def raw(self) -> int:
        """0 to 1000."""
        if any(self.gateways.values()):
            return 0
        return max(0, sum(category.points for category in self.categories.values()) - self.penalty)

    @property
    def normalised(self) -> float:
        """0 to 100: the higher, the more points a step takes."""
        return 100 * math.log10(1 + 9 * self.raw / 1000)

    @property
    def grade(self) -> str:
        """A+ to F."""
        return next((grade for least, grade in GRADES if self.normalised >= least), "F")

    @property
    def untested(self) -> list[str]:
        """Categories whose points nothing has earned."""
        return [name for name, category in self.categories.items() if not category.total]

    @property
    def qualifies(self) -> bool:
        """Whether that is enough."""
        return self.normalised >= QUALIFIES

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "raw": self.raw,
            "normalised": round(self.normalised, 4),
            "grade": self.grade,
            "qualifies": self.qualifies,
            "production": self.normalised >= PRODUCTION,
            "gateways": {
                name: {"title": GATEWAYS[name], "passed": why is None, "reason": why}
                for name, why in self.gateways.items()
            },
            "categories": {
                name: {"points": c.points, "max": CATEGORIES[name], "passed": c.passed, "total": c.total}
                for name, c in self.categories.items()
            },
            "untested": self.untested,
            "penalty": self.penalty,
            "outcomes": dict(self.outcomes),
        }


def score(cases: Iterable[Scored]) -> Score:
    """The score of cases, at least one of which was tested."""
    every = list(cases)
    tested = [case for case in every if case.outcome != SKIPPED]
    if not tested:
        raise EvidenceError("no case was tested" if every else "there is no case at all")
    counts = Counter(case.outcome for case in every)
    totals = Counter(category_of(case.gate) for case in tested)
    passed = Counter(category_of(case.gate) for case in tested if case.outcome == CORROBORATED)
    categories = {name: Category(name, passed[name], totals[name]) for name in CATEGORIES}
    return Score(_gateways(tested), categories, {outcome: counts[outcome] for outcome in OUTCOMES})


def _gateways(tested: Sequence[Scored]) -> dict[str, str | None]:
    integrity = [c for c in tested if _INTEGRITY.fullmatch(c.gate) and _counts_against(c)]
    unloaded = [c for c in tested if c.failed and c.says(_UNLOADED)]
    loads = [c for c in tested if (_META.fullmatch(c.gate) and c.outcome == FALSIFIED) or _is(c, "G1") or c in unloaded]
    inference = [c for c in tested if (_ENGINES.fullmatch(c.gate) and c.outcome == FALSIFIED) or _is(c, "G2")]
    crashes = [c for c in tested if c.outcome == CRASHED]
    garbage = [c for c in tested if _is(c, "G4") or (c.failed and c.says(_GARBAGE))]
    failing = {"G0": integrity, "G1": loads, "G2": inference, "G3": crashes, "G4": garbage}
    if 4 * len(garbage) <= len(tested):
        failing["G4"] = []
    return {name: _why(failing[name]) for name in GATEWAYS}


def _counts_against(case: Scored) -> bool:
    """A timeout or a crash of a conversion has a penalty or a gateway of its own; the playbook's check counts all."""
    return case.failed if case.gate.startswith("G0") else case.outcome == FALSIFIED


def _is(case: Scored, gateway: str) -> bool:
    """Whether a case of the playbook's gateway failed: its id is among the words of the gate's."""
    return case.failed and gateway in case.gate.split("-")


def _why(cases: Sequence[Scored]) -> str | None:
    gates = Counter(case.gate for case in cases)
    return ", ".join(f"{gate} ({count})" for gate, count in sorted(gates.items())) or None


def category_of(gate: str) -> str:
    """The category that a gate counts for.

    >>> category_of("F-CONV-001"), category_of("F-CONV-RT-002"), category_of("G0-PULL-001"), category_of("F-EDGE-7")
    ('COMP', 'REGR', 'STAB', 'EDGE')
    """
    first, second, third, *_ = [*gate.upper().split("-"), "", "", ""]
    if first == "G0":
        return "STAB"
    if (first, second) == ("F", "CONV"):
        return "REGR" if third in REGRESSION else "COMP"
    return second if first == "F" and second in CATEGORIES else "QUAL"


def read(path: Path) -> list[Scored]:
    """The cases of a file of evidence."""
    try:
        value = foreign.json_of(foreign.read_file(path, "record-bytes"), file=path)
    except RosettaError as error:
        raise EvidenceError(f"not JSON: {error.problem}", file=path, offset=error.offset, hint=error.hint) from error
    try:
        return cases_of(value)
    except EvidenceError as error:
        raise error.at(file=path) from None


def cases_of(value: Any) -> list[Scored]:
    """The cases of evidence: a list, or an object with one under `evidence`."""
    if isinstance(value, dict) and isinstance(value.get("evidence"), list):
        value = value["evidence"]
    if not isinstance(value, list):
        raise EvidenceError(f"not a list but {_named(value)}")
    return [_case(item, f"case {index}") for index, item in enumerate(value)]


def _case(item: Any, place: str) -> Scored:
    if not isinstance(item, dict):
        raise EvidenceError(f"{place} is {_named(item)}, not an object")
    gate, outcome, metadata = item.get("gate_id"), item.get("outcome"), item.get("metadata")
    if not isinstance(gate, str) or not gate:
        raise EvidenceError(f"{place} has no gate_id")
    if len(gate) > _LONGEST:
        raise EvidenceError(f"{place} has a gate_id of {len(gate):,} characters, where {_LONGEST} are allowed")
    if outcome not in OUTCOMES:
        raise EvidenceError(f"{place} ({gate}): the outcome is {outcome!r:.80}, not one of {', '.join(OUTCOMES)}")
    about = metadata if isinstance(metadata, dict) else {}
    compared, kinds = about.get("compared"), about.get("kinds")
    if outcome == CORROBORATED and isinstance(compared, dict) and not compared.get("compared"):
        raise EvidenceError(f"{place} ({gate}): Corroborated, although nothing was compared")
    listed = kinds if isinstance(kinds, list) else ()
    names = frozenset(renamed.kind(kind) for kind in listed if isinstance(kind, str))
    named, why = about.get("case"), about.get("diagnosis")
    bug = why.get("id") if isinstance(why, dict) else None
    return Scored(
        _BY_LETTERS.get(gate, gate), outcome, names, named[:_LONGEST] if isinstance(named, str) else "",
        bug[:_LONGEST] if isinstance(bug, str) else None,
    )  # fmt: skip


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
