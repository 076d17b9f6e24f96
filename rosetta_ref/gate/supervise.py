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
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

_SET_CHILD_SUBREAPER = 36
#: Seconds after which processes that do not die (they wait for a device, say) are left.
_PATIENCE = 5.0
#: Signals that Python ignores, and that a program expects to end it.
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
    """One call. `told` takes lines: `began PID` or `failed WORDS`, then `ended CODE PEAK FLOOR`; `asked` ends when it has to."""
    began = _start(wanted, out, err, told)
    os.close(out)
    os.close(err)
    if isinstance(began, str):
        os.write(told, f"failed {began}\n".encode("utf-8", "backslashreplace"))
        return
    os.write(told, f"began {began}\n".encode())
    _wait(began, asked)
    code, peak = _end_all(began)
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.write(told, f"ended {code} {peak} {floor}\n".encode())


def _start(wanted: dict[str, Any], out: int, err: int, told: int) -> int | str:
    """The process of the command; or why there is none."""
    failed, failing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(wanted, out, err, told, failing)
        except BaseException as error:  # noqa: BLE001 (it is told, and this process ends)
            os.write(failing, str(error).encode("utf-8", "backslashreplace")[:2000])
        finally:
            os._exit(127)
    os.close(failing)
    words = os.read(failed, 2000)
    os.close(failed)
    if not words:
        return pid
    os.waitpid(pid, 0)
    return words.decode("utf-8", "replace").replace("\n", " ")


def _become(wanted: dict[str, Any], out: int, err: int, told: int, failing: int) -> None:
    """Be the command: in a session of its own, with nothing open but its three streams."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, out, err)):
        os.dup2(stream, number)
    for each in (nothing, out, err, told):
        if each > 2:
            os.close(each)
    os.closerange(3, failing)
    os.closerange(failing + 1, 256)
    os.set_inheritable(failing, False)
    for name in _OURS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.chdir(wanted["folder"])
    if wanted["file_limit"] is not None:
        soft = wanted["file_limit"]
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if most == resource.RLIM_INFINITY else min(soft, most), most))
    os.execvpe(wanted["command"][0], wanted["command"], wanted["environment"])


def _wait(pid: int, asked: int) -> None:
    """Until the command has ended, which is not yet taken note of: its number stays its own; or until it is asked for."""
    if hasattr(os, "pidfd_open"):
        end = os.pidfd_open(pid)
        select.select([end, asked], [], [])
        os.close(end)
        return
    while not select.select([asked], [], [], 0.005)[0]:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return


def _end_all(leader: int) -> tuple[int, int]:
    """Kill all that is below this process, again and again, until it has no child left. The leader's exit code, and its peak.

    Only that there is no child any more is certain: a list of processes is old when it is read. So those that fork and end, faster
    than they could be listed, are killed by their groups.
    """
    end, found = time.monotonic() + _PATIENCE, (-int(signal.SIGKILL), 0)
    groups = {leader}
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
