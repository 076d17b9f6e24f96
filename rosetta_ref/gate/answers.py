"""The answer to each case: the conversion that it asks for, looked at and judged. One that failed is told by `failed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from rosetta_ref.gate import cases as asked
from rosetta_ref.gate import failed
from rosetta_ref.gate.cases import Case, letters
from rosetta_ref.gate.chains import Chain, Leg, excuse, retyped
from rosetta_ref.gate.judge import CARD, NAME, Judged
from rosetta_ref.gate.judgements import Judgements
from rosetta_ref.gate.result import CORROBORATED, FALSIFIED, SKIPPED, Finding, Result
from rosetta_ref.gate.sample import Sample
from rosetta_ref.gate.session import Conversion, Session
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.gate.words import compare_keys, judge_encoding

_UNITS = {
    asked.TENSORS: "elements", asked.COUNT: "tensors", asked.NAMES: "names", asked.WORDS: "keys", asked.CHAIN: "elements",
    asked.SAME: "elements", asked.AGAIN: "elements", asked.BYTES: "bytes", asked.ENCODED: "elements", asked.CLAIM: "pairs",
    asked.ANSWERS: "positions", asked.REFUSAL: "refusals",
}  # fmt: skip
#: How many times the limits of `verify` a rounded model may lose here.
_WIDER = 10
_PROMPTS = ("def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂",)


@dataclass
class Answers:
    """Answers cases of a session. What was judged of a conversion is kept while its cases come one after the other."""

    session: Session

    def __post_init__(self) -> None:
        self.judgements = Judgements(self.session.converter.entry)

    def answer(self, case: Case) -> Result:
        """The result of a case; it never raises for what a converter does."""
        result = Result(case.id, case.gate, CORROBORATED, unit=_UNITS[case.what], sample=case.sample)
        if case.what == asked.CLAIM:
            result.outcome, result.expected = SKIPPED, 1
            result.reason = f"the entry does not claim {letters(case.steps)}"
            return result
        sample = self.session.samples[case.sample]
        result.seed, result.expected = sample.seed, _expected(case, sample)
        result.source_format, result.target_format = case.steps[0], case.steps[-1]
        done = self.session.conversion(case.sample, case.steps, type=case.type)
        failed.note_run(result, done)
        if not done.usable:
            return failed.tell(result, case, self.session, done)
        try:
            getattr(self, f"_{case.what}")(result, case, done)
        except UnreadableError as error:
            kind = "twice" if "stands twice" in error.problem else "unreadable"
            result.findings.append(Finding(kind, case.gate, str(error)))
        return _settled(result)

    # What is compared

    def _of(self, case: Case, done: Conversion) -> Judged:
        assert done.target is not None
        return self.judgements.tensors(done.source, done.target, asked=case.type)

    def _tensors(self, result: Result, case: Case, done: Conversion) -> None:
        judged = self._of(case, done)
        names = case.tensors
        result.expected = sum(judged.expected.get(name, 0) for name in names)
        result.compared = sum(judged.elements.get(name, 0) for name in names)
        result.nbytes = judged.nbytes if len(judged.expected) == len(names) else 0
        result.findings = [finding for finding in judged.of(*names) if finding.gate == case.gate]
        types = [judged.types[name] for name in names if name in judged.types]
        result.source_types = tuple(sorted({source for source, _ in types}))
        result.target_types = tuple(sorted({target for _, target in types}))
        for name in names:
            if name in judged.by_tensor:
                result.notes[judged.by_tensor[name]] = result.notes.get(judged.by_tensor[name], 0) + 1

    def _count(self, result: Result, case: Case, done: Conversion) -> None:
        self._counted(result, self._of(case, done), CARD)

    def _names(self, result: Result, case: Case, done: Conversion) -> None:
        self._counted(result, self._of(case, done), NAME)

    @staticmethod
    def _counted(result: Result, judged: Judged, gate: str) -> None:
        result.expected, result.compared = len(judged.expected), len(judged.elements)
        result.findings = [finding for finding in judged.findings if finding.gate == gate]
        if gate == NAME and judged.elements:  # a tensor that is lost has no name that could be wrong
            result.expected = result.compared

    def _words(self, result: Result, case: Case, done: Conversion) -> None:
        assert done.target is not None
        words = self.judgements.words(done.source, done.target)
        result.expected, result.compared, result.findings = words.expected, words.compared, list(words.findings)

    def _chain(self, result: Result, case: Case, done: Conversion) -> None:
        """The legs, and the end against the start."""
        chain = Chain(self._legs(case.sample, case.steps), self.judgements)
        self._note_ends(result, case, chain.ends(case.gate))
        result.findings += [replace(finding, gate=case.gate) for finding in chain.words()]

    def _legs(self, sample: str, steps: tuple[str, ...]) -> list[Leg]:
        done = self.session.legs(sample, steps)
        return [
            Leg(pair, leg.source, leg.target) for pair, leg in zip(pairwise(steps), done, strict=True) if leg.target
        ]

    @staticmethod
    def _note_ends(result: Result, case: Case, judged: Judged) -> None:
        # An output of no tensors expects nothing; what the sample has is still missing.
        result.expected = sum(judged.expected.values()) or result.expected
        result.compared = sum(judged.elements.values())
        result.nbytes = judged.nbytes
        result.findings += [replace(finding, gate=case.gate) for finding in judged.findings]
        result.notes = dict(judged.done)

    def _same(self, result: Result, case: Case, done: Conversion) -> None:
        """Two ways to one format: the same numbers, whatever their types, but where one way rounds."""
        direct = self.session.conversion(case.sample, case.other)
        if direct.target is None:
            result.outcome, result.reason = SKIPPED, f"{letters(case.other)} gives nothing to compare with"
            return
        assert done.target is not None
        legs = self._legs(case.sample, case.steps) + self._legs(case.sample, case.other)
        with look(direct.target) as source, look(done.target) as target:
            judged = self.judgements.of(source, target, gate=case.gate)
        excuse(judged, Chain(legs, self.judgements).rounded())
        self._note_ends(result, case, judged)

    def _again(self, result: Result, case: Case, done: Conversion) -> None:
        """Twice the same conversion: equal tensors and equal metadata, timestamps and the like aside."""
        second = self._second(result, case)
        if second is None or done.target is None:
            return
        with look(done.target) as source, look(second) as target:
            judged = self.judgements.of(source, target, gate=case.gate)
            judged.findings += retyped(judged, case.gate)
            self._note_ends(result, case, judged)
            words = compare_keys(source, target)
            result.findings += [replace(finding, gate=case.gate) for finding in words.findings]

    def _bytes(self, result: Result, case: Case, done: Conversion) -> None:
        """The same bytes; where a format's metadata has no order (JSON), the same parsed values and data."""
        second = self._second(result, case)
        if second is None or done.target is None:
            return
        ours, theirs = (_files(path) for path in (done.target, second))
        with look(done.target) as view:  # rubbish may well be the same each time
            tensors = len(view.tensors)
        result.expected = sum(map(len, ours.values()))
        result.compared = sum(len(data) for name, data in ours.items() if name in theirs) if tensors else 0
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed and case.steps[-1] != "gguf":
            with look(done.target) as one, look(second) as other:
                fine = compare_keys(one, other).findings == [] and _same_data(one, other)
            changed = [name for name in changed if not (fine and name.endswith((".apr", ".safetensors")))]
        for name in changed:
            result.findings.append(Finding("not-deterministic", case.gate, f"{name} has other bytes the second time"))

    def _second(self, result: Result, case: Case) -> Path | None:
        again = self.session.conversion(case.sample, case.steps, turn=1)
        if again.target is None:
            detail = f"the second time the run {again.run.outcome}: {again.flaw or again.run.detail}"
            result.findings.append(Finding("not-deterministic", case.gate, detail))
        return again.target

    def _encoded(self, result: Result, case: Case, done: Conversion) -> None:
        judged = self._of(case, done)
        result.expected, result.compared = sum(judged.expected.values()), sum(judged.elements.values())
        result.findings = [replace(finding, gate=case.gate) for finding in judged.findings]
        result.notes = dict(judged.done)
        assert case.type is not None
        if case.type not in {target for _, target in judged.types.values()}:
            result.findings.append(Finding("not-encoded", case.gate, f"no tensor is {case.type}"))
        assert done.target is not None
        with look(done.source) as source, look(done.target) as target:
            words = compare_keys(source, target)
            judge_encoding(words, target)
            result.findings += [replace(finding, gate=case.gate) for finding in words.findings]

    def _answers(self, result: Result, case: Case, done: Conversion) -> None:
        """Both models asked the same questions."""
        from rosetta_ref.inference.text import MissingLibraryError
        from rosetta_ref.verify import RUN_ERRORS, verify

        assert done.target is not None
        try:
            with np.errstate(all="ignore"):  # a model that was damaged computes with anything
                report = verify(done.source, done.target, blame=False, count=8, prompts=_PROMPTS)
                if any(f.kind == "limit" for f in report.failures):
                    limits = {name: _wider(name, value) for name, value in report.limits["lossy"].items()}
                    report = verify(done.source, done.target, blame=False, count=8, prompts=_PROMPTS, limits=limits)
        except MissingLibraryError as error:
            result.outcome, result.reason = SKIPPED, str(error)
            return
        except RUN_ERRORS as error:
            result.findings.append(Finding("not-verified", case.gate, str(error)))
            return
        result.expected, result.compared = report.expected["conversion"], report.compared["conversion"]
        result.expected = result.expected or 1
        # A random model may well answer with nothing; what counts is that the other one does, too.
        failures = [f for f in report.failures if f.kind != "silent"]
        result.findings = [Finding(f"answers-{f.kind}", case.gate, f.detail) for f in failures]


