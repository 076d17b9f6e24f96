"""A converter that is a Python function: `function(src, dst)`, and `function(src, dst, type=...)` for a quantiser.

It accepts by returning, whatever it returns, and refuses by raising one of `REFUSALS` or of those that its entry names; any
other exception is a crash. In this process it is quick, but can be neither measured nor ended: past the time limit its thread is
left to itself, and there is no memory limit. With `entry.isolated` it runs in a process of its own, and has both.
"""

from __future__ import annotations

import copy
import os
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetta_ref.errors import SHOWN, RosettaError
from rosetta_ref.gate.converter import call
from rosetta_ref.gate.converter.call import REFUSALS
from rosetta_ref.gate.converter.clock import GAP, Clock
from rosetta_ref.gate.converter.command import CommandLine, judged, printed, run
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Converter, Entry, Run
from rosetta_ref.gate.converter.interrupt import ENDING
from rosetta_ref.gate.converter.streams import captured

__all__ = ["REFUSALS", "Function", "FunctionError", "isolated"]


#: Seconds that importing a function may take, once.
_IMPORT_LIMIT = 120.0


class FunctionError(RosettaError):
    """A function is written module:function or file.py:function, and can be imported from here."""


class Function:
    """A converter that is called in this process. Raises FunctionError for what cannot be imported or called."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._refusals = (*REFUSALS, *entry.refuse_exceptions)
        name = entry.function or ""
        try:
            self._function = call.load(name)
        except Exception as error:
            raise FunctionError(f"{name!r}: {type(error).__name__}: {error}") from error

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Call the function with absolute paths. What it prints is captured, unless it prints past Python."""
        chosen = {} if type is None else {"type": type}
        called = _Called(self._function, (src.absolute(), dst.absolute()), chosen)
        began = time.perf_counter()
        with captured(called) as (out, err):
            called.start()
            called.wait(self.entry.time_limit)
        seconds = time.perf_counter() - began
        if called.is_alive():
            late = f"no end after {self.entry.time_limit:g} s; its thread is left running"
            return Run(TIMEOUT, None, out.said.text, err.said.text, seconds, detail=late)
        outcome, code, detail = self._judged(called.error, out.said.panic or err.said.panic)
        if outcome == CRASHED and called.error is not None:
            err.write("".join(traceback.format_exception(called.error)))
        elif called.error is not None and not isinstance(called.error, SystemExit):
            err.write(f"{detail}\n")
        return Run(outcome, code, out.said.text, err.said.text, seconds, detail=detail)

    def within(self, seconds: float) -> Function:
        """The same with another time limit."""
        made = copy.copy(self)
        made.entry = replace(self.entry, time_limit=seconds)
        return made

    def _judged(self, error: BaseException | None, panic: str | None) -> tuple[str, int | None, str]:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            outcome, detail = judged(code & 0xFF, self.entry.refuse_exit, panic)
            return outcome, code, detail or ("" if isinstance(error.code, int) else str(error.code or ""))
        if panic is not None:
            return CRASHED, None, f"it returned, {printed(panic)}"
        if error is None:
            return ACCEPTED, None, ""
        detail = "".join(traceback.format_exception_only(error)).strip()[:SHOWN]
        return (REFUSED if call.refuses(error, self._refusals) else CRASHED), None, detail


class _Called(threading.Thread):
    """One call, and the exception that it ended with."""

    def __init__(self, function: Callable[..., Any], paths: tuple[Path, Path], chosen: dict[str, str]) -> None:
        super().__init__(name="converter", daemon=True)
        self._function, self._paths, self._chosen = function, paths, chosen
        self.error: BaseException | None = None

    def wait(self, limit: float) -> None:
        """Until the call has ended, or for that many seconds in which this process was not stopped."""
        clock = Clock()
        while self.is_alive() and not ENDING.is_set() and (left := limit - clock.passed()) > 0:
            self.join(min(left, GAP / 2))

    def run(self) -> None:
        """Call it; whatever it raises is a result."""
        try:
            self._function(*self._paths, **self._chosen)
        except BaseException as error:  # noqa: BLE001 (the exception is what is judged)
            self.error = error


def isolated(entry: Entry) -> Converter:
    """The function of an entry in a process of its own for each call. Raises FunctionError where it cannot be imported."""
    words = [sys.executable, "-P", call.__file__, entry.function or ""]
    options = [f"--refuse={name}" for name in (*REFUSALS, *entry.refuse_exceptions)]
    command = f"{_quoted(words)} {{src}} {{dst}} --type={{type}} {_quoted(options)}"
    # What this process can import, that one can.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **entry.environment}
    made = CommandLine(replace(entry, command=command, environment=environment))
    made.entry = entry
    looked = run(words, time_limit=_IMPORT_LIMIT, environment={**os.environ, **environment})
    if not looked.accepted:
        said = looked.stderr.strip().splitlines()[-1:]
        raise FunctionError(f"{entry.function!r}: {said[0] if said else looked.detail}")
    return made


def _quoted(words: Iterable[str]) -> str:
    """Words of a template that mean themselves."""
    return shlex.join(words).replace("{", "{{").replace("}", "}}")
