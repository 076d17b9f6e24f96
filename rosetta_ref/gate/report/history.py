"""Two runs of the gate side by side: what was fixed, what broke, what is new and what is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.gate import names
from rosetta_ref.gate.findings import CORROBORATED, OUTCOMES, SKIPPED
from rosetta_ref.gate.pairs import LETTERS, PAIRS
from rosetta_ref.gate.report.files import FORMAT

#: What has to be the same for two runs to ask the same questions.
_SETTINGS = ("seed", "profile", "whole")

_LETTER = {name: letter for letter, name in LETTERS.items()}
#: The formats that a case goes through, where its id has them: G-A, S-A-G.
_WAY = re.compile(r"[A-Z](?:-[A-Z])+")


class HistoryError(RosettaError):
    """Runs can be compared where both are a result.json of the gate, and some case is in both."""


@dataclass(frozen=True)
class Then:
    """A case then and now; None where it was not run."""

    case: str
    old: str | None
    new: str | None
    detail: str = ""

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return safe_line(f"{self.case}: {self.old or 'not run'} -> {self.new or 'not run'}{detail}", SHOWN)


@dataclass
class Changes:
    """What is different. `changed` are cases that failed and fail in another way, `skipped` those that were judged before.

    A case that is not asked any more, since the entry no longer claims its pair, is skipped, too.
    """

    fixed: list[Then] = field(default_factory=list)
    broken: list[Then] = field(default_factory=list)
    new: list[Then] = field(default_factory=list)
    gone: list[Then] = field(default_factory=list)
    skipped: list[Then] = field(default_factory=list)
    changed: list[Then] = field(default_factory=list)
    same: int = 0
    notes: list[str] = field(default_factory=list)

    def groups(self) -> Iterator[tuple[str, list[Then]]]:
        """The lists by name, the worst first."""
        yield from (
            ("broken", self.broken), ("skipped", self.skipped), ("gone", self.gone), ("changed", self.changed), ("new", self.new),
            ("fixed", self.fixed),
        )  # fmt: skip

    @property
    def worse(self) -> bool:
        """Whether something is no longer known to be right."""
        return bool(self.broken) or any(then.old == CORROBORATED for then in self.skipped)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        lists = {name: [vars(then) for then in group] for name, group in self.groups()}
        return {**lists, "same": self.same, "notes": self.notes}


def read(path: Path) -> dict[str, Any]:
    """A result.json, with today's names of cases and kinds. Raises HistoryError."""
    try:
        value = foreign.json_of(foreign.read_file(path, "record-bytes"), file=path)
    except RosettaError as error:
        raise HistoryError(f"not JSON: {error.problem}", file=path, offset=error.offset, hint=error.hint) from error
    if not isinstance(value, dict) or not isinstance(value.get("cases"), list):
        raise HistoryError("not a result.json of the gate: it has no cases", file=path)
    if value.get("format") != FORMAT:
        raise HistoryError(f"format {value.get('format')!r}; this version reads {FORMAT}", file=path)
    for case in value["cases"]:
        if not isinstance(case, dict) or not isinstance(case.get("case"), str) or case.get("outcome") not in OUTCOMES:
            raise HistoryError(f"a case without an id or an outcome: {str(case)[:80]}", file=path)
        findings = case.get("findings", [])
        if not isinstance(findings, list) or not all(isinstance(finding, dict) for finding in findings):
            raise HistoryError(f"{case['case']!r:.80}: its findings are no list of objects", file=path)
    if not isinstance(value.get("converter", {}), dict):
        raise HistoryError("the converter is no object", file=path)
    version = value.get("names", 1)
    if type(version) is not int or not 1 <= version <= names.VERSION:
        raise HistoryError(f"names {version!r:.80}; this version knows 1 to {names.VERSION}", file=path)
    return names.run(value, place=str(path))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """What changed between two runs, each the content of a result.json."""
    then, now = ({case["case"]: case for case in run["cases"]} for run in (old, new))
    common = [case for case in then if case in now]
    if not common:
        raise HistoryError(f"no case is in both: {len(then)} cases then, {len(now)} now")
    changes = Changes(notes=list(_settings(old, new)))
    for case in common:
        _place(
            Then(case, then[case]["outcome"], now[case]["outcome"], _said(now[case])), then[case], now[case], changes
        )
    for case in (case for case in then if case not in now):
        pair = _unclaimed(then[case], new) if then[case]["outcome"] != SKIPPED else None
        if pair is None:
            changes.gone.append(Then(case, then[case]["outcome"], None))
        else:
            changes.skipped.append(Then(case, then[case]["outcome"], SKIPPED, f"the entry does not claim {pair}"))
    changes.new = [Then(case, None, now[case]["outcome"], _said(now[case])) for case in now if case not in then]
    return changes


def _place(both: Then, then: Mapping[str, Any], now: Mapping[str, Any], changes: Changes) -> None:
    """What passed and no longer does is broken; so is a failure where a skip was. What is only skipped now is said to be so."""
    if both.old == both.new and _kinds(then) == _kinds(now):
        changes.same += 1
    elif both.new == CORROBORATED:
        changes.fixed.append(both)
    elif both.new == SKIPPED and both.old != SKIPPED:
        changes.skipped.append(both)
    elif both.old == CORROBORATED or (both.old == SKIPPED and both.new != SKIPPED):
        changes.broken.append(both)
    else:
        changes.changed.append(both)


def _unclaimed(then: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The pair of a case of then that the entry of now does not claim, if that is so."""
    claimed = new.get("converter", {}).get("pairs")
    if not isinstance(claimed, list):
        return None
    way = then["case"].split("/")[1:2]
    if way and _WAY.fullmatch(way[0]):
        pair = way[0][:3]
    else:
        formats = [then.get("source_format"), then.get("target_format")]
        pair = "-".join(_LETTER.get(each, "") for each in formats if isinstance(each, str))
    return pair if pair in PAIRS and pair not in claimed else None


def _kinds(case: Mapping[str, Any]) -> set[str]:
    return {str(finding.get("kind")) for finding in case.get("findings", ())}


def _said(case: Mapping[str, Any]) -> str:
    kinds = ", ".join(sorted(_kinds(case)))
    return kinds or ("" if case["outcome"] == CORROBORATED else str(case.get("reason", "")))


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in _SETTINGS:
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name)!r:.200} and is {new.get(name)!r:.200}"
    names = [run.get("converter", {}).get("name") for run in (old, new)]
    if names[0] != names[1]:
        yield f"two converters: {names[0]!s:.200} and {names[1]!s:.200}"