def _wider(figure: str, limit: float) -> float:
    """Limits hold for a real model over many texts; random numbers, or few texts, lose several times as much by rounding."""
    return 1 - _WIDER * (1 - limit) if figure == "top1" else _WIDER * limit


def _expected(case: Case, sample: Sample) -> int:
    """What a case expects before anything is known of the output, so that one that never runs still says how much is missing."""
    if case.what in (asked.TENSORS, asked.CHAIN, asked.SAME, asked.AGAIN, asked.ENCODED):
        names = case.tensors or tuple(sample.model.tensors)
        return sum(max(sample.model.tensors[name].count, 1) for name in names)
    return max(len(sample.model.tensors), 1)


def _settled(result: Result) -> Result:
    """Nothing compared is never Corroborated, and what was not compared is a finding."""
    if result.outcome == CORROBORATED and not result.findings and not 0 < result.expected <= result.compared:
        missing = f"{result.compared:,} of {result.expected:,} {result.unit} compared"
        result.findings.append(
            Finding("nothing-compared" if not result.compared else "not-all-compared", result.gate, missing)
        )
    if result.findings:
        result.outcome = FALSIFIED
        result.reason = str(result.findings[0])
    elif result.outcome == CORROBORATED:
        result.reason = f"{result.compared:,} {result.unit} compared"
    return result


def _files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    return {path.name: path.read_bytes()}


def _same_data(one: View, other: View) -> bool:
    pairs: Sequence[str] = list(one.tensors)
    return pairs == list(other.tensors) and all(
        bool((one.tensors[name].tensor.data == other.tensors[name].tensor.data).all()) for name in pairs
    )
