"""What is written of a run: result.json, with everything and a published schema, and evidence.json in the form the field reads.

`result.schema.json` and `evidence.schema.json` beside this module say what is in them. Both files appear whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import evidence
from rosetta_ref.gate import names
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import OUTCOMES, Finding, Result
from rosetta_ref.gate.report.rosetta import rosetta_score
from rosetta_ref.gate.report.score import EvidenceError, Scored, score
from rosetta_ref.gate.report.verdict import RunVerdict
from rosetta_ref.version import __version__

#: Grows when a field changes its meaning or goes away; fields may be added under the same number.
FORMAT = 1
SCHEMAS = Path(__file__).parents[1]
#: What is kept of each stream of a converter, from its end: that is where it says what went wrong.
KEPT_TEXT = 16_000


@dataclass(frozen=True)
class RunInfo:
    """What a run was: `profile` names how much was asked, `version` is the converter's own, where it says one."""

    seed: int = 0
    profile: str = "default"
    version: str | None = None
    seconds: float = 0.0
    #: Whether every case of the gate was run, or a selection.
    whole: bool = True


def schema(name: str) -> dict[str, Any]:
    """A published schema: "result" or "evidence"."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def result_json(results: Sequence[Result], verdict: RunVerdict, entry: Entry, info: RunInfo) -> dict[str, Any]:
    """The whole run as values of JSON, the cases in the order of their ids, so that two runs can be laid side by side."""
    made: dict[str, Any] = evidence.plain({
        "format": FORMAT,
        "names": names.VERSION,
        "converter": {**_claims(entry), "version": info.version},
        "versions": {"rosetta-ref": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "host": evidence.host(),
        "timestamp": evidence.now(),
        "seed": info.seed,
        "profile": info.profile,
        "whole": info.whole,
        "seconds": info.seconds,
        "gates": counts(results),
        "verdict": _verdict(verdict),
        "score": _score(results),
        "rosetta_score": _rosetta(results),
        "cases": [_case(result) for result in sorted(results, key=lambda result: result.case)],
    })  # fmt: skip
    return made


def write_result(path: Path, results: Sequence[Result], verdict: RunVerdict, entry: Entry, info: RunInfo) -> None:
    """Write result.json."""
    evidence.write_json(path, result_json(results, verdict, entry, info))


def write_evidence(path: Path, results: Sequence[Result], entry: Entry) -> None:
    """Write evidence.json."""
    evidence.write(path, evidence_json(results, entry))


def counts(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """How many cases of each gate came to which outcome."""
    made: dict[str, dict[str, int]] = {}
    for gate in sorted({result.gate for result in results}):
        found = Counter(result.outcome for result in results if result.gate == gate)
        made[gate] = {outcome: found[outcome] for outcome in OUTCOMES}
    return made


def evidence_json(results: Sequence[Result], entry: Entry) -> list[dict[str, Any]]:
    """One object per case. Its id is the same in every run of the same converter."""
    return [_evidence(result, entry) for result in sorted(results, key=lambda result: result.case)]


def _evidence(result: Result, entry: Entry) -> dict[str, Any]:
    first = next((finding for finding in result.findings if finding.first is not None), None)
    return evidence.entry(
        result.gate,
        result.outcome,
        result.reason or "; ".join(map(str, result.findings)),
        model={"org": "rosetta-ref", "name": result.sample or result.case, "variant": None},
        format=f"{result.source_format} to {result.target_format}",
        backend=entry.name,
        output=result.stdout[-KEPT_TEXT:],
        stderr=result.stderr[-KEPT_TEXT:],
        exit_code=result.exit_code,
        duration=result.seconds,
        memory=result.memory,
        seed=result.seed,
        id=evidence.stable_id(entry.name, result.case),
        metadata={
            "case": result.case,
            "compared": _compared(result),
            "source_types": result.source_types,
            "target_types": result.target_types,
            "kinds": sorted({finding.kind for finding in result.findings}),
            "first_difference": None if first is None else {"tensor": first.tensor, **(first.first or {})},
            "diagnosis": _diagnosis(result),
            "reproduction": result.reproduction,
        },
    )


def _claims(entry: Entry) -> dict[str, Any]:
    """The converter's entry. Of its environment only the names: values may be secrets."""
    fields = {item.name: getattr(entry, item.name) for item in dataclasses.fields(entry)}
    return {**fields, "environment": sorted(entry.environment)}


def _case(result: Result) -> dict[str, Any]:
    return {
        "case": result.case,
        "gate": result.gate,
        "outcome": result.outcome,
        "reason": result.reason,
        "unclaimed": result.unclaimed,
        "compared": _compared(result),
        "findings": [_finding(finding) for finding in result.findings],
        "notes": result.notes,
        "source_types": result.source_types,
        "target_types": result.target_types,
        "sample": result.sample,
        "source_format": result.source_format,
        "target_format": result.target_format,
        "seconds": result.seconds,
        "memory": result.memory,
        "disk": result.disk,
        "exit_code": result.exit_code,
        "stdout": result.stdout[-KEPT_TEXT:],
        "stderr": result.stderr[-KEPT_TEXT:],
        "diagnosis": _diagnosis(result),
        "reproduction": result.reproduction,
        "seed": result.seed,
    }


def _compared(result: Result) -> dict[str, Any]:
    return {"unit": result.unit, "expected": result.expected, "compared": result.compared, "bytes": result.nbytes}


def _diagnosis(result: Result) -> dict[str, Any] | None:
    return None if result.diagnosis is None else {"id": result.diagnosis, "link": result.link}


def _finding(finding: Finding) -> dict[str, Any]:
    return {item.name: getattr(finding, item.name) for item in dataclasses.fields(finding) if item.name != "error"}


def _verdict(verdict: RunVerdict) -> dict[str, Any]:
    return {
        "exit_code": verdict.exit_code,
        "word": verdict.word,
        "as_expected": len(verdict.as_expected),
        "failures": [result.case for result in verdict.failures],
        "passing": [{"case": result.case, "reason": entry.reason} for entry, result in verdict.passing],
        "unmatched": [{"pattern": pattern, "reason": entry.reason} for entry, pattern in verdict.unmatched],
        "stale": [{"patterns": e.patterns, "kind": kind, "reason": e.reason} for e, kind in verdict.stale],
        "expired": [{"patterns": e.patterns, "expires": str(e.expires), "reason": e.reason} for e in verdict.expired],
        "unpinned": [result.case for result in verdict.unpinned],
        "unskipped": [{"case": result.case, "reason": entry.reason} for entry, result in verdict.unskipped],
        "errors": verdict.errors,
    }


def _rosetta(results: Sequence[Result]) -> dict[str, Any] | None:
    """None where nothing was judged."""
    made = rosetta_score(map(Scored.of, results))
    return made.to_json() if made is not None else None


def _score(results: Sequence[Result]) -> dict[str, Any] | None:
    """None where nothing was tested; the verdict says then that the run was none."""
    try:
        return score([Scored.of(result) for result in results]).to_json()
    except EvidenceError:
        return None
