"""Expected failures, in a YAML file beside the converter: a list of entries, each for cases known to fail or to be skipped.

    - names: 2                         # first, if at all: the version of the names that the file uses; none given: 1
    - pattern: F-CONV-001/q5_0/*       # or a list of patterns; * ? [] as in a shell, over the whole id of a case
      outcome: Falsified               # the default; Crashed, Timeout, or Skipped: skipped cases are pinned here too
      kinds: [values, nan]             # only these kinds of findings (docs/kinds.md) are expected; none given: any
      reason: the fifth bit is read from the wrong byte
      issue: https://github.com/...
      strict: true                     # the default: every case that matches has to fail
      when: version < 0.26 and platform == linux
      expires: 2027-01-31              # the last day on which it holds

Where several entries match a case, each excuses its own kinds. Read `conditions` for `when`, `verdict` for what is made of it, and
`draft` for how a file is begun.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate import names
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, OUTCOMES, Result
from rosetta_ref.gate.kinds import UNSTATED, UnknownKindError, kind_of
from rosetta_ref.gate.report.conditions import Condition, ConditionError

TODO = "TODO"
_GLOB = re.compile(r"[*?[]")
#: Patterns of a file that are tried on every case, characters of one, and of a condition.
_MOST_GLOBS, _LONGEST = 1000, 1000


class ExpectationError(RosettaError):
    """A file of expectations is a YAML list of entries, each with a pattern and a reason that somebody wrote."""


@dataclass(frozen=True)
class Expectation:
    """One entry of the file. `kinds` None: any."""

    patterns: tuple[str, ...]
    reason: str
    outcome: str = FALSIFIED
    kinds: frozenset[str] | None = None
    issue: str | None = None
    strict: bool = True
    when: Condition = field(default_factory=Condition)
    expires: datetime.date | None = None
    #: The file that it stands in.
    file: Path | None = field(default=None, compare=False)

    def applies(self, facts: Mapping[str, str]) -> bool:
        """Whether it is meant for a run of which these facts are known. Raises ConditionError."""
        try:
            return self.when.holds(facts)
        except ConditionError as error:
            raise error.at(file=self.file)  # noqa: B904 (it is the same error)

    def matches(self, case: str) -> bool:
        """Whether the case is one of those it speaks of."""
        return case in self._names or any(fnmatchcase(case, pattern) for pattern in self._globs)

    def unmatched(self, cases: Collection[str]) -> list[str]:
        """Its patterns that none of the cases match."""
        return [name for name in self._names if name not in cases] + [
            pattern for pattern in self._globs if not any(fnmatchcase(case, pattern) for case in cases)
        ]

    # A draft names thousands of cases: those are looked up, only true patterns are tried one after the other.
    @cached_property
    def _names(self) -> dict[str, None]:
        return dict.fromkeys(pattern for pattern in self.patterns if not _GLOB.search(pattern))

    @cached_property
    def _globs(self) -> list[str]:
        return [pattern for pattern in self.patterns if _GLOB.search(pattern)]

    def __str__(self) -> str:
        return f"{', '.join(self.patterns)}: {self.outcome} ({self.reason})"


def kinds_of(result: Result) -> frozenset[str]:
    """The kinds of a result's findings."""
    return frozenset(finding.kind for finding in result.findings) or frozenset({UNSTATED})


def excused(result: Result, expectations: Iterable[Expectation]) -> bool:
    """Whether the entries, all of which match the case, together expect this result."""
    fitting = [expectation for expectation in expectations if expectation.outcome == result.outcome]
    if any(expectation.kinds is None for expectation in fitting):
        return True
    return kinds_of(result) <= frozenset().union(*(expectation.kinds or () for expectation in fitting))


def load(path: Path, *, drafting: bool = False) -> list[Expectation]:
    """The entries of a file. Only a draft may still have reasons that nobody wrote."""
    try:
        entries = parse(foreign.text_of(foreign.read_file(path, "yaml-bytes"), file=path), drafting=drafting)
        return [replace(entry, file=path) for entry in entries]
    except ExpectationError as error:
        raise error.at(file=path) from None
    except RosettaError as error:
        raise ExpectationError(error.problem, file=path, offset=error.offset, hint=error.hint) from error


