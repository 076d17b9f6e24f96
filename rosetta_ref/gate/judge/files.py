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

import numpy as np

from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.walk import regular_files
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.chains import Chain, excuse, retyped
from rosetta_ref.gate.judge.metadata import compare_keys, judge_encoding
from rosetta_ref.gate.judge.question import Question
from rosetta_ref.gate.judge.tensors import CARD, NAME, Judged, judge
from rosetta_ref.gate.judge.tokenizer import facts
from rosetta_ref.gate.judge.view import UnreadableError, View, look

#: How many times the limits of `verify` a rounded model may lose here.
_WIDER = 10
_PROMPTS = ("def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂",)
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
            getattr(self, f"_{question.case.what}")(result, question)
        except UnreadableError as error:
            kind = "twice" if "(a name stands twice)" in error.problem else "unreadable"
            result.findings.append(Finding(kind, question.case.gate, str(error)))
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

    # What is compared

    def _of(self, question: Question) -> Judged:
        return self.judgements.tensors(question.source, question.target, asked=question.case.type)

    def _tensors(self, result: Result, question: Question) -> None:
        judged = self._of(question)
        names = question.case.tensors
        result.expected = sum(judged.expected.get(name, 0) for name in names)
        result.compared = sum(judged.elements.get(name, 0) for name in names)
        result.nbytes = judged.nbytes if len(judged.expected) == len(names) else 0
        result.findings = [finding for finding in judged.of(*names) if finding.gate == question.case.gate]
        types = [judged.types[name] for name in names if name in judged.types]
        result.source_types = tuple(sorted({source for source, _ in types}))
        result.target_types = tuple(sorted({target for _, target in types}))
        for name in names:
            if name in judged.by_tensor:
                result.notes[judged.by_tensor[name]] = result.notes.get(judged.by_tensor[name], 0) + 1

    def _count(self, result: Result, question: Question) -> None:
        self._counted(result, self._of(question), CARD)

    def _names(self, result: Result, question: Question) -> None:
        self._counted(result, self._of(question), NAME)

    @staticmethod
    def _counted(result: Result, judged: Judged, gate: str) -> None:
        result.expected, result.compared = len(judged.expected), len(judged.elements)
        result.findings = [finding for finding in judged.findings if finding.gate == gate]
        if gate == NAME and judged.elements:  # a tensor that is lost has no name that could be wrong
            result.expected = result.compared

    def _words(self, result: Result, question: Question) -> None:
        words = self.judgements.words(question.source, question.target)
        result.expected, result.compared, result.findings = words.expected, words.compared, list(words.findings)

    def _chain(self, result: Result, question: Question) -> None:
        """The legs, and the end against the start."""
        chain = Chain(question.legs, self.judgements)
        self._note_ends(result, question.case.gate, chain.ends(question.case.gate))
        result.findings += [replace(finding, gate=question.case.gate) for finding in chain.words()]

    @staticmethod
    def _note_ends(result: Result, gate: str, judged: Judged) -> None:
        # An output of no tensors expects nothing; what the sample has is still missing.
        result.expected = sum(judged.expected.values()) or result.expected
        result.compared = sum(judged.elements.values())
        result.nbytes = judged.nbytes
        result.findings += [replace(finding, gate=gate) for finding in judged.findings]
        result.notes = dict(judged.done)

    def _same(self, result: Result, question: Question) -> None:
        """Two ways to one format: the same numbers, whatever their types, but where one way rounds."""
        assert question.other is not None
        with look(question.other) as source, look(question.target) as target:
            judged = self.judgements.of(source, target, gate=question.case.gate)
        excuse(judged, Chain(question.legs, self.judgements).rounded())
        self._note_ends(result, question.case.gate, judged)

    def _again(self, result: Result, question: Question) -> None:
        """Twice the same conversion: equal tensors and equal metadata, timestamps and the like aside."""
        second = question.other
        assert second is not None
        with look(question.target) as source, look(second) as target:
            judged = self.judgements.of(source, target, gate=question.case.gate)
            judged.findings += retyped(judged, question.case.gate)
            self._note_ends(result, question.case.gate, judged)
            words = compare_keys(source, target)
            result.findings += [replace(finding, gate=question.case.gate) for finding in words.findings]

    def _bytes(self, result: Result, question: Question) -> None:
        """The same bytes; where a format's metadata has no order (JSON), the same parsed values and data."""
        second = question.other
        assert second is not None
        ours, theirs = (_files(path) for path in (question.target, second))
        with look(question.target) as view:  # rubbish may well be the same each time
            tensors = len(view.tensors)
        result.expected = sum(map(len, ours.values()))
        result.compared = sum(len(data) for name, data in ours.items() if name in theirs) if tensors else 0
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed and not of(question.case.steps[-1]).has_ordered_metadata:
            with look(question.target) as one, look(second) as other:
                fine = compare_keys(one, other).findings == [] and _same_data(one, other)
            changed = [name for name in changed if not (fine and name.endswith((".apr", ".safetensors")))]
        for name in changed:
            result.findings.append(
                Finding("not-deterministic", question.case.gate, f"{name} has other bytes the second time")
            )

    def _refusal(self, result: Result, question: Question) -> None:
        """A malformed file was accepted, which it may be, if nothing else comes of it than of its twin, `source`."""
        where = result.reason
        try:
            look(question.source).close()
        except UnreadableError:
            result.outcome, result.compared = SKIPPED, 0
            result.reason = f"{where}: accepted, as its twin is, of which nothing comes that can be read"
            return
        if (wrong := _other_than(question.source, question.target)) is not None:
            result.findings.append(Finding("accepted-wrongly", result.gate, f"{where}: accepted, and {wrong}"))

    def _encoded(self, result: Result, question: Question) -> None:
        judged = self._of(question)
        result.expected, result.compared = sum(judged.expected.values()), sum(judged.elements.values())
        result.findings = [replace(finding, gate=question.case.gate) for finding in judged.findings]
        result.notes = dict(judged.done)
        assert question.case.type is not None
        if question.case.type not in {target for _, target in judged.types.values()}:
            result.findings.append(Finding("not-encoded", question.case.gate, f"no tensor is {question.case.type}"))
        with look(question.source) as source, look(question.target) as target:
            words = compare_keys(source, target)
            judge_encoding(words, target)
            result.findings += [replace(finding, gate=question.case.gate) for finding in words.findings]

    def _answers(self, result: Result, question: Question) -> None:
        """Both models asked the same questions."""
        from rosetta_ref.inference.text import MissingLibraryError
        from rosetta_ref.verify import RUN_ERRORS, verify

        try:
            with np.errstate(all="ignore"):  # a model that was damaged computes with anything
                report = verify(question.source, question.target, blame=False, count=8, prompts=_PROMPTS)
                if any(f.kind == "limit" for f in report.failures):
                    limits = {name: _wider(name, value) for name, value in report.limits["lossy"].items()}
                    report = verify(
                        question.source, question.target, blame=False, count=8, prompts=_PROMPTS, limits=limits
                    )
        except MissingLibraryError as error:
            result.outcome, result.reason = SKIPPED, str(error)
            return
        except RUN_ERRORS as error:
            result.findings.append(Finding("not-verified", question.case.gate, str(error)))
            return
        result.expected, result.compared = report.expected["conversion"], report.compared["conversion"]
        result.expected = result.expected or 1
        # A random model may well answer with nothing; what counts is that the other one does, too.
        failures = [f for f in report.failures if f.kind != "silent"]
        result.findings = [Finding(f"answers-{f.kind}", question.case.gate, f.detail) for f in failures]


