"""What makes two failures the same one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rosetta_ref.gate import names
from rosetta_ref.gate.converter.entry import CRASHED, REFUSED
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.chains import OF_NUMBERS
from rosetta_ref.gate.judge.tensors import META
from rosetta_ref.gate.kinds import kind_of
from rosetta_ref.reduce.search.complaint import unchanging

#: Letters of the name of a folder, and of the words that tell a failure from another one.
_LONGEST, LONGEST_SUBJECT = 120, 2000
#: Kinds whose detail begins with how many there are.
_OF_MANY = ("key-twice",)
#: Words that a sentence begins with, and that name no fact.
_NO_FACTS = frozenset(
    (
        "a",
        "an",
        "and",
        "it",
        "its",
        "no",
        "none",
        "not",
        "nothing",
        "of",
        "one",
        "that",
        "the",
        "their",
        "there",
        "they",
        "this",
    )
)
#: Kinds whose detail is the converter's own words.
_SAID = (REFUSED, CRASHED)


@dataclass(frozen=True)
class Wanted:
    """Which of several failures is followed: of a gate, of a kind, about one fact or rule, of a type; None for any."""

    gate: str | None = None
    kind: str | None = None
    subject: str | None = None
    type: str | None = None

    def fits(self, finding: Finding) -> bool:
        """Whether a finding is one of these."""
        asked = (self.gate, self.kind, self.type)
        there = (finding.gate, finding.kind, finding.source_type)
        if any(one not in (None, other) for one, other in zip(asked, there, strict=True)):
            return False
        return self.subject in (None, subject_of(finding))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.gate, self.kind, self.subject, self.type)))


@dataclass(frozen=True)
class Fingerprint:
    """A failure, as it is recognised again.

    gate, kind: the gate that is falsified and the kind of the finding, in the gate's words.
    subject: for a wrong fact of the metadata which one it is ("rope_theta"), for a malformed input the error of our own reader
        ("TruncatedDataError"), for a refusal or a crash the converter's words (`complaint`); else empty. Which rule an unreadable
        output breaks first hangs on its size, and is none.
    cause: the ids of the diagnosis, one after the other: structure, or bugs of the zoo; none where nobody knows.
    type: the type of the source where the failure hangs on it; None where it may be any.
    """

    gate: str
    kind: str
    subject: str = ""
    cause: tuple[str, ...] = ()
    type: str | None = None

    @classmethod
    def of(cls, finding: Finding) -> Fingerprint:
        """What is seen of a finding before anything is known of its cause."""
        return cls(finding.gate, finding.kind, subject_of(finding))

    def fits(self, finding: Finding) -> bool:
        """Whether a finding may be this failure: all but the cause, which takes a diagnosis.

        Where the cause is known, any kind of wrong numbers is as good as any other: which one it is hangs on the numbers.
        """
        numbers = bool(self.cause) and {self.kind, finding.kind} <= OF_NUMBERS
        if (finding.gate, subject_of(finding)) != (self.gate, self.subject) or not (
            finding.kind == self.kind or numbers
        ):
            return False
        return self.type in (None, finding.source_type)

    @property
    def name(self) -> str:
        """As the name of a folder.

        >>> Fingerprint("F-CONV-003", "values", cause=("k-scales-bit-stream",), type="Q4_K").name
        'F-CONV-003-values-q4_k-k-scales-bit-stream'
        """
        words = (self.gate, self.kind, self.subject, (self.type or "").lower(), *self.cause)
        name = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, words))).strip("-")
        if len(name) <= _LONGEST:
            return name
        return f"{name[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        subject = "" if not self.subject else f": {self.subject}" if self.kind in _SAID else f" of {self.subject}"
        kind = f" ({self.type})" if self.type else ""
        cause = f": {' + '.join(self.cause)}" if self.cause else ""
        return f"{self.gate} {self.kind}{subject}{kind}{cause}"

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint of such JSON, by today's name of its kind. Raises KeyError, TypeError and UnknownKindError."""
        kind = kind_of(names.kind(values["kind"])).name
        return cls(values["gate"], kind, values["subject"], tuple(values["cause"]), values["type"])


def subject_of(finding: Finding) -> str:
    """Which fact is wrong, or which rule an input breaks: the word that its detail begins with, where it is about no tensor.

    >>> subject_of(Finding("number-wrong", "F-CONV-META-001", "rope_theta is 10000.0, and was 500000.0"))
    'rope_theta'
    >>> subject_of(Finding("refused", "F-CONV-003", "Q8_0 is not supported (exit code 1)"))
    'Q8_0 is not supported (exit code 1)'
    >>> subject_of(Finding("config-missing", "F-CONV-META-001", "there is no config.json"))
    ''
    """
    if finding.kind in _SAID and finding.gate != SAFE:
        return unchanging(finding.detail[:LONGEST_SUBJECT])
    if finding.tensor is not None or finding.gate not in (META, SAFE) or finding.kind in _OF_MANY:
        return ""
    word = finding.detail[:LONGEST_SUBJECT].partition(": ")[0].split(" ")[0]
    return "" if word.lower() in _NO_FACTS else word


def badness(finding: Finding) -> float:
    """How far off the numbers are that a finding is about: the largest error, up to 1; 0 where it is about anything else."""
    return min(finding.error, 1.0) if finding.error == finding.error else 1.0


def fitting(fingerprint: Fingerprint, findings: Iterable[Finding]) -> list[Finding]:
    """Those that may be this failure."""
    return [finding for finding in findings if fingerprint.fits(finding)]
