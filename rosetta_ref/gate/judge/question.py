"""A case, what the judge is asked about it, and its result: also as JSON, since a process of its own judges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref import evidence
from rosetta_ref.gate.findings import Finding, Result


@dataclass(frozen=True)
class Case:
    """One question about a converter. `steps` is the conversion that answers it, `other` the one it is compared with.

    `what` names the check that asks it, a module of `run.checks`. `tensors` are those of the sample that it is about; `type` is
    what a quantiser is asked for; `rule` names the malformed file. One conversion answers many cases.
    """

    id: str
    gate: str
    what: str
    sample: str
    steps: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    type: str | None = None
    rule: str = ""

    @property
    def malformed(self) -> bool:
        """Whether a malformed file is converted."""
        return bool(self.rule)


@dataclass(frozen=True)
class Leg:
    """One conversion of a chain: its formats, and its files."""

    steps: tuple[str, str]
    source: Path
    target: Path


@dataclass(frozen=True)
class Question:
    """A case, and the files that answer it; nothing is converted any more.

    `other` is what `target` is held against besides the source: a second run, the direct way, the twin of a malformed file. `ours`
    are files that the gate wrote itself: where the judge fails on those, no converter is to blame.
    """

    case: Case
    source: Path
    target: Path
    other: Path | None = None
    legs: tuple[Leg, ...] = ()
    ours: tuple[Path, ...] = ()
    lossless: bool = False
    loses: tuple[str, ...] = ()


def question_to_values(question: Question) -> dict[str, Any]:
    """As values of JSON."""
    values: dict[str, Any] = {**vars(question), "case": vars(question.case)}
    values["legs"] = [[leg.steps, str(leg.source), str(leg.target)] for leg in question.legs]
    values["ours"] = [str(path) for path in question.ours]
    return {**values, **{name: str(value) for name, value in values.items() if isinstance(value, Path)}}


def question_of(values: dict[str, Any]) -> Question:
    """The question of such values."""
    case = values["case"]
    for name in ("steps", "other", "tensors"):
        case[name] = tuple(case[name])
    legs = tuple(Leg((steps[0], steps[1]), Path(source), Path(target)) for steps, source, target in values["legs"])
    return Question(
        Case(**case), Path(values["source"]), Path(values["target"]), values["other"] and Path(values["other"]), legs,
        tuple(map(Path, values["ours"])), values["lossless"], tuple(values["loses"]),
    )  # fmt: skip


def to_json(result: Result) -> str:
    """A result as a text."""
    return json.dumps(evidence.plain({**vars(result), "findings": [vars(finding) for finding in result.findings]}))


def of_json(text: str) -> Result:
    """The result of such a text."""
    return result_of(json.loads(text))


def result_of(values: dict[str, Any]) -> Result:
    """The result of such values."""
    findings = [Finding(**finding) for finding in values.pop("findings")]
    for name in ("source_types", "target_types"):
        values[name] = tuple(values[name])
    reproduction = values.pop("reproduction")
    return Result(**values, findings=findings, reproduction=Path(reproduction) if reproduction else None)
