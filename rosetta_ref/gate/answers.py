"""The answer to each case: the conversion that it asks for, looked at and judged.

How a run that failed is told: what an entry claims and refuses, or refuses of its own making, is Falsified; what was never claimed
is Skipped, with what the converter said; an output that is missing, empty, old or the input itself is Falsified.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rosetta_ref.gate import cases as asked
from rosetta_ref.gate.cases import Case, letters
from rosetta_ref.gate.converter import CRASHED as RUN_CRASHED
from rosetta_ref.gate.converter import REFUSED, Entry
from rosetta_ref.gate.converter import TIMEOUT as RUN_TIMEOUT
from rosetta_ref.gate.judge import CARD, NAME, Judged, judge
from rosetta_ref.gate.result import CORROBORATED, CRASHED, FALSIFIED, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.sample import Sample
from rosetta_ref.gate.session import Conversion, Session
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.gate.words import Asked, compare_keys, judge_encoding, judge_words

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
    _judged: OrderedDict[tuple[Path, Path], Judged] = field(default_factory=OrderedDict)

    @property
    def entry(self) -> Entry:
        """What the converter claims."""
        return self.session.converter.entry

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
        _note_run(result, done)
        if not done.usable:
            return self._failed(result, case, sample, done)
        try:
            getattr(self, f"_{case.what}")(result, case, done)
        except UnreadableError as error:
            kind = "twice" if "stands twice" in error.problem else "unreadable"
            result.findings.append(Finding(kind, case.gate, str(error)))
        return _settled(result)

    def _failed(self, result: Result, case: Case, sample: Sample, done: Conversion) -> Result:
        """No output to look at: the run refused, crashed, took too long, or wrote nothing that counts."""
        run = done.run
        said = _last_line(run.stderr) or _last_line(run.stdout)
        if run.outcome == REFUSED:
            claims = self._claims(case, sample, done)
            result.outcome = FALSIFIED if claims else SKIPPED
            result.reason = f"refused (exit {run.exit_code}): {said or run.detail}"
            if claims:
                what = "its own output" if done.own else "what its entry claims"
                result.findings.append(Finding("refused", case.gate, f"{what} is refused: {said or run.detail}"))
        elif run.outcome in (RUN_CRASHED, RUN_TIMEOUT):
            result.outcome = CRASHED if run.outcome == RUN_CRASHED else TIMEOUT
            if self.entry.pairs is not None and _leg(case, done) not in self.entry.pairs:
                result.outcome = SKIPPED  # a leg of a chain that nobody claims: it is tried, and may fail in any way
            result.reason = f"{run.detail or run.outcome}{f': {said}' if said else ''}"
        else:
            result.outcome, result.reason = FALSIFIED, str(done.flaw)
        if done.flaw is not None:
            result.outcome = FALSIFIED if result.outcome == SKIPPED else result.outcome
            result.findings.append(Finding(done.flaw.kind, case.gate, done.flaw.detail))
        return result

    def _claims(self, case: Case, sample: Sample, done: Conversion) -> bool:
        """Whether the entry says that it takes this: pair of the leg, architecture and types, little-endian."""
        entry, leg = self.entry, _leg(case, done)
        if set(entry.loses) & _features(sample, case.steps[0]):
            return False
        if done.own:
            return entry.pairs is None or leg in entry.pairs
        types = {tensor.type.name for tensor in sample.model.tensors.values()}
        return (
            not sample.big_endian
            and entry.pairs is not None
            and leg in entry.pairs
            and self._claims_model(sample)
            and (entry.types is None or types <= {*entry.types, "F32"})
        )

    def _claims_model(self, sample: Sample) -> bool:
        if sample.architecture is None:
            return self.entry.whole_models is False
        return self.entry.architectures is not None and sample.architecture in self.entry.architectures

    # What is compared

    def _of(self, case: Case, done: Conversion, *, gate: str | None = None) -> Judged:
        assert done.target is not None
        key = (done.source, done.target)
        if key not in self._judged:
            with look(done.source) as source, look(done.target) as target:
                self._judged[key] = judge(
                    source, target, gate=gate, lossless=self.entry.lossless, asked=case.type, loses=self.entry.loses
                )
            while len(self._judged) > 8:
                self._judged.popitem(last=False)
        return self._judged[key]

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
        with look(done.source) as source, look(done.target) as target:
            _fill(result, judge_words(source, target))

    def _chain(self, result: Result, case: Case, done: Conversion) -> None:
        """Source and end of a chain, judged as one conversion: what a leg in between has rounded is a difference at the end."""
        assert done.target is not None
        with look(self.session.face(case.sample, case.steps[0])) as source, look(done.target) as target:
            self._compare_ends(result, case, source, target)
            same_format = source.format == target.format
            words = judge_words(source, target)
            if same_format and self.entry.lossless:
                words = compare_keys(source, target)
            result.findings += [Finding(f.kind, case.gate, f.detail) for f in words.findings]

    def _compare_ends(self, result: Result, case: Case, source: View, target: View) -> None:
        judged = judge(source, target, gate=case.gate, lossless=self.entry.lossless, loses=self.entry.loses)
        # An output of no tensors expects nothing; what the sample has is still missing.
        result.expected = sum(judged.expected.values()) or result.expected
        result.compared = sum(judged.elements.values())
        result.nbytes = judged.nbytes
        result.findings += [Finding(f.kind, case.gate, f.detail, f.tensor, f.source_type, f.target_type, f.count, f.first)
                            for f in judged.findings]  # fmt: skip
        result.notes = dict(judged.done)

    def _same(self, result: Result, case: Case, done: Conversion) -> None:
        """Two ways to one format: the same numbers, whatever their types."""
        direct = self.session.conversion(case.sample, case.other)
        if direct.target is None:
            result.outcome, result.reason = SKIPPED, f"{letters(case.other)} gives nothing to compare with"
            return
        assert done.target is not None
        with look(direct.target) as source, look(done.target) as target:
            self._compare_ends(result, case, source, target)

    def _again(self, result: Result, case: Case, done: Conversion) -> None:
        """Twice the same conversion: equal tensors and equal metadata, timestamps and the like aside."""
        second = self._second(result, case)
        if second is None or done.target is None:
            return
        with look(done.target) as source, look(second) as target:
            self._compare_ends(result, case, source, target)
            words = compare_keys(source, target)
            result.findings += [Finding(f.kind, case.gate, f.detail) for f in words.findings]

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
        result.findings = [Finding(f.kind, case.gate, f.detail, f.tensor, f.source_type, f.target_type, f.count, f.first)
                           for f in judged.findings]  # fmt: skip
        result.notes = dict(judged.done)
        assert case.type is not None
        if case.type not in {target for _, target in judged.types.values()}:
            result.findings.append(Finding("not-encoded", case.gate, f"no tensor is {case.type}"))
        assert done.target is not None
        with look(done.source) as source, look(done.target) as target:
            words = compare_keys(source, target)
            judge_encoding(words, target)
            result.findings += [Finding(f.kind, case.gate, f.detail) for f in words.findings]

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


def _features(sample: Sample, face: str) -> set[str]:
    """What an entry may say that it does not take: payloads, types in a format, models of several files."""
    found = {label.rsplit("/", 1)[-1] for label in sample.labels.values()}
    found |= {f"{face}/{tensor.type.name.lower()}" for tensor in sample.model.tensors.values()}
    return found | ({"sharded", f"{face}/sharded"} if sample.shards > 1 else set())


def _leg(case: Case, done: Conversion) -> str:
    """The pair of the last leg that was tried."""
    return letters(case.steps[done.leg - 1 : done.leg + 1])


def _wider(figure: str, limit: float) -> float:
    """Limits hold for a real model over many texts; random numbers, or few texts, lose several times as much by rounding."""
    return 1 - _WIDER * (1 - limit) if figure == "top1" else _WIDER * limit


def _expected(case: Case, sample: Sample) -> int:
    """What a case expects before anything is known of the output, so that one that never runs still says how much is missing."""
    if case.what in (asked.TENSORS, asked.CHAIN, asked.SAME, asked.AGAIN, asked.ENCODED):
        names = case.tensors or tuple(sample.model.tensors)
        return sum(max(sample.model.tensors[name].count, 1) for name in names)
    return max(len(sample.model.tensors), 1)


def _note_run(result: Result, done: Conversion) -> None:
    run = done.run
    result.seconds, result.memory, result.exit_code = run.seconds, run.memory, run.exit_code
    result.stdout, result.stderr = run.stdout[-2000:], run.stderr[-2000:]


def _fill(result: Result, words: Asked) -> None:
    result.expected, result.compared, result.findings = words.expected, words.compared, words.findings


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


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    return {path.name: path.read_bytes()}


def _same_data(one: View, other: View) -> bool:
    pairs: Sequence[str] = list(one.tensors)
    return pairs == list(other.tensors) and all(
        bool((one.tensors[name].tensor.data == other.tensors[name].tensor.data).all()) for name in pairs
    )
