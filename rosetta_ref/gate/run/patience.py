"""How long calls of a converter are waited for, once one has had no end: a hanging converter costs its limit once for each kind.

A kind of call is a pair of formats with the type that is asked for; malformed files of a format are kinds of their own. After the
first call of a kind that had no end, the next ones get as long as such calls have taken so far, many times over. When those have
had no end either, none is made any more. What calls would have shown that were cut short, or not made, is not known, so their cases
are skipped.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from rosetta_ref.gate.converter.entry import NOT_CALLED, TIMEOUT, Run

#: How many times the slowest call that ended a call gets, and seconds at least; what part of the limit where none has ended.
_MANY, _LEAST, _PART = 10, 0.5, 0.1
#: What part of the limit all of them together may take.
_TOGETHER = 0.25


@dataclass
class Patience:
    """The calls of one converter, with a time limit of so many seconds. Safe to ask from several threads."""

    limit: float
    _slowest: float = 0.0
    #: By kind, once a call has had no end: seconds that other calls may still take.
    _left: dict[Hashable, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds(self, kind: Hashable) -> float | None:
        """What the next call of a kind gets; None: it is not made."""
        with self._lock:
            if kind not in self._left:
                return self.limit
            short = max(_MANY * self._slowest if self._slowest else _PART * self.limit, _LEAST)
            return short if short <= min(self._left[kind], self.limit) else None

    def note(self, kind: Hashable, given: float, run: Run, *, cut: bool) -> Run:
        """Take note of how a call ended that was given so many seconds: all that it may have, unless it was `cut` short."""
        with self._lock:
            if run.outcome != TIMEOUT:
                self._slowest = max(self._slowest, run.seconds)
                return run
            if kind not in self._left:
                self._left[kind] = _TOGETHER * self.limit
                return run
            self._left[kind] -= given
        if not cut:
            return replace(run, detail=f"{run.detail}; one like it had none after {self.limit:g} s")
        # It had less than its entry allows, so that nobody knows whether it would have ended: no timeout of the converter's.
        said = f"not waited for longer than {given:.3g} s: one like it had no end after {self.limit:g} s"
        return replace(run, outcome=NOT_CALLED, detail=said)

    def not_made(self, kind: Hashable) -> Run:
        """The call that is not made."""
        return Run(NOT_CALLED, detail=f"not called again: {kind} had no end after {self.limit:g} s")
