"""Starts converters, and ends whatever they leave running: `python -I -S supervise.py FD`, told what to start over a socket.

One such process serves all calls of the gate. For each it forks a supervisor, which starts the command in a session of its own and
adopts every process that the command leaves behind, however it went away (Linux: PR_SET_CHILD_SUBREAPER). When the command has
ended, when the gate wants it ended, or when the gate itself is gone, the supervisor kills all processes below it until none is
left. Elsewhere than on Linux it can only kill the command's process group: a daemon in a session of its own stays.

Uses the standard library alone, and little of it: it is run by its path, and forked for each call. `supervisor` asks it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

try:
    import resource
except ImportError:  # Windows has none, and commands are not run there
    resource = None  # type: ignore[assignment]

_SET_CHILD_SUBREAPER = 36
#: Seconds after which processes that do not die (they wait for a device, say) are left.
_PATIENCE = 5.0
#: Signals that Python ignores, and by which a program expects to be ended.
_OURS = ("SIGPIPE", "SIGXFSZ")


def main(number: int) -> None:
    """Start what comes over the socket, until nobody is there to ask."""
    asking = socket.socket(fileno=number)
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors report for themselves
    while True:
        length, given, _, _ = socket.recv_fds(asking, 8, 4)
        if not length:
            return
        wanted = json.loads(_received(asking, int.from_bytes(length, "little")))
        for each in given:
            os.set_inheritable(each, False)
        if os.fork() == 0:
            asking.close()
            code = 1
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                if library is not None:
                    library.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                _supervise(wanted, *given)
                code = 0
            finally:
                os._exit(code)
        for each in given:
            os.close(each)


def _received(asking: socket.socket, length: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < length and (piece := asking.recv(min(length - len(pieces), 1 << 20))):
        pieces += piece
    return bytes(pieces)


def _supervise(wanted: dict[str, Any], out: int, err: int, told: int, asked: int) -> None:
    """One call. `told` takes lines: `began PID SUPERVISOR` or `failed WORDS`, then `ended CODE PEAK FLOOR`.

    `asked` ends when the command has to.
    """
    try:
        began = _start(wanted, out, err)
    except Exception as error:  # noqa: BLE001 (whatever it is, the command does not start)
        words = str(error).replace("\n", " ")[:2000]
        os.write(told, f"failed {words}\n".encode("utf-8", "backslashreplace"))
        return
    os.close(out)
    os.close(err)
    os.write(told, f"began {began} {os.getpid()}\n".encode())
    code, peak = _end_all(began, _wait(began, asked))
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.write(told, f"ended {code} {peak} {floor}\n".encode())


def _start(wanted: dict[str, Any], out: int, err: int) -> int:
    """The command, in a session of its own, with nothing open but its three streams. Raises OSError and ValueError."""
    os.chdir(wanted["folder"])
    if wanted["file_limit"] is not None:  # of this process, too, which writes to no file
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = wanted["file_limit"] if most == resource.RLIM_INFINITY else min(wanted["file_limit"], most)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # whoever may raise the soft one would have none
    nothing = os.open(os.devnull, os.O_RDONLY)
    command, environment = wanted["command"], wanted["environment"]
    return os.posix_spawn(
        _program(command[0], environment), command, environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, given, stream) for stream, given in enumerate((nothing, out, err))],
        setsid=True, setsigdef=[getattr(signal, name) for name in _OURS],
    )  # fmt: skip


def _program(name: str, environment: dict[str, str]) -> str:
    """Where a program is, as a shell looks for it."""
    if "/" in name:
        return name
    paths = (os.path.join(folder, name) for folder in os.get_exec_path(environment))
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), name)


def _wait(pid: int, asked: int) -> tuple[int, int] | None:
    """Until the command has ended, or has to. Its exit code and peak where that took note of its end: its number is free then.

    Where it can be, no note is taken: its number stays its own, and its group can be killed.
    """
    if hasattr(os, "pidfd_open"):
        try:
            end = os.pidfd_open(pid)
        except OSError:  # a kernel or a sandbox without
            pass
        else:
            select.select([end, asked], [], [])
            os.close(end)
            return None
    while not select.select([asked], [], [], 0.005)[0]:
        if hasattr(os, "waitid"):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return None
        elif (ended := os.wait4(pid, os.WNOHANG))[0]:  # macOS before Python 3.13
            return os.waitstatus_to_exitcode(ended[1]), ended[2].ru_maxrss
    return None


def _end_all(leader: int, known: tuple[int, int] | None) -> tuple[int, int]:
    """Kill all that is below this process, again and again, until it has no child left. The leader's exit code, and its peak.

    `known` is how the leader has ended, where that is noted already: nobody is killed by its number then.

    Only that there is no child any more is certain: a list of processes is old when it is read. So those that fork and end, faster
    than they could be listed, are killed by their groups.
    """
    end, found = time.monotonic() + _PATIENCE, known or (-int(signal.SIGKILL), 0)
    groups = {leader} if known is None else set()
    while time.monotonic() < end:
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        try:
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == leader:
                    found = os.waitstatus_to_exitcode(ended[1]), ended[2].ru_maxrss
        except ChildProcessError:
            break
        below = _below()
        groups |= {group for _, group in below}
        for pid, _ in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return found


def _below() -> list[tuple[int, int]]:
    """The processes below this one, each with its group; none where there is no /proc."""
    parents: dict[int, tuple[int, int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                    with open(f"/proc/{name}/stat", "rb") as file:
                        # The name of the program stands in parentheses, and may hold anything.
                        words = file.read().rpartition(b")")[2].split()
                    parents[int(name)] = int(words[1]), int(words[2])
    below = {os.getpid()}
    while found := {pid for pid, (parent, _) in parents.items() if pid not in below and parent in below}:
        below |= found
    return [(pid, parents[pid][1]) for pid in below - {os.getpid()}]


if __name__ == "__main__":
    main(int(sys.argv[1]))
