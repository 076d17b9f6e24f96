"""One candidate: written, converted, judged. What is wrong with it, and whether the reference does better.

The judge is the gate's. An input counts only where the reference converts it rightly: a file that nobody can convert shows no
bug. The other way round, a file that must be refused is one that our own reader refuses.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rosetta_ref.diagnosis import Diagnosis, UndiagnosedError, diagnose
from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.entry import CRASHED, REFUSED, TIMEOUT, Converter, Run
from rosetta_ref.gate.converter.loses import is_excused
from rosetta_ref.gate.converter.named import made
from rosetta_ref.gate.converter.said import traceback_of
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.metadata import compare_keys, judge_encoding, judge_metadata
from rosetta_ref.gate.judge.tensors import META, QUANT, Judged, gate_of, judge
from rosetta_ref.gate.judge.view import UNREADABLE, UnreadableError, View, look
from rosetta_ref.gate.run.checks.quantised import judge_asked
from rosetta_ref.gate.run.workspace import Snapshot, Workspace
from rosetta_ref.reduce.search import gates
from rosetta_ref.reduce.search.complaint import complaint
from rosetta_ref.reduce.search.failure import Fingerprint, badness, fitting
from rosetta_ref.reduce.search.input import copied, size_of
from rosetta_ref.zoo import MEMBERS, Member

#: Rules by which our readers refuse what other readers of the field take (`gate.malformed` says which): to take it is no fault.
MAY_ACCEPT = frozenset(
    {"TensorAlignmentError", "TensorGapError", "DuplicateKeyError", "BoolValueError", "TextUtf8Error", "DeepArrayError",
     "PaddingValueError", "TrailingDataError", "UnsortedIndexError", "MisalignedError", "HeaderChecksumError",
     "FooterChecksumError", "DuplicateEntryError"}
)  # fmt: skip
#: Bytes of an input that is copied for a converter; a larger one is given as it is, and what it does to it is told.
_COPIED = 8 << 30


@dataclass(frozen=True)
class Seen:
    """What came of an input: how the run ended, its output (None where there is none), what is wrong, and how much was compared."""

    source: Path
    target: Path | None
    run: Run
    findings: Sequence[Finding]
    compared: int = 0
    #: Where the converter wrote.
    folder: Path | None = None

    def forget(self) -> None:
        """Remove what the converter wrote."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Oracle:
    """A converter that is asked for one format, and for one type where `asked` says so. Counts its calls.

    `gate` is the one whose failure is followed, if it is one of those that take more than a conversion (`gates.OTHERS`).
    """

    converter: Converter
    target_format: str
    work: Workspace
    asked: str | None = None
    gate: str | None = None
    calls: int = 0
    _reference: Converter = field(default_factory=lambda: made(bundled.entry("reference")))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, source: Path) -> Seen:
        """Convert a copy of an input, since some converters write into theirs, and judge what came of it."""
        with self._lock:
            self.calls += 1
            folder = self.work.path / f"given-{self.calls:05}"
        try:
            handed = source if size_of(source) > _COPIED else copied(source, folder)
            return self._by_gate(self._look(self.converter, source, handed))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _by_gate(self, seen: Seen) -> Seen:
        """What the gate says that is asked, where a single conversion does not show it."""
        if self.gate not in gates.OTHERS:
            return seen
        found, calls = gates.findings_of(self.gate, self.converter, seen.source, self.target_format, self.asked)
        with self._lock:
            self.calls += calls
        return replace(seen, findings=found)

    def reference_is_right(self, source: Path) -> bool:
        """Whether the reference converts it with nothing wrong; for what our reader refuses, whether it refuses."""
        seen = self._look(self._reference, source, source)
        seen.forget()
        return not seen.findings

    def reference_output(self, source: Path) -> Path | None:
        """What the reference makes of it; None where it refuses."""
        return self._look(self._reference, source, source).target

    def _look(self, converter: Converter, source: Path, handed: Path) -> Seen:
        """What came of it, but for what the entry does not promise."""
        seen, loses = self._converted(converter, source, handed), converter.entry.loses
        return replace(seen, findings=[finding for finding in seen.findings if not is_excused(finding, loses)])

    def _converted(self, converter: Converter, source: Path, handed: Path) -> Seen:
        """`handed` is what the converter is given: the source, or a copy."""
        before = Snapshot(handed)
        with self._lock:
            place = self.work.place(self.target_format, safetensors_as=self.converter.entry.safetensors_as)
        run = converter.convert(handed, place.dst, type=self.asked)
        flaw = before.flaw()
        if run.accepted and flaw is None:
            flaw = place.flaw(before, may_be_equal=self.asked is not None and sniff(source) == self.target_format)
        gate = QUANT if self.asked is not None else gate_of(sniff(source), self.target_format)
        if flaw is not None:
            return Seen(source, None, run, [Finding(flaw.kind, gate, flaw.detail)], folder=place.folder)
        if not run.accepted:
            return Seen(source, None, run, self._ended(run, source, gate), folder=place.folder)
        broken = refusal(source)
        if broken is not None:
            detail = f"{_rule(broken)}: accepted, though {broken.problem}"
            findings = [] if _rule(broken) in MAY_ACCEPT else [Finding("accepted", SAFE, detail)]
            return Seen(source, place.dst, run, findings, len(findings), place.folder)
        with looked(source) as before_view:
            findings, compared = self._judge(converter, before_view, place.dst, gate, self.asked)
        return Seen(source, place.dst, run, findings, compared, place.folder)

    def _ended(self, run: Run, source: Path, gate: str) -> list[Finding]:
        """A run that ended without an output: right only where it refuses what our reader refuses, too."""
        said = complaint(run) if run.outcome != TIMEOUT else run.detail or TIMEOUT
        broken = refusal(source)
        raised = traceback_of(run, self.converter.entry.refuse_exit) if broken is not None else None
        if broken is not None and raised is not None:
            return [Finding("refused-by-traceback", SAFE, f"{_rule(broken)}: {raised}")]
        if run.outcome in (CRASHED, TIMEOUT):
            return [
                Finding(run.outcome, gate, said)
                if broken is None
                else Finding(run.outcome, SAFE, f"{_rule(broken)}: {said}")
            ]
        assert run.outcome == REFUSED, run.outcome
        return [Finding("refused", gate, said)] if broken is None else []

    @staticmethod
    def _judge(
        converter: Converter, source: View, output: Path, gate: str, asked: str | None
    ) -> tuple[list[Finding], int]:
        entry = converter.entry
        try:
            target = looked(output)
        except UnreadableError as error:
            return [Finding(error.kind, gate, str(error))], 0
        with target, _foreign(output):
            judged = judge(source, target, gate=gate, lossless=False, asked=asked, loses=entry.loses)
            findings = (
                [*judged.findings, *_words(source, target)] if asked is None else _asked(judged, source, target, asked)
            )
            findings = [finding for finding in findings if finding.kind != "unknown-type"]
            if not judged.elements and not findings:
                findings.append(Finding("empty", gate, "there is no tensor to compare"))
            return findings, sum(judged.elements.values())


