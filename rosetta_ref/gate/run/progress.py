"""How far a run of the gate is: cases, failures so far, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Result

#: Answers without which nothing is said of the time left.
_ENOUGH = 10


class Progress:
    """Counts answers. `total` gives how many there will be, `left` the seconds that a budget still has, if there is one."""

    def __init__(
        self, total: Callable[[], int], is_expected: Callable[[Result], bool], left: Callable[[], float | None]
    ) -> None:
        self._total, self._is_expected, self._left = total, is_expected, left
        self._began = time.monotonic()
        self._last = ""
        self.answered = self.failed = 0

    def add(self, result: Result) -> None:
        """One more answer."""
        self.answered += 1
        self._last = f"{result.case}: {result.outcome}"
        if result.outcome not in (CORROBORATED, SKIPPED) and not self._is_expected(result):
            self.failed += 1

    def __str__(self) -> str:
        total = max(self._total(), self.answered)
        return f"{self.answered:,} of {total:,} cases, {self.failed:,} failed{self._time(total)}; {self._last}"

    def _time(self, total: int) -> str:
        if self.answered < _ENOUGH:
            return ""
        seconds = (time.monotonic() - self._began) / self.answered * (total - self.answered)
        if (budget := self._left()) is not None:
            seconds = min(seconds, budget)
        return f", about {words(seconds)} left"


def words(seconds: float) -> str:
    """A time to go, as a person says it.

    >>> words(4.2), words(95), words(7300)
    ('5 s', '1 min 35 s', '2 h 1 min')
    """
    whole = int(-(-seconds // 1))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
