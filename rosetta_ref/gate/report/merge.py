"""The parts of a run of the gate put together: what one run would have had.

Each part is a result.json of `gate --part I/N`. Their cases are judged anew, all together: what one part alone cannot tell, that an
expectation matches no case, say, is told here. A part that was stopped leaves the whole partial.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.kinds import UnknownKindError
from rosetta_ref.gate.report import history
from rosetta_ref.gate.report.files import RunInfo
from rosetta_ref.gate.report.partial import Partial, counted

Kinds = Mapping[str, tuple[type, ...]]

#: What the parts of one run have in common.
_SAME = ("names", "converter", "versions", "seed", "profile")
_TEXT, _NUMBER, _MAYBE = (str,), (int, float), (str, type(None))
#: What a case, its counts, its diagnosis and a finding hold, by name.
_CASE: Kinds = {
    **dict.fromkeys(("case", "gate", "outcome", "reason", "sample", "source_format", "target_format", "stdout", "stderr"), _TEXT),
    **dict.fromkeys(("memory", "disk", "seed"), (int,)), "exit_code": (int, type(None)), "seconds": _NUMBER,
    "unclaimed": (bool,), "reproduction": _MAYBE, "diagnosis": (dict, type(None)), "compared": (dict,), "notes": (dict,),
    "findings": (list,), "source_types": (list,), "target_types": (list,),
}  # fmt: skip
_COMPARED: Kinds = {"unit": _TEXT, "expected": (int,), "compared": (int,), "bytes": (int,)}
_DIAGNOSIS: Kinds = {"id": _TEXT, "link": _MAYBE}
_FINDING: Kinds = {
    "kind": _TEXT, "gate": _TEXT, "detail": _TEXT, "leg": _TEXT, "tensor": _MAYBE, "source_type": _MAYBE,
    "target_type": _MAYBE, "count": (int,), "first": (dict, type(None)),
}  # fmt: skip


class MergeError(RosettaError):
    """The parts of a run are the result.json of 1/N to N/N, of one converter, version, seed and profile."""


@dataclass(frozen=True)
class Merged:
    """All cases of the parts, and what the parts say of the converter, which is not called."""

    results: list[Result]
    entry: Entry
    info: RunInfo


def merge(paths: Sequence[Path]) -> Merged:
    """Read the parts, in any order. Raises MergeError, HistoryError and OSError."""
    runs = [(path, history.read(path)) for path in paths]
    parts = [_part_of(path, run) for path, run in runs]
    _require_alike(runs)
    _require_all(parts)
    results = [_result(path, case) for path, run in runs for case in run["cases"]]
    seen: set[str] = set()
    for result in results:
        if result.case in seen:
            raise MergeError(f"{result.case!r:.200} is in two parts")
        seen.add(result.case)
    first = runs[0][1]
    entry = _entry(runs[0][0], first["converter"])
    partial = _rest(results, [run["partial"] for _, run in runs])
    seconds = sum(_seconds(path, run) for path, run in runs)
    version = first["converter"]["version"]
    whole = partial is None and not any(run["partial"].get("selected") for _, run in runs)
    info = RunInfo(first["seed"], first["profile"], version, round(seconds, 3), whole, partial)
    return Merged(results, entry, info)


def _part_of(path: Path, run: Mapping[str, Any]) -> tuple[int, int]:
    partial = run.get("partial")
    part = partial.get("part") if isinstance(partial, dict) else None
    if not isinstance(part, list) or len(part) != 2 or not all(type(number) is int for number in part):
        raise MergeError("it is no part of a run", file=path, hint="Parts come of `rosetta-ref gate --part 1/3`.")
    if not 1 <= part[0] <= part[1]:
        raise MergeError(f"there is no part {part[0]} of {part[1]}", file=path)
    return part[0], part[1]


def _require_alike(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    first = runs[0][1]
    for path, run in runs:
        for name in _SAME:
            if run.get(name) != first.get(name):
                raise MergeError(f"{name} is not that of {runs[0][0]}: the parts are not of one run", file=path)
    if type(first.get("seed")) is not int or not isinstance(first.get("profile"), str):
        raise MergeError("its seed is no number, or its profile no text", file=runs[0][0])


def _require_all(parts: Sequence[tuple[int, int]]) -> None:
    counts = {count for _, count in parts}
    if len(counts) > 1:
        raise MergeError(f"parts of {' and of '.join(map(str, sorted(counts)))} are not of one run")
    numbers = [number for number, _ in parts]
    (count,) = counts
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    missing = sorted(set(range(1, count + 1)) - set(numbers))
    for words, listed in (("there twice", twice), ("missing", missing)):
        if listed:
            raise MergeError(
                f"of {count} parts {', '.join(map(str, listed[:20]))} {'is' if len(listed) == 1 else 'are'} {words}"
            )


def _rest(results: Sequence[Result], partials: Sequence[Mapping[str, Any]]) -> Partial | None:
    """What no part has answered, because a part was stopped or its budget was spent."""
    stopped = next((str(each["stopped"])[:200] for each in partials if each.get("stopped")), None)
    budgets = [each["budget"] for each in partials if isinstance(each.get("budget"), int | float)]
    if stopped is None and not budgets:
        return None
    answered = counted([result.gate for result in results])
    planned = dict(answered)
    for gate in {gate for each in partials for gate in _cut(each)}:
        planned[gate] = max(planned.get(gate, 0), *(_cut(each).get(gate, 0) for each in partials))
    return Partial(planned, answered, stopped, budgets[0] if budgets else None)


def _cut(partial: Mapping[str, Any]) -> dict[str, int]:
    """How many cases a gate has of which the part has not all."""
    cut = partial.get("cut")
    found = (
        {gate: each.get("planned") for gate, each in cut.items() if isinstance(each, dict)}
        if isinstance(cut, dict)
        else {}
    )
    return {gate: planned for gate, planned in found.items() if type(planned) is int}


def _entry(path: Path, values: Any) -> Entry:
    """The entry, as `files` has written it: of its environment the names alone."""
    known = {field.name for field in dataclasses.fields(Entry)}
    if not isinstance(values, dict) or not isinstance(values.get("name"), str) or values.keys() != {*known, "version"}:
        raise MergeError("the converter is no entry of this version", file=path)
    made: dict[str, Any] = {}
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        if not all(each is None or type(each) in (str, int, float, bool) for each in items):
            raise MergeError(f"the converter's {name} is no text, number or list of them", file=path)
        made[name] = tuple(value) if isinstance(value, list) else value
    if type(made.pop("version")) not in _MAYBE or type(made["expectations"]) not in _MAYBE:
        raise MergeError("the converter's version or expectations are no text", file=path)
    made["environment"] = dict.fromkeys(map(str, made["environment"] or ()), "")
    return Entry(**{**made, "expectations": Path(made["expectations"]) if made["expectations"] else None})


def _result(path: Path, values: Mapping[str, Any]) -> Result:
    """One case, as it was."""
    try:
        made = _checked(values, _CASE)
        compared = _checked(made.pop("compared"), _COMPARED)
        diagnosis = made.pop("diagnosis")
        named = _checked(diagnosis, _DIAGNOSIS) if diagnosis is not None else {"id": None, "link": None}
        findings = [Finding(**_checked(each, _FINDING)) for each in made.pop("findings")]
        for name in ("source_types", "target_types"):
            made[name] = tuple(_all(made[name], str, name))
        _all(made["notes"].values(), int, "notes")
    except (ValueError, UnknownKindError) as error:
        words = error.problem if isinstance(error, RosettaError) else str(error)
        raise MergeError(f"{values['case']!r:.200}: {words}", file=path) from None
    folder = made.pop("reproduction")
    return Result(
        **made, unit=compared["unit"], expected=compared["expected"], compared=compared["compared"], nbytes=compared["bytes"],
        findings=findings, diagnosis=named["id"], link=named["link"], reproduction=Path(folder) if folder is not None else None,
    )  # fmt: skip


def _checked(values: Any, kinds: Kinds) -> dict[str, Any]:
    """The values of those names, each of one of its kinds. Raises ValueError."""
    for name, allowed in kinds.items():
        if not isinstance(values, dict) or type(values.get(name)) not in allowed:
            raise ValueError(f"{name} is missing, or no {' or '.join(kind.__name__ for kind in allowed)}")
    return {name: values[name] for name in kinds}


def _all(values: Iterable[Any], kind: type, name: str) -> Iterable[Any]:
    if not all(type(each) is kind for each in values):
        raise ValueError(f"{name} are not all {kind.__name__}")
    return values


def _seconds(path: Path, run: Mapping[str, Any]) -> float:
    try:
        return float(_checked(run, {"seconds": _NUMBER})["seconds"])
    except ValueError as error:
        raise MergeError(str(error), file=path) from None
