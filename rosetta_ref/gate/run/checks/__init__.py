"""The checks: what the gate asks of a converter, one class in each module.

Read `check` (what every check says of itself), then `tensors` and `names` (one conversion), `round_trips` (a chain) and
`deterministic` (the same conversion twice). `answers` asks both models; `refusals` is about malformed files; `claims` says what an
entry leaves out.

A check is found by its module: a new file here with a `CHECK` is a new check, and no other file has to name it. The cases that it
plans are converted in `run`; its `judge` works in a process of its own (`run.judging`), so nothing here imports the run.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from rosetta_ref.gate.run.checks.check import Check

__all__ = ["CHECKS"]


def _found() -> dict[str, Check]:
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "check"]
    checks: list[Check] = [import_module(f"{__name__}.{name}").CHECK for name in names]
    return {check.name: check for check in sorted(checks, key=lambda check: (check.group, check.order, check.name))}


#: The checks by the names of their modules, in the order in which they are asked.
CHECKS = _found()
