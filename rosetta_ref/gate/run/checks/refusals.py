"""F-CONV-SAFE-001: a malformed file is refused; what may be accepted gives what its unbroken twin gives.

Which malformed files there are, and what became of them, is in `run.refusals`: they are made from files, and a twin has to be
converted first. Here is judged what was accepted.
"""

from __future__ import annotations

from pathlib import Path

from rosetta_ref.gate.findings import SKIPPED, Finding, Result
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.question import Question
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import UnreadableError, View, look
from rosetta_ref.gate.run.checks.check import Check, Group


class Refusals(Check):
    """Nothing else comes of a malformed file than of its twin."""

    group = Group.MALFORMED
    unit = "refusals"

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        where = result.reason
        try:
            look(question.source).close()
        except UnreadableError:
            result.outcome, result.compared = SKIPPED, 0
            result.reason = f"{where}: accepted, as its twin is, of which nothing comes that can be read"
            return
        words = question.case.rule.startswith("directory/")
        if (wrong := _other_than(question.source, question.target, words=words)) is not None:
            result.findings.append(Finding("accepted-wrongly", result.gate, f"{where}: accepted, and {wrong}"))


def _other_than(twin: Path, output: Path, *, words: bool) -> str | None:
    """How what came of the broken file differs from what came of its twin; `words`: in configuration and tokenizer, too."""
    try:
        with look(twin) as right, look(output) as found:
            judged = judge(right, found)
            said = judge_metadata(right, found).findings if words else []
    except UnreadableError as error:
        return str(error)
    if not judged.elements and not judged.findings:
        return "there is no tensor in it to compare"
    wrong = [finding for finding in judged.findings if not _as_it_says(finding, right, found)]
    return next((str(finding) for finding in [*wrong, *said]), None)


def _as_it_says(finding: Finding, twin: View, found: View) -> bool:
    """What the broken file itself says: it gives a tensor another name, or dimensions of 1 at the end."""
    if finding.kind == "foreign-name":
        return True
    name = finding.tensor
    if finding.kind != "shape" or name is None:
        return False
    shapes = [view.tensors[name].tensor.shape for view in (twin, found) if name in view.tensors]
    return len(shapes) == 2 and [n for n in shapes[0] if n != 1] == [n for n in shapes[1] if n != 1]


CHECK = Refusals()
