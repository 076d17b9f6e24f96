"""When an expectation holds: `version < 0.26 and platform == linux`, compared word by word, never evaluated.

A condition is clauses joined by `and`; such groups may be joined by `or`. A clause is a fact of the run, one of
== != < <= > >=, and a value. Versions are ordered by their numbers, everything else can only be equal or not.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rosetta_ref.errors import RosettaError

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_CLAUSE = re.compile(r"\s*([\w.-]+)\s*(==|!=|<=|>=|<|>)\s*(?:'([^']*)'|\"([^\"]*)\"|([\w.+-]+))\s*")
#: The numbers of a version, and whether something like "rc1" follows: 0.26rc1 comes before 0.26.
_VERSION = re.compile(
    r"v?(\d{1,18}(?:\.\d{1,18})*)[.-]?((?:a|b|rc|alpha|beta|pre|dev)[\w.-]*)?(?:\+[\w.-]*)?", re.IGNORECASE
)


class ConditionError(RosettaError):
    """A condition is clauses like `version < 0.26`, joined by `and` and `or`, about facts that the run knows."""


@dataclass(frozen=True)
class Clause:
    """A fact compared with a value."""

    name: str
    comparison: str
    value: str

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether it is so. A fact that the run does not know is an error: a guess would excuse or accuse."""
        if self.name not in facts:
            raise ConditionError(f"the run knows no {self.name!r}, only {', '.join(sorted(facts)) or 'nothing'}")
        fact, value = facts[self.name], self.value
        ours, theirs = _version(fact), _version(value)
        if ours is not None and theirs is not None:
            return _OPERATORS[self.comparison](ours, theirs)
        if self.comparison not in ("==", "!="):
            raise ConditionError(f"{self.name} is {fact!r}, and no order holds between that and {value!r}")
        return _OPERATORS[self.comparison](fact, value)


def _version(text: str) -> tuple[tuple[int, ...], bool, str] | None:
    """What orders versions; trailing zeros say nothing.

    >>> _version("0.9") < _version("0.26rc1") < _version("0.26") == _version("v0.26.0")
    True
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), match[2] is None, (match[2] or "").lower()


@dataclass(frozen=True)
class Condition:
    """Groups of clauses, one of which has to hold. No group: always."""

    groups: tuple[tuple[Clause, ...], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        >>> Condition.parse("version < 0.26 and platform == linux").holds({"version": "0.25.1", "platform": "linux"})
        True
        """
        return cls(tuple(tuple(map(_clause, re.split(r"\band\b", group))) for group in re.split(r"\bor\b", text)))

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether it is so in this run."""
        return not self.groups or any(all(clause.holds(facts) for clause in group) for group in self.groups)


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ConditionError(f"{text.strip()!r} is not a clause like `version < 0.26`")
    return Clause(match[1], match[2], next(value for value in match.groups()[2:] if value is not None))
