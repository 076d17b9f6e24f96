"""F-CONV-BE-001: both models are asked the same questions, and answer the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.findings import SKIPPED, Finding, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import loads, rounding
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.question import Case, Question
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.checks.check import Check, Group, Subject
from rosetta_ref.gate.run.checks.quantised import fits
from rosetta_ref.quant import TYPES

_GATE = "F-CONV-BE-001"
#: Models that are asked questions before and after; those in which numbers of real size are quantised are asked, too.
_ASKED = ("llama-f32-tied", "qwen2-f32")
_PROMPTS = ("def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂",)
#: What `verify` is told.
ASKED: dict[str, Any] = {"count": 8, "prompts": _PROMPTS}
#: How many times the limits of `verify` a real model may lose here.
_WIDER = 10


class Answers(Check):
    """The output answers as its source does."""

    group = Group.WAYS
    unit = "positions"
    single = False

    def plan(self, subject: Subject, pair: tuple[str, str]) -> Iterator[Case]:
        sample, entry, way = subject.sample, subject.entry, letters(pair)
        if not is_asked(sample):
            return
        yield Case(f"{_GATE}/{way}/{sample.name}", _GATE, self.name, sample.name, pair)
        for kind in entry.quantises if way in entry.asked_on and sample.name in _ASKED else ():
            if of(pair[1]).holds(TYPES[kind]) and fits(TYPES[kind], sample):
                id_ = f"{_GATE}/{way}/{kind.lower()}/{sample.name}"
                yield Case(id_, _GATE, self.name, sample.name, pair, type=kind)

    def judge(self, result: Result, question: Question, judgements: Judgements) -> None:
        from rosetta_ref.inference.text import MissingLibraryError
        from rosetta_ref.verify import RUN_ERRORS, verify

        try:
            with np.errstate(all="ignore"):  # a model that was damaged computes with anything
                report = verify(question.source, question.target, blame=False, **ASKED)
        except MissingLibraryError as error:
            result.outcome, result.reason = SKIPPED, str(error)
            return
        except RUN_ERRORS as error:
            result.findings.append(Finding("not-verified", question.case.gate, str(error)))
            return
        result.expected, result.compared = report.expected["conversion"] or 1, report.compared["conversion"]
        result.reason = loads.note()
        # A random model may well answer with nothing; what counts is that the other one does, too.
        failures = [each for each in report.failures if each.kind not in ("silent", "limit")]
        result.findings = [Finding(f"answers-{each.kind}", question.case.gate, each.detail) for each in failures]
        if "lossy" in report.limits:
            kind, figures = report.claim.removeprefix("lossy (").removesuffix(")"), report.figures.get("numpy", {})
            lost = [Finding("answers-limit", question.case.gate, said) for said in _too_far(question, kind, figures)]
            result.findings += lost


def _too_far(question: Question, kind: str, figures: Mapping[str, float]) -> Iterator[str]:
    """What is lost beyond what rounding to that type loses of the same sample."""
    from rosetta_ref.verify.limits import beyond

    measured = rounding.answers(question.case.sample, kind)
    limits = measured if measured is not None else _loose(kind)
    whose = f"rounding to {kind} alone loses" if measured is not None else f"{kind} may lose"
    for name in beyond(figures, limits) if figures else ():
        yield f"{name} is {figures[name]:.4g}, and at {'least' if name == 'top1' else 'most'} {limits[name]:.4g} is what {whose}"


def is_asked(sample: Sample) -> bool:
    """Whether a sample is asked questions."""
    asked = sample.name in _ASKED or "gaussian" in sample.name or sample.path is not None
    return sample.architecture is not None and asked


def _loose(kind: str) -> dict[str, float]:
    """The limits for a model that nobody measured: a real one, or a type that is not in the table.

    Those of `verify` hold for a real model over many texts: over a few it may lose several times as much, and a tiny one as much as
    the worst of the samples.
    """
    from rosetta_ref.verify.limits import limits_for

    limits = {
        name: 1 - _WIDER * (1 - one) if name == "top1" else _WIDER * one for name, one in limits_for(kind).items()
    }
    worst = rounding.worst_answers(kind) or limits
    return {name: min(one, worst[name]) if name == "top1" else max(one, worst[name]) for name, one in limits.items()}


CHECK = Answers()
