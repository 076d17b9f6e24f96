"""The part of a report that says where the difference is: the first one, and some elements beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rosetta_ref.gate.result import Finding
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.reduce.prose import code

#: Rows of the table of values.
_ROWS = 8
#: Elements that are compared.
_MOST = 512


def where(finding: Finding, target: Path, actual: str, wanted: Mapping[str, Any] | None) -> list[str]:
    """The lines about a tensor of an output, which is called `actual` in the folder; `wanted` is what a right one holds."""
    assert finding.tensor is not None
    try:
        with look(target) as view:
            found, file = _values(view, finding.tensor), _file(view, finding.tensor, target, actual)
    except UnreadableError:
        return []
    lines = [_first(finding.tensor, finding.first, file), ""] if finding.first is not None else []
    rows = list(_rows(wanted["values"] if wanted is not None else (), found or ()))
    if rows:
        lines += ["| element | expected | actual |", "| --- | --- | --- |", *rows[:_ROWS], ""]
    if len(rows) > _ROWS:
        lines[-1:] = ["", f"And {len(rows) - _ROWS} more places like these.", ""]
    return lines


def _first(tensor: str, first: Mapping[str, Any], file: str) -> str:
    """With the values where there are any, else with the bytes."""
    expected = first.get("expected_value", first.get("expected"))
    there = first.get("actual_value", first.get("actual"))
    offset = f", at byte {first['offset']:#x} of {code(file)}" if isinstance(first.get("offset"), int) else ""
    return (
        f"The first difference is element {first.get('index')} of {code(tensor)}{offset}: "
        f"{expected} was expected, {there} is there."
    )


def _file(view: View, name: str, target: Path, actual: str) -> str:
    """The file in which a tensor is, by its name in the folder."""
    seen = view.tensors.get(name)
    if seen is None or seen.tensor.file is None or not target.is_dir():
        return actual
    return (Path(actual) / seen.tensor.file.relative_to(target)).as_posix()


def _values(view: View, name: str) -> Sequence[str] | None:
    seen = view.tensors.get(name)
    if seen is None or seen.tensor.name in view.ill_fitting or seen.tensor.type.decode is None:
        return None
    return [f"{value:g}" for value in seen.tensor.values().reshape(-1)[:_MOST]]


def _rows(wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """A row for each run of elements that differ in the same way."""
    pairs = enumerate(zip(wanted, found, strict=False))
    for (expected, actual), run in groupby(pairs, key=lambda pair: pair[1]):
        places = [place for place, _ in run]
        if expected != actual:
            span = str(places[0]) if len(places) == 1 else f"{places[0]} to {places[-1]}"
            yield f"| {span} | {expected} | {actual} |"
