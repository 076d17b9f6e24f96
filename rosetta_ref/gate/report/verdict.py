"""The verdict over a run: what came as expected, what did not, and the exit code that says so.

0: all as expected. 1: something unexpected, and that is also an expected failure that passes, an expectation that matches no case
or has expired, and a skip that nobody pinned and that does not follow from the entry. 2: the run itself judged nothing, or
contradicts itself.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, OUTCOMES, SKIPPED, Result
from rosetta_ref.gate.report.expectations import Expectation, excused, kinds_of

EXPECTED, UNEXPECTED, ERROR = 0, 1, 2


@dataclass
class RunVerdict:
    """What came as expected, and lists of all that did not; those are empty where all is well."""

    as_expected: list[Result] = field(default_factory=list)
    failures: list[Result] = field(default_factory=list)
    #: Expected to fail, and right: the converter was mended, or the gate has gone blind.
    passing: list[tuple[Expectation, Result]] = field(default_factory=list)
    #: An entry, and the pattern of it that no case matches.
    unmatched: list[tuple[Expectation, str]] = field(default_factory=list)
    #: An entry, and the kind of it that no case showed any more.
    stale: list[tuple[Expectation, str]] = field(default_factory=list)
    expired: list[Expectation] = field(default_factory=list)
    unpinned: list[Result] = field(default_factory=list)
    unskipped: list[tuple[Expectation, Result]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, 1 or 2."""
        if self.errors:
            return ERROR
        return UNEXPECTED if any(True for _ in self.lines()) else EXPECTED

    @property
    def word(self) -> str:
        """The verdict in a few words."""
        return ("as expected", "unexpected results", "error of the run")[self.exit_code]

    def lines(self) -> Iterator[str]:
        """What is wrong, one line each; nothing where all is as expected."""
        yield from (f"error of the run: {error}" for error in self.errors)
        yield from (f"unexpected: {result.case}: {said(result)}" for result in self.failures)
        yield from (f"skipped, and not pinned: {result.case}: {result.reason}" for result in self.unpinned)
        yield from (f"expected to fail, but passes: {result.case}: {entry}" for entry, result in self.passing)
        yield from (f"expected to be skipped, but was not: {result.case}: {entry}" for entry, result in self.unskipped)
        yield from (f"expected, but no case is called {pattern}: {entry}" for entry, pattern in self.unmatched)
        yield from (f"expected, but no case is wrong by {kind!r} any more: {entry}" for entry, kind in self.stale)
        yield from (f"expected until {entry.expires}: {entry}" for entry in self.expired)


def said(result: Result) -> str:
    """The outcome, and its first finding or reason."""
    first = str(result.findings[0]) if result.findings else result.reason
    return f"{result.outcome}: {first}" if first else result.outcome


def judge(
    results: Sequence[Result],
    expectations: Sequence[Expectation],
    today: datetime.date,
    *,
    facts: Mapping[str, str] | None = None,
    whole: bool = True,
) -> RunVerdict:
    """Hold the results against what was expected.

    `facts` are what conditions may ask for (version, platform); `whole` says that every case of the gate was run: else an
    expectation that matches none of them means nothing.
    """
    active, expired = in_force(expectations, today, facts or {})
    verdict = RunVerdict(errors=list(contradictions(results)), expired=expired)
    for result in results:
        place(result, [entry for entry in active if entry.matches(result.case)], verdict)
    if whole:
        cases = {result.case for result in results}
        verdict.unmatched += [(entry, pattern) for entry in active for pattern in entry.unmatched(cases)]
        verdict.stale += _stale(results, active)
    return verdict


def in_force(
    expectations: Sequence[Expectation], today: datetime.date, facts: Mapping[str, str]
) -> tuple[list[Expectation], list[Expectation]]:
    """The entries that hold in this run, and those that would if they had not expired."""
    meant = [entry for entry in expectations if entry.applies(facts)]
    expired = [entry for entry in meant if entry.expires is not None and today > entry.expires]
    return [entry for entry in meant if entry not in expired], expired


def place(result: Result, matching: Sequence[Expectation], verdict: RunVerdict) -> None:
    """Put a result where it belongs."""
    passing = [entry for entry in matching if entry.strict and entry.outcome != SKIPPED]
    pinned = [entry for entry in matching if entry.strict and entry.outcome == SKIPPED]
    if result.outcome != SKIPPED:
        verdict.unskipped += [(entry, result) for entry in pinned]
    if result.outcome == CORROBORATED:
        verdict.passing += [(entry, result) for entry in passing]
        if not passing and not pinned:
            verdict.as_expected.append(result)
    elif excused(result, matching) or (result.outcome == SKIPPED and result.unclaimed and not passing):
        verdict.as_expected.append(result)
    elif result.outcome == SKIPPED:
        verdict.unpinned.append(result)
    else:
        verdict.failures.append(result)


def _stale(results: Sequence[Result], active: Sequence[Expectation]) -> Iterator[tuple[Expectation, str]]:
    """Kinds of strict entries that were expected and not seen, where the entry's cases still fail by other kinds."""
    for entry in active:
        if entry.strict and entry.kinds:
            failing = [result for result in results if result.outcome == FALSIFIED and entry.matches(result.case)]
            seen = frozenset().union(*map(kinds_of, failing))
            yield from ((entry, kind) for kind in sorted(entry.kinds - seen) if failing)


def contradictions(results: Sequence[Result]) -> Iterator[str]:
    """Why the run is no run: it judged nothing, or a result cannot be true."""
    if not results:
        yield "no case was run"
    for case, count in Counter(result.case for result in results).items():
        if count > 1:
            yield f"{case}: {count} results for one case"
    for result in results:
        yield from contradiction(result)
    if results and all(result.outcome == SKIPPED for result in results):
        yield f"every case was skipped ({len(results)}), the first one because: {results[0].reason or 'nobody said why'}"


def contradiction(result: Result) -> Iterator[str]:
    """Why one result cannot be true, if it cannot."""
    if result.outcome not in OUTCOMES:
        yield f"{result.case}: the outcome {result.outcome!r} is none"
    elif result.outcome != SKIPPED and result.expected <= 0:
        yield f"{result.case}: nothing was expected ({result.expected} {result.unit})"
    elif result.outcome == CORROBORATED and result.compared < result.expected:
        yield f"{result.case}: Corroborated, with {result.compared} of {result.expected} {result.unit} compared"
    elif result.outcome == CORROBORATED and result.findings:
        yield f"{result.case}: Corroborated, with a finding: {result.findings[0]}"
