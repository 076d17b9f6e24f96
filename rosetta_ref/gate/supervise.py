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
    _end_all(began)
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, peak = -signal.SIGKILL, 0
    with contextlib.suppress(ChildProcessError):
        _, status, usage = os.wait4(began, 0)
        code, peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss
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


def _end_all(leader: int) -> None:
    """Kill all that is below this process, again and again, until nothing is left but the leader's exit code."""
    end = time.monotonic() + _PATIENCE
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    while (left := _living(leader)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _living(leader: int) -> list[int]:
    """The processes below this one that have not ended. Those that have are taken note of, the leader aside."""
    children = _children()
    if children == [leader] and _state(leader) in ("Z", "X"):
        return []
    parents = {pid: parent for pid, parent, state in _processes() if state not in ("Z", "X") or pid == leader}
    for pid in [pid for pid, parent, state in _processes() if state == "Z" and parent == os.getpid() and pid != leader]:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    below = {os.getpid()}
    while found := {pid for pid, parent in parents.items() if pid not in below and parent in below}:
        below |= found
    return [pid for pid in below - {os.getpid()} if pid != leader or _state(leader) not in ("Z", "X")]


def _children() -> list[int] | None:
    """The children of this process, where the kernel lists them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        return None


def _processes() -> list[tuple[int, int, str]]:
    """Every process: its id, its parent, its state. None where there is no /proc."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    words = _stat(int(name))
                    found.append((int(name), int(words[1]), words[0].decode()))
    return found


def _state(pid: int) -> str:
    try:
        return _stat(pid)[0].decode()
    except (OSError, IndexError):
        return "X"


def _stat(pid: int) -> list[bytes]:
    """State, parent, ...: what stands behind the name, which may hold anything."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


if __name__ == "__main__":
    main(int(sys.argv[1]))