@dataclass(frozen=True)
class Found:
    """A failure and an input that shows it: what a folder is made of. `origin` says what it was reduced from, in words."""

    fingerprint: Fingerprint
    seen: Seen
    origin: str
    calls: int = 0


def _asked(judged: Judged, source: View, target: View, kind: str) -> list[Finding]:
    """What the gate says of an output whose type was asked for, likewise."""
    try:
        return judge_asked(judged, source, target, kind)
    except (UnreadableError, ValueError, KeyError, TypeError) as error:
        return [*judged.findings, Finding("not-judged", META, f"the source's own words cannot be read: {error!r}")]


def _words(source: View, target: View) -> list[Finding]:
    if source.format == target.format:
        words = compare_keys(source, target)
        judge_encoding(words, target)
        return words.findings
    try:
        return judge_metadata(source, target).findings
    except (UnreadableError, ValueError, KeyError, TypeError) as error:  # of the source: its tokenizer was taken apart
        return [Finding("not-judged", META, f"the source's own words cannot be read: {error!r}")]


def refusal(source: Path) -> RosettaError | None:
    """The error by which our own reader refuses a file; None where it takes it. Stricter than the judge is."""
    try:
        looked(source).close()
        with _foreign(source):
            open_archive(source, as_row_major=True).close()
    except UnreadableError as error:
        return error.__cause__ if isinstance(error.__cause__, RosettaError) else error
    except RosettaError as error:
        return error
    return None


def _rule(error: RosettaError) -> str:
    """The name of the rule that is broken."""
    return type(error).__name__


@contextmanager
def _foreign(path: Path) -> Iterator[None]:
    """Whatever a file of a stranger breaks in whoever looks at it: it cannot be read."""
    try:
        yield
    except (RosettaError, OSError):
        raise
    except Exception as error:
        raise UnreadableError(f"it cannot be read: {unforeseen(error)}", file=path) from error


def looked(path: Path) -> View:
    """The view of a file. Raises UnreadableError, whatever is in it."""
    with _foreign(path):
        return look(path)


# The same failure


def same_failure(fingerprint: Fingerprint, seen: Seen, *, asked: str | None = None, least: float = 0.0) -> bool:
    """Whether what is wrong with an output is that failure, by the same cause where it has one, and at `least` as bad."""
    found = [finding for finding in fitting(fingerprint, seen.findings) if badness(finding) >= least]
    if not found or not fingerprint.cause or seen.target is None:
        return bool(found)
    # Most candidates fall at the first question, which is the cheaper one: whether the cause explains them at all.
    suspects, others = rivals(fingerprint)
    return all(
        any(_same_cause(one, fingerprint.cause) for one in diagnosed(seen, found[0], members, asked=asked))
        for members in (suspects, suspects + others)
    )


def diagnosed(
    seen: Seen, finding: Finding, members: Iterable[Member] | None = None, *, asked: str | None = None
) -> list[Diagnosis]:
    """Why an output is wrong in what a finding is about: its tensor, or all facts together, which a bug has in common."""
    assert seen.target is not None
    about = [one for one in seen.findings if one.tensor == finding.tensor]
    try:
        found = diagnose(seen.source, seen.target, asked=asked, members=members, findings=about)
    except UndiagnosedError:
        return []
    if finding.kind in UNREADABLE:
        return found
    return [one for one in found if finding.tensor in one.tensors or finding.detail in one.facts]


def _same_cause(one: Diagnosis, cause: Sequence[str]) -> bool:
    return len(one.causes) == len(cause) and all(
        wanted in (found.id, *found.alike) for found, wanted in zip(one.causes, cause, strict=True)
    )


def rivals(fingerprint: Fingerprint) -> tuple[list[Member], list[Member]]:
    """The members of the cause, and those it is held against: of their classes, which an input too simple cannot tell apart."""
    suspects = [MEMBERS[name] for name in fingerprint.cause if name in MEMBERS]
    classes = {member.klass for member in suspects}
    others = [one for one in MEMBERS.values() if one.klass in classes and not one.waiting_for and one not in suspects]
    return suspects, others
