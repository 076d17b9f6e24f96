"""What was called otherwise before: kinds, cases, fields of entries. Other projects write these names into their files.

`VERSION` grows with each set of renames. A file says which version of the names it uses (`names: 2`); one that says nothing uses
the first. An old name is read for one minor version of this program, with a warning that gives the new one, and
`rosetta-ref gate --migrate FILE` writes the new ones. To rename something, change it and add a row here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosetta_ref.errors import SHOWN, safe_line

#: Of the names that this program writes.
VERSION = 2


class OldNameWarning(FutureWarning):
    """A name in a file is no longer used, and will soon not be read."""


@dataclass(frozen=True)
class Renamed:
    """One name and what it is called now: since which version of the names, and the version of this program that drops it."""

    old: str
    new: str
    names: int
    dropped: str


#: Kinds of findings: in `kinds` of expectations, in `loses` of entries, in result.json and evidence.json, in expected.json.
KINDS = (Renamed("truncated and flushed", "truncated-and-flushed", 2, "0.3"),)
#: Parts of the ids of cases, between slashes: a gate, a sample, a type, a tensor, a payload.
CASES: tuple[Renamed, ...] = ()
#: Fields of entries, in TOML; with underscores.
FIELDS: tuple[Renamed, ...] = ()


def kind(word: str, *, names: int = 1, place: str = "") -> str:
    """What a kind is called today that a file with these names calls so; a name that was never another one stays."""
    return _current(KINDS, word, names, place)


def case(pattern: str, *, names: int = 1, place: str = "") -> str:
    """The id of a case, or a pattern of ids, with each of its parts as it is called today."""
    return "/".join(_current(CASES, part, names, place) for part in pattern.split("/"))


def field(word: str, *, place: str = "") -> str:
    """What a field of an entry is called today."""
    return _current(FIELDS, word, 1, place)


def run(values: Mapping[str, Any], *, place: str = "") -> dict[str, Any]:
    """The content of a result.json with today's names: cases, kinds, and what the verdict and the entry say of them."""
    names = values.get("names", 1)
    made = dict(values)
    made["names"] = VERSION
    made["cases"] = [_of_case(each, names, place) for each in values["cases"]]
    if isinstance(values.get("verdict"), dict):
        made["verdict"] = {key: _of_verdict(key, each, names, place) for key, each in values["verdict"].items()}
    entry = values.get("converter")
    if isinstance(entry, dict) and isinstance(entry.get("loses"), list):
        made["converter"] = {**entry, "loses": [_text(kind, each, names, place) for each in entry["loses"]]}
    return made


def _of_case(values: Mapping[str, Any], names: int, place: str) -> dict[str, Any]:
    findings = [
        {**each, "kind": _text(kind, each["kind"], names, place)} if "kind" in each else each
        for each in values.get("findings", ())
    ]
    made = {**values, "case": case(values["case"], names=names, place=place)}
    return {**made, "findings": findings} if "findings" in values else made


def _of_verdict(key: str, value: Any, names: int, place: str) -> Any:
    """Ids stand alone in a list, or under these keys of an object."""
    if not isinstance(value, list) or key == "errors":
        return value
    return [_of_item(each, names, place) for each in value]


def _of_item(item: Any, names: int, place: str) -> Any:
    if not isinstance(item, dict):
        return _text(case, item, names, place)
    made = dict(item)
    for key in ("case", "pattern"):
        if key in made:
            made[key] = _text(case, made[key], names, place)
    if isinstance(made.get("patterns"), list):
        made["patterns"] = [_text(case, each, names, place) for each in made["patterns"]]
    if "kind" in made:
        made["kind"] = _text(kind, made["kind"], names, place)
    return made


def _text(rename: Any, value: Any, names: int, place: str) -> Any:
    return rename(value, names=names, place=place) if isinstance(value, str) else value


def _current(table: Sequence[Renamed], word: str, names: int, place: str) -> str:
    """The name today, by way of all that it was called since a file with these names was written."""
    found, first = word, None
    for row in sorted(table, key=lambda row: row.names):
        if row.old == found and names < row.names:
            found, names, first = row.new, row.names, first or row
    if first is not None:
        where = f"{safe_line(place, SHOWN)}: " if place else ""
        warnings.warn(
            f"{where}{word!r} is called {found!r} now, and the old name is read until version {first.dropped}; "
            "`rosetta-ref gate --migrate FILE` rewrites a file",
            OldNameWarning,
            stacklevel=3,
        )
    return found
