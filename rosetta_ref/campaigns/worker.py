"""One execution in this process: files laid out, the command called, and all that it did looked at.

A worker is forked from a process that has everything imported, so that what it measures is the command's own.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.campaigns.case import Case
from rosetta_ref.campaigns.watch import (
    Change,
    Limits,
    Place,
    Used,
    changes,
    measured,
    peak,
    picture,
    reset_peak,
    running_children,
)

Main = Callable[[Sequence[str]], int]
#: Bytes of output that are kept to be looked at, and beyond which a run is stopped.
_KEPT, _MOST = 1 << 20, 64 << 20


#: Processes of this package that wait for more of the same, by what is in their command lines.
_WAITING = (" -m rosetta_ref.", "/rosetta_ref/sandbox/")


class Stopped(BaseException):
    """The execution has gone far beyond a limit."""


class Stream(io.TextIOBase):
    """Standard output or error, kept up to a size and counted beyond."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def reconfigure(self, **_: object) -> None:
        """It takes any text already."""

    def write(self, text: str) -> int:
        """Keep text as a terminal would get it."""
        if self.size < _KEPT:
            self._parts.append(text)
        self.size += len(text)
        if self.size > _MOST:
            raise Stopped("its output has no end")
        return len(text)

    @property
    def text(self) -> str:
        """What was kept."""
        return "".join(self._parts).encode("utf-8", "backslashreplace").decode()


@dataclass
class Ran:
    """What came of an execution. `raised` is the exception that came out of the command, `where` the innermost line of ours."""

    code: int | None = None
    raised: str = ""
    where: str = ""
    out: str = ""
    err: str = ""
    size: int = 0
    used: Used = field(default_factory=Used)
    changed: list[Change] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    native: str = ""
    sources: list[str] = field(default_factory=list)
    slow_at: str = ""
    running: list[str] = field(default_factory=list)


@dataclass
class Worker:
    """Runs cases in a place of its own; `helper` is a process that may run beside it."""

    main: Main
    place: Place
    limits: Limits = field(default_factory=Limits)
    helper: Callable[[], int | None] = lambda: None

    def prepare(self) -> None:
        """Once for each process: folders, the temporary folder, standard streams that lead to a file."""
        self.place.clear()
        tempfile.tempdir = str(self.place.tmp)
        os.environ["TMPDIR"] = str(self.place.tmp)
        native = os.open(self.place.root / "native.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(native, 1)
        os.dup2(native, 2)
        signal.signal(signal.SIGPROF, self._on_time)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self._late = 0
        self._slow_at = ""
        self._older: set[int] = set()

    def _on_time(self, number: int, frame: object) -> None:
        self._late += 1
        if self._late == 1:
            stack = traceback.extract_stack(frame)  # type: ignore[arg-type]
            self._slow_at = place_of(stack)
            return
        raise Stopped("it goes on and on")

    def run(self, case: Case) -> Ran:
        """Run a case."""
        place = self.place
        place.renew()
        case.lay_out(place.case)
        os.chdir(place.case)
        self._late, self._slow_at = 0, ""
        before = picture(place.root)
        threads = set(threading.enumerate())
        ran, out, err = Ran(), Stream(), Stream()
        began, limit = measured(case.command), self.limits.cpu(case.command)
        reset_peak()
        signal.setitimer(signal.ITIMER_PROF, limit, limit * (self.limits.grace - 1) or limit)
        try:
            with _streams(out, err):
                self._call(case, ran)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self._measure(ran, began, case.command)
        ran.slow_at = self._slow_at
        ran.out, ran.err, ran.size = out.text, err.text, out.size + err.size
        os.chdir(place.root)
        ran.changed = [change for change in changes(before, picture(place.root)) if change.path != "native.txt"]
        ran.used.disk = sum(change.nbytes for change in ran.changed)
        ran.left = [change.path for change in ran.changed if change.path.startswith("tmp/")]
        self._look_around(case, ran, threads)
        return ran

    def _call(self, case: Case, ran: Ran) -> None:
        try:
            ran.code = self.main(case.words)
        except SystemExit as stop:
            ran.code = stop.code if isinstance(stop.code, int) else 1
        except Stopped as stop:
            ran.raised, ran.where = f"Stopped: {stop}", place_of(traceback.extract_tb(stop.__traceback__))
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            ran.raised = f"{type(error).__name__}: {str(error)[:300]!a}"
            ran.where = place_of(traceback.extract_tb(error.__traceback__))

    def _measure(self, ran: Ran, began: Used, command: str) -> None:
        now = measured(command)
        ran.used = Used(now.cpu - began.cpu, max(0, peak() - began.memory))

    def _children_after(self, seconds: float) -> list[tuple[int, str]]:
        """The children that still run after a moment, which those get that have been told to end.

        Not those of this package that wait for more of the same: they end with this process.
        """
        until = time.monotonic() + seconds
        while found := [
            (number, words)
            for number, words, _ in running_children()
            if number not in (self.helper(), *self._older) and not any(ours in words for ours in _WAITING)
        ]:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        return found

    def _look_around(self, case: Case, ran: Ran, threads: set[threading.Thread]) -> None:
        """What the run did beside answering: to the canary and to the sources, in this process, and below Python."""
        place = self.place
        if any(change.path.startswith(("outside", "tmp/")) for change in ran.changed) or place.touched():
            if place.touched():
                ran.changed.append(Change("outside/victim.txt", "changed"))
            place.clear()
        for name, node in case.files.items():
            if isinstance(node, bytes) and name.startswith("in/") and _is_other(place.case / name, node):
                ran.sources.append(name)
        if os.fstat(2).st_size:
            ran.native = (place.root / "native.txt").read_text("utf-8", "replace")[:_KEPT]
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        ran.running = [thread.name for thread in threading.enumerate() if thread not in threads and not thread.daemon]
        if case.command in ("gate", "smoke", "shrink", "replay", "verify", "zoo"):
            goes_on = self._children_after(0.5)
            self._older |= {number for number, _ in goes_on}  # told once
            ran.running += [f"process {number}: {words[:200]}" for number, words in goes_on]
            gc.collect()


def _is_other(path: Path, data: bytes) -> bool:
    """Whether a file that was laid out has other bytes now; one that was never there has not."""
    try:
        return path.stat().st_size != len(data) or path.read_bytes() != data
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _streams(out: Stream, err: Stream) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def place_of(stack: traceback.StackSummary) -> str:
    """The innermost line of this package, as file:function; of anything else where there is none."""
    ours = [frame for frame in stack if "rosetta_ref" in frame.filename and "campaigns" not in frame.filename]
    if not ours:
        return f"{Path(stack[-1].filename).name}:{stack[-1].name}" if stack else ""
    last = ours[-1]
    return f"{last.filename.rpartition('rosetta_ref/')[2]}:{last.name}"
