"""The failures of a run of the gate, one of each cause reduced and left in a folder while its files are still there.

The worst come first: by the severity of the kind, then by how many elements are wrong. Of a cause the smallest input is taken.
It costs some seconds, which the causes share: each gets as many calls of the converter as its share has time for. What is
expected gets no folder, and of what had to be left out is said that it was.
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
from rosetta_ref.gate.kinds import KINDS, UNSTATED, Severity
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

#: For all folders of a run together, and for one of them: calls that are too few to make anything smaller, and enough.
SECONDS, FEWEST, CALLS = 30.0, 8, 64
#: What goes with a call of a converter: its copy of the input, the judge, the reference.
_OVERHEAD = 0.02
#: Causes that are named in a note.
_NAMED = 5
#: Folders of a run at most.
MOST = 8


#: What tells one bug from another.
Bug = tuple[str | None, ...]


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
    def bug(self) -> Bug:
        """What has one folder: a known cause whatever it is seen by, else all but the pair of formats."""
        return (self.cause,) if self.cause is not None else (self.kind, self.subject, self.type)

    @property
    def title(self) -> str:
        """In words."""
        return " ".join(filter(None, (self.kind, self.subject, self.type))) + (f" ({self.cause})" if self.cause else "")

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS.get(self.kind, KINDS[UNSTATED]).severity

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
class Group:
    """The failures of one cause: those to be reduced, and what they have broken together."""

    severity: Severity
    damage: int = 0
    seen: list[tuple[Failure, Look]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def add(self, failure: Failure, look: Look, results: Sequence[Result]) -> None:
        """One more conversion that shows it."""
        self.severity = min(self.severity, look.severity, key=lambda one: one.rank)
        self.seen.append((failure, look))
        self.results += results
        for result in results:
            self.damage += sum(finding.count or 0 for finding in result.findings if finding.kind == look.kind)

    @property
    def smallest(self) -> tuple[Failure, Look]:
        """The smallest input, of the worst kind."""
        return min(self.seen, key=lambda one: (one[1].severity.rank, size_of(one[0].source)))

    @property
    def call(self) -> float:
        """The seconds of a call of the converter, as measured."""
        took = [result.seconds for result in self.smallest[0].results if result.seconds]
        return min(took, default=0.0) + _OVERHEAD


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
    _known: dict[Bug, Path | None] = field(default_factory=dict)
    _left_out: dict[Bug, str] = field(default_factory=dict)

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Reduce one of each cause, the worst first."""
        groups = self._groups(failures)
        fresh = [bug for bug in sorted(groups, key=lambda bug: _order(groups[bug])) if bug not in self._known]
        for place, bug in enumerate(fresh):
            budget = self._budget(groups[bug].call, len(fresh) - place)
            if budget is None:
                self._left_out[bug] = groups[bug].smallest[1].title
            else:
                self._left_out.pop(bug, None)
                self._known[bug] = self._reduced(*groups[bug].smallest, groups[bug].results, budget)
        for bug, group in groups.items():
            for result in group.results:
                result.reproduction = result.reproduction or self._known.get(bug)

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        if not self._left_out:
            return []
        why = f"{MOST} folders are enough" if len(self.made) >= MOST else f"they would take more than {SECONDS:g} s"
        names, count = [*self._left_out.values()], len(self._left_out)
        more = f", and {count - _NAMED} more" if count > _NAMED else ""
        causes = "1 cause" if count == 1 else f"{count} causes"
        return [f"no reproduction of {causes}, since {why}: {', '.join(names[:_NAMED])}{more}"]

    def _groups(self, failures: Sequence[Failure]) -> dict[Bug, Group]:
        groups: dict[Bug, Group] = {}
        for failure in failures:
            for look, results in self._fresh(failure).items():
                groups.setdefault(look.bug, Group(look.severity)).add(failure, look, results)
        return groups

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

    def _budget(self, call: float, waiting: int) -> Budget | None:
        """What one of so many causes may cost; None where a few calls take longer than is left, or there are enough folders."""
        rooms = min(waiting, MOST - len(self.made), int(self.left / (FEWEST * call)))
        if rooms < 1:
            return None
        share = self.left / rooms
        return Budget(min(int(share / call), CALLS), share)

    def _reduced(self, failure: Failure, look: Look, results: Sequence[Result], budget: Budget) -> Path | None:
        began = time.monotonic()
        asked = Asked(
            failure.source, LETTERS[failure.pair[-1]], failure.asked, look.wanted, budget=budget,
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
            return made.folder if look.fits(made.found.fingerprint) else None
        finally:
            self.left -= time.monotonic() - began
        return None


def _order(group: Group) -> tuple[int, int, int]:
    """The worst first, then what breaks most, then the smallest."""
    return group.severity.rank, -group.damage, size_of(group.smallest[0].source)


@dataclass
class Explained:
    """What is done about the failures of a run: they are named, and reduced. One serves for all seeds."""

    namer: Namer
    reproductions: Reproductions | None
    names: bool = True

    @classmethod
    def of(cls, asked: Request) -> Explained:
        """For a run."""
        place = asked.reproductions
        flags = shlex.join(asked.flags)
        made = Reproductions(asked.converter, place, flags, asked.is_expected) if place is not None else None
        return cls(Namer(), made)

    def hurry(self, seconds: float) -> None:
        """There are so many seconds at most: without time for a search, failures are reproduced without names."""
        self.names = seconds >= SECONDS
        if (made := self.reproductions) is not None:
            made.left = min(made.left, seconds)
            if hasattr(made.converter, "within"):  # one call that hangs would take more
                made.converter = made.converter.within(min(made.converter.entry.time_limit, seconds))

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Name them first: the name tells failures apart."""
        if self.names:
            self.namer(failures)
        if self.reproductions is not None:
            self.reproductions(failures)

    @property
    def errors(self) -> list[str]:
        """What went wrong on the way; the verdicts stand."""
        return self.namer.errors + (self.reproductions.errors if self.reproductions is not None else [])

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        return self.reproductions.notes if self.reproductions is not None else []
