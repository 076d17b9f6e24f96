"""Results of a gate, as short as a test can say them."""

from __future__ import annotations

from typing import Any

from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result


def passed(case: str, **more: Any) -> Result:
    return Result(case, case.split("/")[0], CORROBORATED, expected=8, compared=8, **more)


def failed(case: str, *kinds: str, outcome: str = FALSIFIED, **more: Any) -> Result:
    gate = case.split("/")[0]
    findings = [Finding(kind, gate, f"{kind} of 8 elements", tensor="a.weight", count=8) for kind in kinds]
    return Result(case, gate, outcome, expected=8, compared=8, findings=findings, **more)


def skipped(case: str, reason: str = "never claimed") -> Result:
    return Result(case, case.split("/")[0], SKIPPED, reason)
