"""Where a worker is, seen from outside: the number of its execution, the CPU that it takes, whether it still moves."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from rosetta_ref.campaigns.watch import Limits


@dataclass
class Spot:
    """Where a worker is: its folders, and the number of its execution in memory that the keeper shares."""

    root: Path
    shared: mmap.mmap

    @classmethod
    def of(cls, root: Path) -> Spot:
        """A folder, and memory of its own."""
        root.mkdir(parents=True, exist_ok=True)
        return cls(root, mmap.mmap(-1, mmap.PAGESIZE))

    @property
    def number(self) -> int:
        """The execution that runs."""
        return int.from_bytes(self.shared[:8], "little", signed=True)

    @property
    def limit(self) -> float:
        """Seconds of CPU that it may take."""
        return int.from_bytes(self.shared[8:16], "little") / 1000

    def begin(self, number: int, limit: float) -> None:
        """An execution begins that may take so many seconds of CPU."""
        self.shared[:16] = number.to_bytes(8, "little", signed=True) + int(1000 * limit).to_bytes(8, "little")


@dataclass
class Watch:
    """Whether a worker still moves: by its CPU and its executions, not by the clock of a busy machine."""

    child: int
    limits: Limits
    spot: Spot
    _last: tuple[int, float, float] = (-2, 0.0, 0.0)

    def stuck(self) -> str:
        """Why it has to be stopped, if it has."""
        number, now, cpu = self.spot.number, time.monotonic(), _cpu_of(self.child)
        if number != self._last[0]:
            self._last = (number, cpu, now)
            self._moved = now, cpu
            return ""
        if cpu > self._moved[1] + 0.02 or _runs(self.child):
            self._moved = now, cpu
        if cpu - self._last[1] > self.spot.limit * (self.limits.grace + 1):
            return f"took {cpu - self._last[1]:.0f} s of CPU without an end"
        return f"did nothing for {self.limits.blocked:.0f} s" if now - self._moved[0] > self.limits.blocked else ""

    def __post_init__(self) -> None:
        self._moved = time.monotonic(), 0.0


def _cpu_of(process: int) -> float:
    """Seconds of CPU of a process group's leader and of all whose parent it is."""
    total = 0.0
    for each in (process, *_children(process)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def end_with_parent() -> None:
    """Be killed when the keeper is, where the system can do that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _runs(process: int) -> bool:
    """Whether it would run if the machine had time for it."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    return False


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(word)
            for task in Path(f"/proc/{process}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    return []


def last_frame(path: Path) -> str:
    """The innermost line of ours that faulthandler wrote."""
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            if "rosetta_ref/" in line and "campaigns/" not in line and line.lstrip().startswith("File"):
                return line.partition("rosetta_ref/")[2].replace('", line ', ":").partition(" in ")[0]
    return ""
