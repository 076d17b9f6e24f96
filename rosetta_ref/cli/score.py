"""`rosetta-ref score EVIDENCE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, print_table, say, say_error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="a JSON list of cases: evidence.json")
    parser.add_argument("--json", action="store_true", help="print the score as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Score, and print how it came about. What is no evidence gives 2."""
    from rosetta_ref.gate.report.rosetta import rosetta_score
    from rosetta_ref.gate.report.score import CATEGORIES, GATEWAYS, EvidenceError, read, score

    try:
        cases = read(arguments.evidence)
        made, beside = score(cases), rosetta_score(cases)
    except (EvidenceError, OSError) as error:
        say_error(err, str(error.at(file=arguments.evidence) if isinstance(error, EvidenceError) else error))
        return 2
    if arguments.json:
        print_json({**made.to_json(), "rosetta_score": beside.to_json() if beside is not None else None})
        return 0 if made.qualifies else 1
    passed = [
        (name, GATEWAYS[name], "passed" if why is None else f"FAILED: {why}") for name, why in made.gateways.items()
    ]
    print_table(out, "gateways", ("gateway", "what", "verdict"), passed)
    rows = [
        (
            name,
            c.points,
            CATEGORIES[name],
            f"{c.passed} of {c.total} passed" if c.total else "untested: nothing earned it",
        )
        for name, c in made.categories.items()
    ]
    print_table(out, "categories", ("category", "points", "of", "cases"), rows, right=("points", "of"))
    counted = ", ".join(f"{count} {outcome}" for outcome, count in made.outcomes.items() if count)
    say(out, f"penalty for crashes and timeouts: {made.penalty}; {counted}")
    if made.untested:
        say(out, f"note: untested, with full points: {', '.join(made.untested)}")
    for line in beside.worst if beside is not None else ():
        say(out, f"worst: {line}")
    verdict = "qualifies" if made.qualifies else "DOES NOT QUALIFY"
    say(out, f"{made.raw} of 1000 points, {made.normalised:.1f} of 100, grade {made.grade}: {verdict}")
    say(out, f"rosetta score: {beside} of the judged cases are right, each gate weighted alike")
    return 0 if made.qualifies else 1
