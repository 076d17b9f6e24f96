"""The seconds that count towards a time limit: those in which this process could have seen the converter end.

A run may be stopped and go on later: Ctrl-Z, a debugger, a frozen container. A function of this process stood still as well then,
and a command that ended meanwhile did so in time. A clock that goes on makes a timeout of both.
"""

from __future__ import annotations

import time

#: Seconds that may lie between two readings; what is more is a pause, and counts as this much.
GAP = 1.0


class Clock:
    """Counts from when it is made. Whoever waits reads it more often than every `GAP` seconds."""

    def __init__(self) -> None:
        self._last, self._passed = time.perf_counter(), 0.0

    def passed(self) -> float:
        """The seconds so far, pauses left out."""
        now = time.perf_counter()
        self._passed += min(now - self._last, GAP)
        self._last = now
        return self._passed