def _wider(figure: str, limit: float) -> float:
    """Limits hold for a real model over many texts; random numbers, or few texts, lose several times as much by rounding."""
    return 1 - _WIDER * (1 - limit) if figure == "top1" else _WIDER * limit


def settled(result: Result) -> Result:
    """Nothing compared is never Corroborated, and what was not compared is a finding."""
    if result.outcome == CORROBORATED and not result.findings and not 0 < result.expected <= result.compared:
        missing = f"{result.compared:,} of {result.expected:,} {result.unit} compared"
        result.findings.append(
            Finding("nothing-compared" if not result.compared else "not-all-compared", result.gate, missing)
        )
    if result.findings:
        result.outcome = FALSIFIED
        result.reason = str(result.findings[0])
        result.findings = list(_a_few_of_each(result.findings))
    elif result.outcome == CORROBORATED:
        result.reason = f"{result.compared:,} {result.unit} compared"
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
                facts(view)
    except Exception:  # noqa: BLE001 (any failure means the same)
        return True
    return False


def _other_than(twin: Path, output: Path) -> str | None:
    """How what came of the broken file differs from what came of its twin."""
    try:
        with look(twin) as right, look(output) as found:
            judged = judge(right, found)
    except UnreadableError as error:
        return str(error)
    if not judged.elements and not judged.findings:
        return "there is no tensor in it to compare"
    wrong = [finding for finding in judged.findings if not _as_it_says(finding, right, found)]
    return str(wrong[0]) if wrong else None


def _as_it_says(finding: Finding, twin: View, found: View) -> bool:
    """What the broken file itself says: it gives a tensor another name, or dimensions of 1 at the end."""
    if finding.kind == "foreign-name":
        return True
    name = finding.tensor
    if finding.kind != "shape" or name is None:
        return False
    shapes = [view.tensors[name].tensor.shape for view in (twin, found) if name in view.tensors]
    return len(shapes) == 2 and [n for n in shapes[0] if n != 1] == [n for n in shapes[1] if n != 1]


def _files(path: Path) -> dict[str, bytes]:
    """What an output holds: as much as was let pass when it was first looked at."""
    return {
        str(file.relative_to(path)) if file != path else path.name: file.read_bytes() for file in regular_files(path)
    }


def _same_data(one: View, other: View) -> bool:
    names = list(one.tensors)
    return names == list(other.tensors) and all(
        np.array_equal(one.tensors[name].tensor.data, other.tensors[name].tensor.data) for name in names
    )
