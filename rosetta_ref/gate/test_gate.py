"""`pytest --pyargs rosetta_ref.gate --converter ...`: one test for each case of the gate. Read `plugin.plugin`."""

from __future__ import annotations

from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.plugin.run import Gate


def test_case(gate: Gate, gate_case: Case) -> None:
    """The converter answers right, or is wrong as expected."""
    __tracebackhide__ = True
    gate.check(gate_case)
