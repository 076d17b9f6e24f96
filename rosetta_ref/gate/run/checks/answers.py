"""F-CONV-BE-001: both models are asked the same questions, and answer the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rosetta_ref.gate.findings import SKIPPED, Finding, Result
from rosetta_ref.gate.judge import loads
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject

_GATE = "F-CONV-BE-001"
#: Models that are asked questions before and after; those in which numbers of real size are quantised are asked, too.
_ASKED = ("llama-f32-tied", "qwen2-f32")
_PROMPTS = ("def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂",)
#: How many times the limits of `verify` a rounded model may lose here.
_WIDER = 10


class Answers(Check):
    """The output answers as its source does."""

    group = Group.WAYS
    unit = "positions"
    single = False

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample = subject.sample
        asked = sample.name in _ASKED or "gaussian" in sample.name or sample.path is not None
        if sample.architecture is not None and asked:
            yield Case(f"{_GATE}/{letters(pair)}/{sample.name}", _GATE, self.name, sample.name, pair)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        from rosetta_ref.inference.text import MissingLibraryError
        from rosetta_ref.verify import RUN_ERRORS, verify

        both = question.source, question.target
        try:
            with np.errstate(all="ignore"):  # a model that was damaged computes with anything
                report = verify(*both, blame=False, count=8, prompts=_PROMPTS)
                if any(each.kind == "limit" for each in report.failures):
                    limits = {name: _wider(name, value) for name, value in report.limits["lossy"].items()}
                    report = verify(*both, blame=False, count=8, prompts=_PROMPTS, limits=limits)
        except MissingLibraryError as error:
            result.outcome, result.reason = SKIPPED, str(error)
            return
        except RUN_ERRORS as error:
            result.findings.append(Finding("not-verified", question.case.gate, str(error)))
            return
        result.expected, result.compared = report.expected["conversion"] or 1, report.compared["conversion"]
        result.reason = loads.note()
        # A random model may well answer with nothing; what counts is that the other one does, too.
        failures = [each for each in report.failures if each.kind != "silent"]
        result.findings = [Finding(f"answers-{each.kind}", question.case.gate, each.detail) for each in failures]


def _wider(figure: str, limit: float) -> float:
    """Limits hold for a real model over many texts; random numbers, or few texts, lose several times as much by rounding."""
    return 1 - _WIDER * (1 - limit) if figure == "top1" else _WIDER * limit


CHECK = Answers()
