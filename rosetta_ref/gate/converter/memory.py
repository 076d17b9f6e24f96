"""What a process and all that it started hold in memory, without asking any of them.

Linux tells it in /proc; elsewhere `ps` does, more slowly. A limit on address space (RLIMIT_AS) would not do: programs in Go and
Rust reserve far more than they use.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
HAS_PROC = (_PROC / "self/status").exists()


@dataclass(frozen=True)
class Look:
    """The processes of a group at one moment, resident bytes in all, and those of them that no file stands behind.

    Pages of a mapped file are resident, but go when anybody needs the room: a limit is about the others.
    """

    members: frozenset[int]
    resident: int
    private: int


@dataclass
class Watch:
    """Looks at a process and its descendants, whatever group they moved to. `members` are those that were ever seen.

    `supervisor` adopts descendants whose parents end: all that is below it counts, but not itself.
    """

    leader: int
    supervisor: int | None = None
    members: set[int] = field(default_factory=set)
    #: The most that was resident at one moment, and why nothing could be measured.
    peak: int = 0
    note: str = ""

    def leader_only(self) -> int:
        """The private bytes of the leader alone: quick, for the first moments of a process."""
        if not HAS_PROC:
            return 0
        highest, private, _ = _status(self.leader)
        self.peak = max(self.peak, highest)
        return private

    def everybody(self) -> int:
        """The private bytes of the leader and of everybody below it."""
        seen = self._by_proc() if HAS_PROC else self._by_ps()
        self.members |= seen.members
        self.peak = max(self.peak, seen.resident)
        return seen.private

    def _by_proc(self) -> Look:
        members = self._below({pid: parents for pid, *parents in _processes_of_proc()})
        statuses = [_status(pid) for pid in members]
        # One process alone may have held more between two looks than all of them at this one.
        resident = max([sum(now for _, _, now in statuses), *(highest for highest, _, _ in statuses)], default=0)
        return Look(members, resident, sum(private for _, private, _ in statuses))

    def _by_ps(self) -> Look:
        try:
            command = ["ps", "-A", "-o", "pid=,ppid=,pgid=,rss="]
            listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout
            rows = [[int(word) for word in line.split()] for line in listed.splitlines()]
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self.note = f"memory is not measured here: no /proc, and ps: {error}"
            return Look(frozenset(), 0, 0)
        members = self._below({pid: parents for pid, *parents, _ in rows})
        resident = sum(row[-1] * 1024 for row in rows if row[0] in members)
        return Look(members, resident, resident)

    def _below(self, parents: dict[int, list[int]]) -> frozenset[int]:
        """Whoever has the leader, or a process below it, as parent, group or session; also those whose parent is gone."""
        members = {self.leader} | (self.members & parents.keys())
        if self.supervisor is not None:
            members |= {pid for pid, above in parents.items() if above[0] == self.supervisor}
        while found := {pid for pid, above in parents.items() if pid not in members and not members.isdisjoint(above)}:
            members |= found
        return frozenset(members)


def _processes_of_proc() -> Iterator[tuple[int, int, int, int]]:
    """Every process: its id, parent, group and session."""
    for name in os.listdir(_PROC):
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                # The name of the program stands in parentheses, and may hold anything.
                words = (_PROC / name / "stat").read_bytes().rpartition(b")")[2].split()
                yield int(name), int(words[1]), int(words[2]), int(words[3])


def _status(pid: int) -> tuple[int, int, int]:
    """Of one process: the most that was ever resident, what is resident without a file behind it, and all that is resident."""
    found = {b"VmHWM": 0, b"VmRSS": 0, b"RssAnon": 0, b"RssShmem": 0}
    with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
        for line in (_PROC / str(pid) / "status").read_bytes().splitlines():
            key, _, value = line.partition(b":")
            if key in found:
                found[key] = int(value.split()[0]) * 1024
    return found[b"VmHWM"], found[b"RssAnon"] + found[b"RssShmem"], found[b"VmRSS"]
