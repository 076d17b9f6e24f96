"""Commands that are started by way of `supervise`, which ends all that they leave running: the side of the gate."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from rosetta_ref.gate.converter import supervise

#: Seconds that starting a process, or ending one with all that is below it, may take.
_PATIENCE = 20.0


class Supervised:
    """A command that was started. Raises OSError or ValueError where it cannot be.

    `out`, `err` and `told` are descriptors to read from, of which the last one is readable when the command has ended.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, file_limit: int | None = None
    ) -> None:
        values = {
            "command": list(command), "environment": dict(os.environ if environment is None else environment),
            "folder": os.getcwd(), "file_limit": file_limit,
        }  # fmt: skip
        pipes = [os.pipe() for _ in range(4)]
        (self.out, out), (self.err, err), (self.told, told), (asked, self._asking) = pipes
        self._rest, self.ended = b"", ""
        try:
            _SERVER.ask(json.dumps(values).encode(), [out, err, told, asked])
        except BaseException:
            for each in (self.out, self.err, self.told, self._asking):
                os.close(each)
            raise
        finally:
            for each in (out, err, told, asked):
                os.close(each)
        word, _, rest = self._line(_PATIENCE).partition(" ")
        if word != "began":
            self.close()
            raise OSError(rest or "its supervisor has ended")
        #: The command, and the process that adopts whoever it leaves behind.
        self.pid, self.supervisor = map(int, rest.split())

    def _line(self, seconds: float) -> str:
        """The next line that is told; empty where there is none."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.told], [], [], left)[0]:
                break
            if not (piece := os.read(self.told, 4096)):
                break
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")

    def end(self) -> tuple[int | None, int, int]:
        """End it with all that is below it. Its exit code, its peak, and the peak that it was started with, as `wait4` has them.

        The code is None where the supervisor itself was killed.
        """
        if self._asking >= 0:
            os.close(self._asking)
            self._asking = -1
            self.ended = self._line(_PATIENCE)
        word, *numbers = self.ended.split() or [""]
        if word != "ended":
            return None, 0, 0
        code, peak, floor = map(int, numbers)
        return code, peak, floor

    def close(self) -> None:
        """Give up the descriptors."""
        for each in (self.out, self.err, self.told, self._asking):
            with contextlib.suppress(OSError):
                os.close(each)
        self._asking = -1


class _Server:
    """The process that starts commands: one, started when the first is wanted."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._pid = 0

    def ask(self, text: bytes, given: list[int]) -> None:
        """Have a command started with these descriptors."""
        with self._lock:
            for last in (False, True):
                if self._socket is None or self._pid != os.getpid():  # after a fork it is the parent's
                    self._begin()
                assert self._socket is not None
                try:
                    socket.send_fds(self._socket, [len(text).to_bytes(8, "little")], given)
                    self._socket.sendall(text)
                except OSError:  # somebody has killed it
                    self._socket = None
                    if last:
                        raise
                else:
                    return

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-I", "-S", supervise.__file__, str(theirs.fileno())]
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        # Nobody waits for it: it ends when the socket does.
        process.returncode = 0
        self._socket, self._pid = ours, os.getpid()


_SERVER = _Server()
