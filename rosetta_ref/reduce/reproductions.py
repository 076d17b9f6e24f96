"""The failures of a run of the gate, each kind of them reduced and left in a folder while its files are still there.

What looks alike (pair, kind, diagnosis) is one failure, and its smallest input is taken. It costs some seconds and a few calls of
the converter; failures that are expected, and what is left when the seconds are over, get no folder.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.diagnosis import Namer
from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.gate.converter import LETTERS, Converter
from rosetta_ref.gate.request import Request
from rosetta_ref.gate.result import Result
from rosetta_ref.gate.run import Failure
from rosetta_ref.reduce.given import size_of
from rosetta_ref.reduce.run import Asked, Made, run
from rosetta_ref.reduce.search import Budget

#: For all folders of a run together, and for one of them.
SECONDS, CALLS = 30.0, 64
#: Folders of a run at most.
MOST = 8
Look = tuple[str, str, str | None]


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
                kinds = [finding.kind for finding in result.findings if finding.leg in ("", failure.pair)]
                for kind in dict.fromkeys(kinds or [result.outcome.lower()]):
                    made.setdefault((failure.pair, kind, result.diagnosis), []).append(result)
        return made

    def _reduce(self, failure: Failure, look: Look, results: Sequence[Result]) -> None:
        began = time.monotonic()
        asked = Asked(
            failure.source, LETTERS[failure.pair[-1]], failure.asked, kind=look[1], budget=Budget(CALLS, self.left),
            output=self.place, flags=self.flags,
        )  # fmt: skip
        try:
            made = run(self.converter, asked)
        except (RosettaError, OSError) as error:
            self.errors.append(f"{results[0].case}: no reproduction: {error}")
        except Exception as error:  # noqa: BLE001 - a foreign file may be wrong in any way, and the gate has judged it
            self.errors.append(f"{results[0].case}: no reproduction: {unforeseen(error)}")
        else:
            self._known[look] = made.folder
            self.made.append(made)
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
