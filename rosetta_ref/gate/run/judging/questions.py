"""What is wrong with an output: the files of a question held against each other. Nothing is converted here, and nothing is raised.

This runs in a process of its own (`process`, by way of `processes`), since what a converter writes may be anything: with limits
of time and memory, and so that a library that falls takes nobody along.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Question
from rosetta_ref.gate.judge.tokenizer import tokenizer
from rosetta_ref.gate.judge.view import UnreadableError, look
from rosetta_ref.gate.run.checks import CHECKS

#: Findings of a result that are kept of each kind: an output may have as many tensors as there is room for.
_KEPT = 100
#: How findings begin that say that the judge could not look at an output.
UNJUDGED = re.compile("judging it takes|the judge failed on it")


class HarnessError(RosettaError):
    """The gate answers every case, whatever a converter wrote."""


class Judging:
    """Answers questions, one after the other; what was judged of a conversion is kept, since its cases come together."""

    def __init__(self) -> None:
        self._kept: tuple[object, Judgements] | None = None
        self.judgements = Judgements(Entry(""))

    def answer(self, question: Question, result: Result) -> Result:
        """Complete a result.

        The judge reads what a converter wrote, so an exception of it is a result about that output. Only where it fails on files
        that the gate wrote itself, the exception is raised again: then nothing was judged.
        """
        self._of_the_entry(question)
        try:
            CHECKS[question.case.what].judge(result, question, self.judgements)
        except UnreadableError as error:
            result.findings.append(Finding(error.kind, question.case.gate, str(error)))
        except MemoryError:
            result.findings.append(
                Finding("unreadable", question.case.gate, "judging it takes more memory than it may")
            )
        except ImportError:
            raise
        except Exception as error:
            if _fails_on(question.ours):
                raise
            words = f"the judge failed on it: {unforeseen(error)}"
            result.findings.append(Finding("unreadable", question.case.gate, words))
        return settled(result)

    def _of_the_entry(self, question: Question) -> None:
        claims = (question.lossless, question.loses, question.ours[:1])
        if self._kept is None or self._kept[0] != claims:
            entry = Entry("", lossless=question.lossless, loses=question.loses)
            self._kept = claims, Judgements(entry)
        self.judgements = self._kept[1]


def settled(result: Result) -> Result:
    """Nothing compared is never Corroborated, and what was not compared is a finding; what nobody can judge is skipped."""
    if result.outcome == CORROBORATED and not result.findings and not 0 < result.expected <= result.compared:
        missing = f"{result.compared:,} of {result.expected:,} {result.unit} compared"
        result.findings.append(
            Finding("nothing-compared" if not result.compared else "not-all-compared", result.gate, missing)
        )
    judged = [finding for finding in result.findings if finding.kind != "unknown-type"]
    if len(judged) < len(result.findings) and not judged:
        result.outcome, result.reason = SKIPPED, result.findings[0].detail
    result.findings = judged
    if result.findings:
        result.outcome = FALSIFIED
        result.reason = str(result.findings[0])
        result.findings = list(_a_few_of_each(result.findings))
    elif result.outcome == CORROBORATED:
        noted = f"; {result.reason}" if result.reason else ""
        result.reason = f"{result.compared:,} {result.unit} compared{noted}"
    return result


def _a_few_of_each(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first of each kind, with how many more there are."""
    counts = Counter(finding.kind for finding in findings)
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.kind] += 1
        if seen[finding.kind] < _KEPT or seen[finding.kind] == counts[finding.kind] == _KEPT:
            yield finding
        elif seen[finding.kind] == _KEPT:
            more = counts[finding.kind] - _KEPT
            yield replace(finding, detail=f"{finding.detail}; and {more:,} more of that kind")


def _fails_on(ours: Sequence[Path]) -> bool:
    """Whether the judge fails on files that the gate wrote itself, each held against itself."""
    try:
        for path in ours:
            with look(path) as view:
                cache.both(view, view)
                tokenizer(view)
    except Exception:  # noqa: BLE001 (any failure means the same)
        return True
    return False
