"""A verification as evidence for the gate F-CONV-BE-001: the same file on two engines, and the same answers after a conversion."""

from __future__ import annotations

from typing import Any

from rosetta_ref import evidence
from rosetta_ref.formats.detect import format_of_target, sniff
from rosetta_ref.verify.prompts import DEFAULT
from rosetta_ref.verify.report import Failure, Report

GATE = "F-CONV-BE-001"


def evidence_of(report: Report) -> list[dict[str, Any]]:
    """One case for the conversion, and one for each pair of engines that looked at the same file."""
    pairs = sorted(name for name in report.expected if name != "conversion")
    backend = " and ".join(sorted(name for name in report.figures if ": " not in name))
    own = [failure for failure in report.failures if failure.engine not in pairs]
    cases = [_case(report, "conversion", backend, own)]
    for pair in pairs:
        wrong = [failure for failure in report.failures if failure.engine == pair]
        cases.append(_case(report, pair, pair.partition(": ")[2], wrong))
    return cases


def _case(report: Report, case: str, backend: str, wrong: list[Failure]) -> dict[str, Any]:
    figures = {name: row for name, row in report.figures.items() if (case in (name, "conversion"))}
    right = not wrong and report.compared[case] == report.expected[case] > 0
    return evidence.entry(
        GATE,
        evidence.CORROBORATED if right else evidence.FALSIFIED,
        "; ".join(map(str, wrong)) or f"{report.compared[case]:,} of {report.expected[case]:,} positions compared",
        model=report.source,
        format=f"{sniff(report.source)} to {format_of_target(report.target)}",
        backend=backend,
        prompt=DEFAULT[0].text,
        output=next(iter(report.answer.values()), ""),
        exit_code=int(not right),
        duration=report.seconds,
        metadata={
            "case": f"{GATE}/{case}",
            "claim": report.claim,
            "kinds": sorted({failure.kind for failure in wrong}),
            "compared": {
                "unit": "positions",
                "expected": report.expected[case],
                "compared": report.compared[case],
            },
            "counts": dict(report.counts),
            "figures": figures,
            "limits": report.limits,
            "blame": report.blame.to_json() if report.blame is not None and not right else None,
            "target": report.target,
        },
    )
