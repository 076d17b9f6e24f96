"""Which conversions kill most members of the zoo: `python benchmarks/order.py [--seed 0] [--jobs N] [--write] [MEMBER...]`.

Each member answers every case on one seed, but those that ask both models (F-CONV-BE-001), which cost most. Of each conversion of
a sample, and of each malformed file, it is noted which members its cases kill. Then, again and again, the one comes next that
kills most of the members that still live, for each call of the converter; behind those come the others, by what they kill.

`--write` puts the order where `gate --budget` looks: `rosetta_ref/gate/run/order.json`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rosetta_ref.gate.findings import CORROBORATED, SKIPPED
from rosetta_ref.gate.inputs import default
from rosetta_ref.gate.inputs.models import families
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.run import order as table
from rosetta_ref.gate.run.engine import Engine, samples_for
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import control, converter
from rosetta_ref.zoo.trial.matrix import assertion

_LEFT_OUT = ("F-CONV-BE-001",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="*", metavar="MEMBER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    names = options.members or [name for name, member in MEMBERS.items() if member.waiting_for is None]
    kills: dict[str, set[str]] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name, killers in zip(names, pool.map(killed_by, names, [options.seed] * len(names)), strict=True):
            for conversion in killers:
                kills.setdefault(conversion, set()).add(name)
            print(f"{name}: {len(killers)} conversions", flush=True)
    order = in_order(kills)
    lived, left = len(names), set(names)
    for place, conversion in enumerate(order, 1):
        left -= kills[conversion]
        print(f"{place:4} {conversion}: kills {len(kills[conversion])}, {lived - len(left)} of {lived} by then")
    if options.write:
        kept = [conversion for conversion in order if not _is_plain(conversion)]
        Path(table.TABLE).write_text(json.dumps(kept, indent=1) + "\n")


def _is_plain(conversion: str) -> bool:
    """Whether it is one of an architecture that has no sample but the plain one: nothing knows its name but its own files."""
    special = {spec.architecture for spec, _ in default._MODELS.values()}
    return any(conversion.startswith(f"{family}-") for family in families() if family not in special)


def killed_by(name: str, seed: int) -> list[str]:
    """The conversions that kill a member."""
    member = MEMBERS[name]
    wrong = _wrong(converter(member), seed)
    right = _wrong(control(member), seed, {case for cases in wrong.values() for case in cases})
    spared = {case for cases in right.values() for case in cases}
    return [conversion for conversion, cases in wrong.items() if set(cases) - spared]


def _wrong(under_test, seed: int, only: Iterable[str] | None = None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with Workspace() as work:
        engine = Engine.of(under_test, work, seed, samples_for(under_test.entry, seed))
        asked: Sequence[Case] = [case for case in engine.cases if case.gate not in _LEFT_OUT]
        if only is not None:
            asked = [case for case in asked if case.id in only]
        for case, result in zip(asked, engine.answers(asked), strict=True):
            if result.outcome not in (CORROBORATED, SKIPPED) and (only is not None or assertion(result) is not None):
                found.setdefault(table.conversion_of(case), []).append(case.id)
    return found


def in_order(kills: dict[str, set[str]]) -> list[str]:
    """The conversions that kill any, those first that kill most of what is left for each call."""
    order: list[str] = []
    waiting, dead = dict(kills), set[str]()
    while waiting:
        best = max(waiting, key=lambda one: (len(waiting[one] - dead) / table.calls_of(one), len(waiting[one]), one))
        order.append(best)
        dead |= waiting.pop(best)
    return order


if __name__ == "__main__":
    main()
