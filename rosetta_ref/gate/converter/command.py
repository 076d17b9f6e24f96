"""A converter that is a command line: run with limits, and never believed to end by itself, nor to leave nothing running.

POSIX systems only. How the command is written: `template`.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.clock import GAP, Clock
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Entry, Run
from rosetta_ref.gate.converter.interrupt import ENDING, GROUPS, kill
from rosetta_ref.gate.converter.memory import Watch
from rosetta_ref.gate.converter.output import Said
from rosetta_ref.gate.converter.said import named, traceback_of
from rosetta_ref.gate.converter.supervisor import Supervised
from rosetta_ref.gate.converter.template import CommandError, filled, placeholders, template
from rosetta_ref.gate.converter.walk import bytes_behind, remove, stored_bytes

#: Seconds between two looks at the memory of a process: close at first, then seldom; scanning costs at most a tenth.
_FIRST_LOOK, _LAST_LOOK, _LEADER_ALONE = 0.002, 0.05, 0.03
#: Bytes of output that are read at once, and how often after the end: whoever still holds the pipe may print for ever.
_PIECE, _LAST_PIECES = 1 << 16, 64


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Unavailable(RosettaError):  # noqa: N818 (a state, not a mistake: what needs it is skipped with the reason)
    """A converter is judged where it is installed."""


class CommandLine:
    """A converter that is run as `entry.command`.

    Raises CommandError for a template that cannot be meant, and Unavailable where there is no such program.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._words = template(entry.command or "")
        self._environment = {**os.environ, **entry.environment}
        if os.name != "posix":
            raise Unavailable(f"{entry.name}: commands are run on POSIX systems only")
        if placeholders(self._words[0]):
            raise CommandError(f"{entry.command!r}: the first word is the program")
        program = self._words[0].format()
        found = shutil.which(program, path=self._environment.get("PATH"))
        if found is None:
            raise Unavailable(
                f"{entry.name}: there is no program {program!r}", hint="Is it installed, and on the PATH?"
            )
        self._words[0] = os.path.abspath(found).replace("{", "{{").replace("}", "}}")

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Run the command; the folder of the target is its {workdir}, and its temporary files have a folder of their own.

        Some converters always call theirs the same, so that two at once would spoil each other's.
        """
        if type is not None and not any("type" in placeholders(word) for word in self._words):
            return Run(REFUSED, detail=f"the command has no {{type}} that {type} could be asked for with")
        folder = Path(tempfile.mkdtemp(prefix="rosetta-temporary-"))
        try:
            done = run(
                filled(self._words, src, dst, type),
                time_limit=self.entry.time_limit,
                memory_limit=self.entry.memory_limit,
                disk=Disk((dst.parent, folder), self._disk_limit(src)),
                refuse_exit=self.entry.refuse_exit,
                environment={**self._environment, "TMPDIR": str(folder)},
            )
            return self._refused(done)
        finally:
            remove(folder)

    def _refused(self, done: Run) -> Run:
        """A run that ended with the traceback of an exception by which the entry says that it refuses is a refusal."""
        raised = traceback_of(done, self.entry.refuse_exit)
        if raised is None or not named(raised, self.entry.refuse_exceptions):
            return done
        return replace(done, outcome=REFUSED, detail=raised)

    def _disk_limit(self, src: Path) -> int:
        """Bytes that a conversion may write: what the entry says, or many times its input."""
        if self.entry.disk_limit is not None:
            return self.entry.disk_limit
        try:
            size = bytes_behind(src)
        except (OSError, RosettaError):
            size = 0  # it is the converter's to refuse
        return max(limits.of("disk-bytes"), limits.of("output-ratio") * size)


def run(
    command: Sequence[str],
    *,
    time_limit: float,
    memory_limit: float = math.inf,
    disk: Disk | None = None,
    refuse_exit: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a command to its end or to its limits, and say how it ended; whatever it leaves running is ended, too.

    The time limit is in seconds, the memory limit in resident bytes of all its processes, mapped files not counted.
    """
    began = time.perf_counter()
    if ENDING.is_set():
        return Run(CRASHED, detail="not begun: everything is being ended")
    try:
        process = Supervised(command, environment, disk.limit if disk is not None else None)
    except (OSError, ValueError) as error:
        return Run(CRASHED, detail=f"it does not start: {error}")
    watched = _Watched(process, time_limit, memory_limit, disk)
    try:
        watched.follow(began)
    finally:
        watched.end()
    return watched.as_run(time.perf_counter() - began, refuse_exit)


@dataclass
class Disk:
    """The folders that a command writes to, and the bytes on the disk that they may take; `peak` is the most that was seen."""

    folders: tuple[Path, ...]
    limit: int
    peak: int = 0

    def look(self) -> int:
        """What they take now."""
        now = sum(stored_bytes(folder, self.limit) for folder in self.folders)
        self.peak = max(self.peak, now)
        return now


