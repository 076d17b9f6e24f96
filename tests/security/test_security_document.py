"""docs/security.md says what is so: the limits, the kinds of faults and the weights of the campaign are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.campaigns.draw import WEIGHTS
from rosetta_ref.campaigns.oracles import KINDS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table that begins with that line."""
    table = DOCUMENT.partition(f"\n{heading}\n")[2].partition("\n\n")[0].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table[1:]]


def test_the_limits_are_those_of_the_table() -> None:
    shown = DOCUMENT.partition("<!-- limits: made by rosetta_ref.limits.table() -->\n")[2].partition("<!-- end -->")[0]
    assert shown == limits.table()
    assert shown.count("\n") > 5


def test_every_kind_of_fault_is_listed() -> None:
    assert dict(rows("| kind of fault | what it is |")) == KINDS


def test_the_weights_are_those_of_the_campaign() -> None:
    assert dict(rows("| command | executions |")) == {name: f"{weight:,}" for name, weight in WEIGHTS.items()}
    assert sum(WEIGHTS.values()) == 100_000


def test_each_threat_names_its_tests_and_each_test_a_threat() -> None:
    threats = [row for row in rows("| threat | what stops it | test |") if not row[0].startswith("**")]
    assert len(threats) > 25
    named = {test for _, _, tests in threats for test in re.findall(r"`(test_\w+\.py)`", tests)}
    assert all(re.search(r"`test_\w+\.py`", tests) for _, _, tests in threats)
    about_itself = {"test_security_document.py", "test_campaign.py"}
    assert named == {path.name for path in (ROOT / "tests" / "security").glob("test_*.py")} - about_itself
