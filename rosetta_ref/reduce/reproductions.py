"""The failures of a run of the gate, each kind of them reduced and left in a folder while its files are still there.

What looks alike (`Look`) is one failure, and its smallest input is taken. It costs some seconds and a few calls of
the converter; failures that are expected, and what is left when the seconds are over, get no folder.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rosetta_ref.diagnosis import Namer
from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.gate.converter.entry import CRASHED, REFUSED, TIMEOUT, Converter
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.gate.run.engine import Failure
from rosetta_ref.gate.run.request import Request
from rosetta_ref.reduce.run import Asked, Made, run
from rosetta_ref.reduce.search.candidate import refusal
from rosetta_ref.reduce.search.complaint import unchanging
from rosetta_ref.reduce.search.failure import Fingerprint, Wanted, subject_of
from rosetta_ref.reduce.search.input import size_of
from rosetta_ref.reduce.search.search import Budget
from rosetta_ref.zoo import MEMBERS

#: For all folders of a run together, and for one of them.
SECONDS, CALLS = 30.0, 64
#: Folders of a run at most.
MOST = 8


class Look(NamedTuple):
    """What failures of a run have in common that get one folder.

    subject: of the metadata which fact, of malformed files the rule that is broken, of a refusal or a crash what is said.
    cause: the diagnosis. type: where there is none, since it is then all that tells one bug from another.
    """

    pair: str
    kind: str
    subject: str
    cause: str | None
    type: str | None

    @classmethod
    def of(cls, failure: Failure, result: Result, kind: str, finding: Finding | None) -> Look:
        """Of one finding of a result, or of one that has none."""
        if result.gate == SAFE:
            broken = refusal(failure.source)
            return cls(failure.pair, kind, type(broken).__name__ if broken is not None else "", None, None)
        if finding is None:
            return cls(failure.pair, kind, unchanging(result.reason), None, None)
        found = None if result.diagnosis else finding.source_type
        return cls(failure.pair, kind, subject_of(finding), result.diagnosis, found)

    @property
    def wanted(self) -> Wanted:
        """The failure to be followed in the file of one of them. Of a crash the words are not those of the finding."""
        subject = self.subject if self.kind not in (CRASHED, REFUSED, TIMEOUT) else None
        return Wanted(None, self.kind, subject, self.type)

    def fits(self, found: Fingerprint) -> bool:
        """Whether what was reduced is one of them: another bug may be wrong in the same file."""
        alike = {one for name in found.cause if name in MEMBERS for one in MEMBERS[name].alike}
        return self.cause is None or self.cause == " + ".join(found.cause) or self.cause in alike


@dataclass
class Reproductions:
    """Gives results their reproduction. One serves for all seeds of a run; `left` are the seconds that are left."""

    converter: Converter
    place: Path
    flags: str = ""
    #: Whether a failure is an expected one, which needs no folder.
    expected: Callable[[Result], bool] = lambda result: False
    left: float = SECONDS
    made: list[Made] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _known: dict[Look, Path] = field(default_factory=dict)

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Reduce one of each, smallest first."""
        for failure in sorted(failures, key=lambda one: size_of(one.source)):
            for look, results in self._fresh(failure).items():
                if look not in self._known and self.left > 0 and len(self.made) < MOST:
                    self._reduce(failure, look, results)
        for failure in failures:
            for look, results in self._fresh(failure).items():
                for result in results:
                    result.reproduction = result.reproduction or self._known.get(look)

    def _fresh(self, failure: Failure) -> dict[Look, list[Result]]:
        """The unexpected failures, by how they look."""
        made: dict[Look, list[Result]] = {}
        for result in failure.results:
            if not self.expected(result):
                findings = [finding for finding in result.findings if finding.leg in ("", failure.pair)]
                looks = [Look.of(failure, result, finding.kind, finding) for finding in findings]
                for look in dict.fromkeys(looks or [Look.of(failure, result, result.outcome.lower(), None)]):
                    made.setdefault(look, []).append(result)
        return made

    def _reduce(self, failure: Failure, look: Look, results: Sequence[Result]) -> None:
        began = time.monotonic()
        asked = Asked(
            failure.source, LETTERS[failure.pair[-1]], failure.asked, look.wanted, budget=Budget(CALLS, self.left),
            output=self.place, flags=self.flags,
        )  # fmt: skip
        try:
            made = run(self.converter, asked)
        except (RosettaError, OSError) as error:
            self.errors.append(f"{results[0].case}: no reproduction: {error}")
        except Exception as error:  # noqa: BLE001 - a foreign file may be wrong in any way, and the gate has judged it
            self.errors.append(f"{results[0].case}: no reproduction: {unforeseen(error)}")
        else:
            self.made.append(made)
            if look.fits(made.found.fingerprint):
                self._known[look] = made.folder
        self.left -= time.monotonic() - began


@dataclass
class Explained:
    """What is done about the failures of a run: they are named, and reduced. One serves for all seeds."""

    namer: Namer
    reproductions: Reproductions | None

    @classmethod
    def of(cls, asked: Request) -> Explained:
        """For a run."""
        place = asked.reproductions
        flags = shlex.join(asked.flags)
        made = Reproductions(asked.converter, place, flags, asked.is_expected) if place is not None else None
        return cls(Namer(), made)

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Name them first: the name tells failures apart."""
        self.namer(failures)
        if self.reproductions is not None:
            self.reproductions(failures)

    @property
    def errors(self) -> list[str]:
        """What went wrong on the way; the verdicts stand."""
        return self.namer.errors + (self.reproductions.errors if self.reproductions is not None else [])