class _Watched:
    """One process: its output is read, its memory and disk looked at, until it ends or has to."""

    def __init__(self, process: Supervised, time_limit: float, memory_limit: float, disk: Disk | None) -> None:
        self._process, self._disk = process, disk
        self._time_limit, self._memory_limit = time_limit, memory_limit
        GROUPS.add(process.pid)
        if ENDING.is_set():  # whoever ends everything may have looked before this was there
            kill(process.pid)
        self._watch = Watch(process.pid, supervisor=process.supervisor)
        self._said = {process.out: Said(), process.err: Said()}
        self._limit: tuple[str, str] | None = None
        self._code: int | None = None
        self._selector = selectors.DefaultSelector()
        for stream in self._said:
            os.set_blocking(stream, False)
            self._selector.register(stream, selectors.EVENT_READ)
        self._selector.register(process.told, selectors.EVENT_READ)

    def follow(self, began: float) -> None:
        """Until the leader has ended or is past a limit. Those that it leaves behind are not waited for."""
        look, next_look = _FIRST_LOOK, began + _FIRST_LOOK
        clock = Clock()
        while True:
            now = time.perf_counter()
            left = self._time_limit - clock.passed()
            if left <= 0:
                if not self._step(0):
                    self._limit = (TIMEOUT, f"no end after {self._time_limit:g} s")
                return
            if now >= next_look:
                if self._past_limits(alone=now - began < _LEADER_ALONE):
                    return
                cost = time.perf_counter() - now
                look = min(2 * look, _LAST_LOOK)
                next_look = now + max(look, 10 * cost)
            if self._step(min(next_look - time.perf_counter(), left, GAP / 2)):
                return

    def _step(self, timeout: float) -> bool:
        """Read what there is, for at most that long; whether the leader has ended."""
        ended = False
        for key, _ in self._selector.select(max(timeout, 0)):
            if key.fd == self._process.told:
                ended = True
            else:
                self._read(key.fd)
        return ended

    def _read(self, stream: int) -> bool:
        """One piece of output; whether there may be more at once."""
        try:
            piece = os.read(stream, _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            with contextlib.suppress(KeyError):
                self._selector.unregister(stream)
            return False
        self._said[stream].add(piece)
        return True

    def _past_limits(self, *, alone: bool) -> bool:
        held = self._watch.leader_only() if alone else self._watch.everybody()
        if held > self._memory_limit:
            self._limit = (CRASHED, f"{_size(held)} resident, past the limit of {_size(self._memory_limit)}")
        elif self._disk is not None and (written := self._disk.look()) > self._disk.limit:
            self._limit = (CRASHED, f"{_size(written)} written, past the limit of {_size(self._disk.limit)}")
        return self._limit is not None

    def end(self) -> None:
        """End it with all that is below it, and whoever was seen there; then read the last of what it says."""
        if self._limit is not None:
            self._watch.everybody()
        self._code, peak, floor = self._process.end()
        if self._code is None:  # its supervisor was killed
            kill(self._process.pid)
        GROUPS.discard(self._process.pid)
        for pid in self._watch.members - {self._process.pid} if self._limit is not None else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        # Before it became another program it was its supervisor, and the kernel counts that: only a higher figure is its own.
        if peak > floor:
            self._watch.peak = max(self._watch.peak, peak * _MAXRSS_UNIT)
        for stream in self._said:
            for _ in range(_LAST_PIECES):
                if not self._read(stream):
                    break
        self._process.close()
        self._selector.close()
        if self._disk is not None and self._disk.look() > self._disk.limit:
            size = f"{_size(self._disk.peak)} written, past the limit of {_size(self._disk.limit)}"
            self._limit = self._limit or (CRASHED, size)

    def as_run(self, seconds: float, refuse_exit: Sequence[int]) -> Run:
        """How it ended."""
        out, err = self._said.values()
        code = self._code
        if code is None:
            outcome, detail = self._limit or (CRASHED, "its supervisor was killed")
        else:
            outcome, detail = self._limit or judged(code, refuse_exit, out.panic or err.panic)
        detail = "; ".join(filter(None, (detail, self._watch.note)))
        exit_code = None if self._limit is not None else code
        disk = self._disk.peak if self._disk is not None else 0
        return Run(outcome, exit_code, out.text, err.text, seconds, self._watch.peak, detail, disk)


def judged(code: int, refuse_exit: Sequence[int], panic: str | None) -> tuple[str, str]:
    """The outcome that an exit code (negative: a signal) and a panic in the output stand for, and the detail.

    >>> judged(3, (3, 5), None), judged(-11, (), None)
    (('refused', 'exit code 3'), ('crashed', 'killed by SIGSEGV'))
    """
    if code < 0:
        return CRASHED, f"killed by {_signal(-code)}"
    if panic is not None:
        return CRASHED, f"exit code {code}, {printed(panic)}"
    if code == 0:
        return ACCEPTED, ""
    if code == 1 or code in refuse_exit:
        return REFUSED, f"exit code {code}"
    # A shell says so of the program that it ran.
    return CRASHED, f"exit code {code}" + (f" (128 + {_signal(code - 128)})" if 128 < code < 160 else "")


def printed(panic: str) -> str:
    """A panic in a few words; the first line of a traceback says nothing."""
    return "with a traceback" if panic.startswith("Traceback") else f"and it printed: {panic}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(count: float) -> str:
    return f"{count / 2**20:,.1f} MiB"
