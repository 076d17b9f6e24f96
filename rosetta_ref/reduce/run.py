"""One reduction from end to end: the failure, the search, the folder; the best so far is on disk at any moment."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.entry import TIMEOUT, Converter
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.folder import folder as folders
from rosetta_ref.reduce.folder.expected import load
from rosetta_ref.reduce.folder.prose import code
from rosetta_ref.reduce.folder.report import LARGE
from rosetta_ref.reduce.passes.malformed import Malformed, is_malformed, shrink_malformed
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Found, Oracle, Seen, same_failure
from rosetta_ref.reduce.search.failure import Fingerprint, Wanted, badness, fitting
from rosetta_ref.reduce.search.input import size_of
from rosetta_ref.reduce.search.naming import ANY
from rosetta_ref.reduce.search.search import Budget, OnProgress, Search, SpentError
from rosetta_ref.reduce.shrink import NothingFailsError, failure_of, shrink

#: How often the smallest input is converted once more: some failures come and go.
_TIMES = 2
#: The share of the error that a smaller input has to show, too.
_SHARE = 0.5


@dataclass(frozen=True)
class Asked:
    """What is asked: a file, the target's format, perhaps a type, and one of several failures; what it may cost, and where to."""

    model: Path
    target_format: str
    type: str | None = None
    wanted: Wanted = ANY
    any_failure: bool = False
    budget: Budget = field(default_factory=Budget)
    jobs: int | None = None
    output: Path = field(default_factory=Path)
    #: What a replay is told to mean the same converter.
    flags: str = ""

    @classmethod
    def of(cls, arguments: argparse.Namespace, flags: list[str]) -> Asked:
        """Of the command line."""
        return cls(
            arguments.model, arguments.to, arguments.type, Wanted(arguments.gate), arguments.any_failure,
            Budget(arguments.max_calls, arguments.max_seconds), arguments.jobs, arguments.output, shlex.join(flags),
        )  # fmt: skip


@dataclass
class Made:
    """What came of it. Sizes in bytes; `notes` say why it ended early, if it did."""

    folder: Path
    found: Found
    before: int
    after: int
    seconds: float
    replay: str
    notes: list[str] = field(default_factory=list)


def run(converter: Converter, asked: Asked, on_progress: OnProgress = lambda search: None) -> Made:
    """Reduce, and leave the folder. Raises NothingFailsError, and what the first conversion's reader raises.

    Interrupted, or with its budget spent, it leaves the best so far and says so.
    """
    began = time.monotonic()
    with Workspace() as work:
        oracle = Oracle(converter, asked.target_format, work, asked.type, asked.wanted.gate)
        fingerprint, seen = failure_of(oracle, asked.model, asked.wanted)
        before = size_of(asked.model)
        kept = _Kept(oracle, asked, f"It was reduced from {code(asked.model.name)} ({before:,} bytes).")
        search, reduce = _search(oracle, fingerprint, seen, asked)
        search.jobs, search.on_progress = _jobs(converter, asked.jobs), on_progress
        search.kept = lambda *_: kept.better(search)
        if before <= LARGE and oracle.reference_is_right(asked.model):
            kept.keep(search)
        notes, times = [], _TIMES
        try:
            reduce()
        except SpentError as error:
            notes.append(f"it ended early: {error.problem}")
        except KeyboardInterrupt:
            notes.append("it was interrupted; this is the best so far")
            times = 0
        found, place = _left(kept, search, seen, times, notes)
        named = f"./{place}" if str(place).startswith("-") else str(place)
        replay = shlex.join(["rosetta-ref", "replay", named]) + (f" {asked.flags}" if asked.flags else "")
        return Made(place, found, before, size_of(found.seen.source), time.monotonic() - began, replay, notes)


def _left(kept: _Kept, search: Search | Malformed, seen: Seen, times: int, notes: list[str]) -> tuple[Found, Path]:
    """The folder in the end, if its input fails there as well, so many times, and the reference does better.

    `notes` gets what is to be said.
    """
    is_first = search.seen is seen
    if is_first and not kept.oracle.reference_is_right(seen.source):
        raise NothingFailsError("the reference gets it wrong as well, and nothing smaller fails", file=seen.source)
    found, place = kept.keep(search)
    if search.fingerprint.kind == TIMEOUT and not is_first:
        return found, place  # once more takes minutes
    if size_of(found.seen.source) > limits.of("folder-bytes"):
        notes.append(
            "the input is larger than what replay takes (--limits folder-bytes=...); it was not converted again"
        )
        return found, place
    times = min(times, kept.asked.budget.calls - kept.oracle.calls)
    failed = _failures(kept.oracle, found, place, times)
    if is_first and not failed and times:
        kept.forget()
        raise NothingFailsError("it fails, but not under another name: there is nothing to replay", file=seen.source)
    if failed < times:
        said = f"it fails only sometimes: {failed + 1} of {times + 1} conversions of the smallest input did"
        notes.append(said)
        kept.origin += f" {said[0].upper()}{said[1:]}."
        return kept.keep(search)
    return found, place


def _failures(oracle: Oracle, found: Found, place: Path, times: int) -> int:
    """How often, of so many times, the input in its folder fails as it did."""
    failed = 0
    for _ in range(times):
        seen = oracle.look(place / load(place).input)
        failed += same_failure(found.fingerprint, seen, asked=oracle.asked)
        seen.forget()
    return failed


def _search(
    oracle: Oracle, fingerprint: Fingerprint, seen: Seen, asked: Asked
) -> tuple[Search | Malformed, Callable[[], None]]:
    """The search, and what runs it: a file that no reader takes is reduced in another way."""
    budget = replace(asked.budget, calls=max(asked.budget.calls - _TIMES, 1))
    if is_malformed(fingerprint):
        broken = Malformed.of(oracle, fingerprint, seen, budget, any_failure=asked.any_failure)
        return broken, lambda: shrink_malformed(broken)
    search = Search(oracle, fingerprint, inputs.read(asked.model), seen, budget, asked.any_failure)
    search.least = _SHARE * max(map(badness, fitting(fingerprint, seen.findings)), default=0.0)
    return search, lambda: shrink(search)


@dataclass
class _Kept:
    """The best so far, in its folder. A failure that gets its name while it is reduced gets another folder."""

    oracle: Oracle
    asked: Asked
    origin: str
    name: str = ""
    place: Path | None = None

    def better(self, search: Search | Malformed) -> None:
        """There is a smaller one."""
        self.keep(search)

    def keep(self, search: Search | Malformed) -> tuple[Found, Path]:
        found = Found(search.fingerprint, search.seen, self.origin, self.oracle.calls)
        if self.place is None or self.name != search.fingerprint.name:
            self.forget()
            self.name = search.fingerprint.name
            way = (sniff(self.asked.model), self.asked.target_format)
            self.place = folders.place_for(self.name, self.asked.output, self.asked.model, way)
        return found, folders.write(found, self.oracle, self.place, self.asked.flags)

    def forget(self) -> None:
        """Remove what was left so far."""
        if self.place is not None:
            shutil.rmtree(self.place, ignore_errors=True)
            self.place = None


def _jobs(converter: Converter, jobs: int | None) -> int:
    """Functions have this process for themselves, and so one at a time."""
    if converter.entry.command is None:
        return 1
    return jobs if jobs is not None else os.cpu_count() or 1
