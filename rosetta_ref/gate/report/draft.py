"""A file of expectations drafted from a run: what failed and is not yet expected is added, for somebody to give the reason.

Cases of one gate that are wrong by the same kind, for the same cause, are one entry, with patterns that match no other case of the
run. The words of the converter are a draft of the reason, where it said why.

A draft never loosens: what stands in the file stays as it is, comments included. New entries say their kinds, and the gate takes
none of them before its reason is written. Of a part of the gate's cases only names are written: what was not run may well be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.gate.converter.entry import REFUSED, Run
from rosetta_ref.gate.converter.said import alike, reason_of
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Result
from rosetta_ref.gate.names import VERSION
from rosetta_ref.gate.report.expectations import TODO, Expectation, ExpectationError, excused, kinds_of, parse
from rosetta_ref.gate.report.patterns import literal, patterns_of
from rosetta_ref.gate.report.verdict import said

#: Kinds of findings about a run that left no output: the converter may have said why.
_NO_OUTPUT = frozenset({"refused", "refused-by-traceback"})


def draft(
    results: Sequence[Result], existing: str = "", *, facts: Mapping[str, str] | None = None, whole: bool = True
) -> str:  # fmt: skip
    """The text of a file of expectations: `existing`, and entries for what it does not expect of these results.

    A new file says which version of the names it uses.
    `whole` says that every case of the gate was run. An entry that has expired is not written a second time: somebody has to
    renew its date.
    """
    import yaml

    entries = parse(existing, drafting=True)
    active = [entry for entry in entries if entry.applies(facts or {})]
    every = [result.case for result in results]
    added = [_entry(group, every if whole else None) for group in _groups(results, active)]
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


@dataclass
class _Group:
    """Failures of one gate and one cause that nobody expects, by the same kinds; `kinds` is empty but where they are Falsified."""

    kinds: list[str]
    results: list[Result] = field(default_factory=list)

    @property
    def cases(self) -> list[str]:
        """Their ids."""
        return [result.case for result in self.results]


def _groups(results: Sequence[Result], entries: Sequence[Expectation]) -> Iterable[_Group]:
    """By gate, kind and cause; kinds that the same cases show for the same cause are together."""
    groups: dict[tuple[object, ...], _Group] = {}
    for result in sorted(results, key=lambda result: result.case):
        matching = [entry for entry in entries if entry.matches(result.case)]
        nobody_pins = result.outcome == SKIPPED and result.unclaimed and not matching
        if result.outcome == CORROBORATED or nobody_pins or excused(result, matching):
            continue
        known = [entry.kinds or frozenset() for entry in matching if entry.outcome == result.outcome]
        kinds = sorted(kinds_of(result).difference(*known)) if result.outcome == FALSIFIED else [""]
        for kind in kinds:
            group = groups.setdefault(
                (result.gate, result.outcome, kind, _cause(result)), _Group([kind] if kind else [])
            )
            group.results.append(result)
    return _merged(groups)


def _merged(groups: Mapping[tuple[object, ...], _Group]) -> Iterable[_Group]:
    """Those of the same cases as one."""
    made: dict[tuple[object, ...], _Group] = {}
    for (gate, outcome, _, cause), group in groups.items():
        key = (gate, outcome, cause, tuple(group.cases))
        if key in made:
            made[key].kinds += group.kinds
        else:
            made[key] = group
    return made.values()


def _entry(group: _Group, every: Sequence[str] | None) -> dict[str, Any]:
    """The entry of a group; `every` are the cases of the run, which its patterns must not match."""
    first, cases = group.results[0], group.cases
    named = set(cases)
    patterns = [literal(case) for case in cases]
    if every is not None:
        patterns = patterns_of(cases, [case for case in every if case not in named])
    made: dict[str, Any] = {"pattern": patterns if len(patterns) > 1 else patterns[0], "outcome": first.outcome}
    if group.kinds:
        made["kinds"] = sorted(group.kinds)
    made["reason"] = f"{TODO}: {' '.join(_why(first, group.kinds).split())}"
    if first.link:
        made["issue"] = first.link
    return made


def _why(result: Result, kinds: Sequence[str]) -> str:
    """The diagnosis, the converter's own words, or what is wrong."""
    if result.diagnosis:
        return result.diagnosis
    if own := _own_words(result):
        return f"it says: {own}"
    found = next((str(finding) for finding in result.findings if finding.kind in kinds), None)
    return found or said(result)


def _cause(result: Result) -> str:
    """What tells one cause from another, beside the kind: the diagnosis, or the words, whatever the input."""
    made_nothing = result.outcome != FALSIFIED or kinds_of(result) <= _NO_OUTPUT
    return result.diagnosis or (alike(_own_words(result) or result.reason) if made_nothing else "")


def _own_words(result: Result) -> str:
    """What the converter said of a case in which it made nothing."""
    if result.outcome == FALSIFIED and not kinds_of(result) <= _NO_OUTPUT:
        return ""
    return reason_of(Run(REFUSED, result.exit_code, result.stdout, result.stderr))
