"""How much of a run is asked: all of it, one part of several, what a budget has time for, or what it had when it was stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rosetta_ref.gate.converter.interrupt import ENDING
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.report.partial import Partial, counted
from rosetta_ref.gate.run import order

#: What ends a run from outside: Ctrl-C, and whatever asks this process to end.
STOPS = (KeyboardInterrupt, SystemExit)
#: What part of a budget is for the cases: the rest is for what is made of failures.
_FOR_CASES = 0.8


@dataclass
class Extent:
    """What is asked, of all seeds of a run; and what has been answered. Safe to tell from several threads.

    part: (1, 3) is the first of three. budget: seconds, from now on. keeps: a stop ends the run with what it has, and is in
    `stopped` then; else it goes on to whoever called.
    """

    part: tuple[int, int] | None = None
    budget: float | None = None
    keeps: bool = False
    stopped: BaseException | None = None
    planned: dict[str, str] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def chosen(self, cases: Sequence[Case], group_of: Callable[[Case], str]) -> list[Case]:
        """The cases that are asked: those of the part. What else there is counts as planned, too."""
        self.planned |= {case.id: case.gate for case in cases}
        return list(cases) if self.part is None else order.share(cases, group_of, *self.part)

    def groups(self, cases: Sequence[Case], group_of: Callable[[Case], str]) -> list[list[Case]]:
        """What is answered one after the other; with a budget those conversions first that show most."""
        groups: dict[str, list[Case]] = {}
        for case in cases if self.budget is None else order.in_order(cases):
            groups.setdefault(group_of(case) if self.budget is None else order.conversion_of(case), []).append(case)
        return list(groups.values())

    @property
    def is_over(self) -> bool:
        """Whether nothing more is asked."""
        return self.stopped is not None or ENDING.is_set() or self._is_spent

    @property
    def _is_spent(self) -> bool:
        return self.budget is not None and time.monotonic() - self._began > _FOR_CASES * self.budget

    @property
    def left(self) -> float | None:
        """Seconds that are left of the budget; None without one."""
        return None if self.budget is None else max(self.budget - (time.monotonic() - self._began), 0.0)

    def take(self, result: Result) -> bool:
        """Note an answer. False where everything is being ended: it tells of that, and not of the converter."""
        with self._lock:
            if ENDING.is_set():
                return False
            self.answered[result.case] = result.gate
            return True

    def stop(self, error: BaseException) -> None:
        """Note what has stopped the run; it goes on where nobody wants to keep what there is."""
        if not self.keeps:
            raise error
        self.stopped = self.stopped or error

    @property
    def partial(self) -> Partial | None:
        """What was not asked, and why; None where all was."""
        if self.answered.keys() >= self.planned.keys() and self.stopped is None:
            return None
        spent = self.budget if self.stopped is None and self._is_spent else None
        stopped = None if self.stopped is None else _named(self.stopped)
        return Partial(_of(self.planned.values()), _of(self.answered.values()), stopped, spent, self.part)


def _of(gates: Iterable[str]) -> dict[str, int]:
    return dict(counted(list(gates)))


def _named(error: BaseException) -> str:
    """Who has stopped the run."""
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return signal.Signals(error.code - 128).name
    return "Ctrl-C" if isinstance(error, KeyboardInterrupt) else "its caller"
