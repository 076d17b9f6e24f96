"""The order of the cases of a run that has little time, and the share of a run that is one of several.

`order.json` has the conversions by how many members of the zoo they kill, as `benchmarks/order.py` measures it. A conversion is a
sample and a path of formats, `llama-f32-tied G-S`, perhaps with the type that is asked for; or the rule of a malformed file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.pairs import letters

TABLE = Path(__file__).with_name("order.json")
#: Where a cut is differs from seed to seed.
_PLACE = re.compile(r"@\d+$")


def conversion_of(case: Case) -> str:
    """The conversion that answers a case, by a name that is the same on every seed."""
    if case.malformed:
        return _PLACE.sub("", case.rule)
    return " ".join(filter(None, (case.sample, letters(case.steps), case.type)))


def calls_of(conversion: str) -> int:
    """How many calls of the converter one takes."""
    return max(conversion.partition(" ")[2].partition(" ")[0].count("-"), 1)


def share(cases: Sequence[Case], group_of: Callable[[Case], str], number: int, count: int) -> list[Case]:
    """Part `number` of `count`, from 1: all parts together are the cases. Those of one group are in one part.

    The largest groups are dealt first, each to the part that has least, so that parts take about as long.
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(group_of(case), []).append(case)
    costs = {name: sum(map(calls_of, set(map(conversion_of, group)))) for name, group in groups.items()}
    given = [0] * count
    mine = set()
    for name in sorted(groups, key=lambda name: (-costs[name], name)):
        part = given.index(min(given))
        given[part] += costs[name]
        if part == number - 1:
            mine.add(name)
    return [case for case in cases if group_of(case) in mine]


def in_order(cases: Sequence[Case]) -> list[Case]:
    """The cases by the table; those of one conversion together, and what the table does not know in the order of the plan."""
    ranks = _ranks()
    places: dict[str, int] = {}
    for case in cases:
        places.setdefault(conversion_of(case), len(places))
    return sorted(cases, key=lambda case: (ranks.get(one := conversion_of(case), len(ranks)), places[one]))


@cache
def _ranks() -> dict[str, int]:
    return {name: rank for rank, name in enumerate(json.loads(TABLE.read_text(encoding="utf-8")))}
