"""A file of expectations drafted from a run: what failed and is not yet expected is added, for somebody to give the reason.

A draft never loosens: what stands in the file stays as it is, comments included. New entries name cases, never patterns, and their
kinds, and the gate takes none of them before its reason is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Result
from rosetta_ref.gate.names import VERSION
from rosetta_ref.gate.report.expectations import TODO, Expectation, ExpectationError, excused, kinds_of, parse
from rosetta_ref.gate.report.verdict import said


def draft(results: Sequence[Result], existing: str = "", *, facts: Mapping[str, str] | None = None) -> str:
    """The text of a file of expectations: `existing`, and entries for what it does not expect of these results.

    A new file says which version of the names it uses.
    An entry that has expired is not written a second time: somebody has to renew its date.
    """
    import yaml

    entries = parse(existing, drafting=True)
    active = [entry for entry in entries if entry.applies(facts or {})]
    added = [_entry(group) for group in _groups(results, active)]
    if not added:
        return existing
    said = [] if entries else [{"names": VERSION}]
    text = yaml.safe_dump([*said, *added], sort_keys=False, allow_unicode=True, width=120)
    kept = existing if entries else "".join(line for line in existing.splitlines(True) if line.startswith("#"))
    indent = next((len(line) - len(line.lstrip()) for line in kept.splitlines() if line.lstrip().startswith("-")), 0)
    text = "".join(" " * indent + line for line in text.splitlines(keepends=True))
    made = kept + ("\n" if kept and not kept.endswith("\n") else "") + text
    _check(made, entries, len(added))
    return made


def _check(made: str, entries: Sequence[Expectation], added: int) -> None:
    """Nothing that stood there may mean anything else now: a list in brackets, say, cannot be added to line by line."""
    try:
        after = parse(made, drafting=True)
    except ExpectationError:
        after = []
    if after[: len(entries)] != list(entries) or len(after) != len(entries) + added:
        raise ExpectationError("entries can only be added to a list that has one entry per `-`")


def _groups(results: Sequence[Result], entries: Sequence[Expectation]) -> Iterable[list[tuple[Result, frozenset[str]]]]:
    """Failures that are not expected, with the kinds that are not; those of one cause together."""
    groups: dict[tuple[object, ...], list[tuple[Result, frozenset[str]]]] = {}
    for result in sorted(results, key=lambda result: result.case):
        matching = [entry for entry in entries if entry.matches(result.case)]
        if result.outcome == CORROBORATED or excused(result, matching):
            continue
        known = [entry.kinds or frozenset() for entry in matching if entry.outcome == result.outcome]
        kinds = kinds_of(result).difference(*known) if result.outcome == FALSIFIED else frozenset()
        why = result.reason if result.outcome != FALSIFIED else result.diagnosis
        groups.setdefault((result.gate, result.outcome, tuple(sorted(kinds)), why), []).append((result, kinds))
    return groups.values()


def _entry(group: Sequence[tuple[Result, frozenset[str]]]) -> dict[str, Any]:
    first, kinds = group[0]
    cases = [literal(result.case) for result, _ in group]
    why = " ".join((first.diagnosis or said(first)).split())
    made: dict[str, Any] = {"pattern": cases if len(cases) > 1 else cases[0], "outcome": first.outcome}
    if kinds:
        made["kinds"] = sorted(kinds)
    made["reason"] = f"{TODO}: {why}"
    if first.link:
        made["issue"] = first.link
    return made


def literal(case: str) -> str:
    """A pattern that matches this case alone.

    >>> literal("F-CONV-001/[2, 3]/a*")
    'F-CONV-001/[[]2, 3]/a[*]'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in case)