def parse(text: str, *, drafting: bool = False) -> list[Expectation]:
    """The entries of a text."""
    try:
        items = foreign.yaml_of(text)
    except ImportError as error:
        raise ExpectationError("PyYAML is not installed", hint="pip install 'rosetta-ref[gate]'") from error
    except RosettaError as error:
        raise ExpectationError(error.problem.replace("it is not YAML", "not YAML"), hint=error.hint) from error
    if items is None:
        return []
    if not isinstance(items, list):
        raise ExpectationError("not a list of entries")
    version = _version_of(items)
    made = [
        _entry(item, f"entry {index}", version, drafting=drafting)
        for index, item in enumerate(items, 1)
        if not (index == 1 and _says_names(item))
    ]
    globs = sum(len(entry._globs) for entry in made)
    if globs > _MOST_GLOBS:
        raise ExpectationError(
            f"{globs:,} patterns with * ? or [, where {_MOST_GLOBS:,} are allowed: each is tried on every case",
            hint="The ids of cases, without such signs, may be any number.",
        )
    return made


def _says_names(item: Any) -> bool:
    return isinstance(item, dict) and list(item) == ["names"]


def version_of(text: str) -> int:
    """The version of the names that a file says it uses. Raises as `parse`."""
    items = foreign.yaml_of(text)
    return _version_of(items if isinstance(items, list) else [])


def _version_of(items: list[Any]) -> int:
    if not items or not _says_names(items[0]):
        return 1
    version = items[0]["names"]
    if type(version) is not int or not 1 <= version <= names.VERSION:
        raise ExpectationError(
            f"entry 1: names: {version!r:.80} is no version of the names; this program knows 1 to {names.VERSION}"
        )
    return version


def _entry(item: Any, place: str, version: int, *, drafting: bool) -> Expectation:
    if not isinstance(item, dict):
        raise ExpectationError(f"{place} is not a mapping")
    for key in item:
        if key not in _FIELDS:
            raise ExpectationError(f"{place}: {key!r} is unknown; the fields are {', '.join(_FIELDS)}")
    for key in ("pattern", "reason"):
        if key not in item:
            raise ExpectationError(f"{place} has no {key}")
    read = {}
    for key, value in item.items():
        name, reader = _FIELDS[key]
        try:
            read[name] = _today(name, reader(value), version, f"{place}: {key}")
        except UnknownKindError as error:
            raise ExpectationError(f"{place}: {key}: {error.problem}", hint=error.hint) from None
        except (ValueError, ConditionError) as error:
            raise ExpectationError(f"{place}: {key}: {error}") from error
    made = Expectation(**read)
    if made.kinds is not None and made.outcome != FALSIFIED:
        raise ExpectationError(f"{place}: only what is Falsified has kinds")
    if not drafting and made.reason.strip().upper().startswith(TODO):
        raise ExpectationError(f"{place}: the reason is still {made.reason!r}", hint="Write why it is expected.")
    return made


def _today(name: str, value: Any, version: int, place: str) -> Any:
    """Kinds and patterns with the names that they have today. Raises UnknownKindError."""
    if name == "kinds":
        return frozenset(kind_of(names.kind(kind, names=version, place=place)).name for kind in value)
    if name == "patterns":
        return tuple(names.case(pattern, names=version, place=place) for pattern in value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is needed, not {value!r}")
    return value


def _short(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text):,} characters, where {_LONGEST:,} are allowed")
    return text


def _texts(value: Any) -> tuple[str, ...]:
    texts = tuple(_text(item) for item in (value if isinstance(value, list) else [value]))
    if not texts:
        raise ValueError("at least one is needed")
    return texts


def _outcome(value: Any) -> str:
    if value not in OUTCOMES or value == CORROBORATED:
        known = ", ".join(outcome for outcome in OUTCOMES if outcome != CORROBORATED)
        raise ValueError(f"{value!r} is not one of {known}")
    return str(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {value!r}")  # noqa: TRY004 (said with the place)
    return value


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    return datetime.date.fromisoformat(_text(value).strip())


#: The field of the file: the field of `Expectation`, and what reads it.
_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "pattern": ("patterns", lambda value: tuple(_short(text) for text in _texts(value))),
    "outcome": ("outcome", _outcome),
    "kinds": ("kinds", lambda value: frozenset(_texts(value))),
    "reason": ("reason", _text),
    "issue": ("issue", _text),
    "strict": ("strict", _truth),
    "when": ("when", lambda value: Condition.parse(_short(_text(value)))),
    "expires": ("expires", _date),
}
