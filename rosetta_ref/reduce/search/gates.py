"""The gates that take more than one conversion, or an engine: asked of an input as the gate asks them of a real model.

A chain, the way back, the same once more, the answers: the gate's own checks say what is wrong, so that both call it by one name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Finding, Result
from rosetta_ref.gate.gates import GATES, SAFE
from rosetta_ref.gate.inputs.real import real_samples
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.judge.tensors import CARD, META, NAME, PAIR_GATES, QUANT
from rosetta_ref.gate.kinds import UNSTATED
from rosetta_ref.gate.run.engine import Engine
from rosetta_ref.gate.run.workspace import Workspace

#: What one conversion shows.
SINGLE = (*PAIR_GATES.values(), CARD, NAME, META, QUANT, SAFE)
#: All others.
OTHERS = tuple(gate for gate in GATES if gate not in SINGLE)


def findings_of(
    gate: str, converter: Converter, source: Path, target_format: str, asked: str | None
) -> tuple[list[Finding], int]:
    """What the gate says of an input on the way to that format, and how many conversions it took."""
    try:
        samples, pair = real_samples([source]), (sniff(source), target_format)
        with Workspace() as work:
            engine = Engine.of(converter, work, 0, samples, [f"{gate}/*"])
            cases = [case for case in engine.cases if _is_asked(case, pair, asked)]
            found = [finding for result in engine.answers(cases) for finding in _all(result)]
            return found, engine.session.calls
    except (RosettaError, OSError):  # what cannot be judged is no failure
        return [], 0


def _is_asked(case: Case, pair: tuple[str, str], asked: str | None) -> bool:
    """Whether a case is about that pair: its own, there and back, or the one that another way is held against."""
    of_chain = case.gate.startswith("F-CONV-RT-") and case.steps[0] == pair[0]
    return case.type == asked and (of_chain or pair in (case.steps[:2], case.other))


def _all(result: Result) -> Iterator[Finding]:
    if result.outcome not in (CORROBORATED, SKIPPED):
        yield from (replace(finding, gate=result.gate) for finding in result.findings)
        if not result.findings:
            kind = result.outcome.lower()
            yield Finding(kind if kind in ("crashed", "timeout") else UNSTATED, result.gate, result.reason)
