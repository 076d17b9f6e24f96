"""The other process: started where there is none, kept for the next question, ended where it passes a limit.

A process that was used before may have been harmed by what it was used for. So where one of those ends, or has no memory left, the
question is put once more, to a fresh one, and only what happens there counts. It ends with this process: its input ends then, and
a question at work is ended by its own limit of CPU time. (PR_SET_PDEATHSIG would end it with the thread that started it.)
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

from rosetta_ref.errors import RosettaError

PROGRAM = Path(__file__).with_name("program.py")
INSTALL = "pip install 'rosetta-ref[verify]'"
#: Wall-clock time against CPU time: a machine may be busy with other things.
_PATIENCE, _AT_LEAST = 4, 10
#: Processes that wait for a question; threads may ask at once.
_IDLE = 2
#: Of the environment, what a Python may need to start; nothing of it reaches a template.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP")
#: What says that the system refused memory, where a library then ends the process.
_OUT_OF_MEMORY = ("memory allocation of", "MemoryError", "bad_alloc", "out of memory")


class MissingLibraryError(RosettaError):
    """An engine works where its library is installed."""


class SandboxError(RosettaError):
    """A second Python can be started, for tokenizers and chat templates."""


class OverLimitError(RosettaError):
    """A tokenizer or a chat template answers within the limits of time and memory, and leaves its process alive."""


class _EndedError(Exception):
    """The process ended instead of answering: why, and whether that can have come from outside."""

    def __init__(self, why: str, *, for_good: bool) -> None:
        super().__init__(why)
        self.why, self.for_good = why, for_good


@cache
def _directories() -> tuple[str, ...]:
    """Where the libraries lie, each directory once."""
    found: dict[str, None] = {}
    for name in ("tokenizers", "jinja2", "markupsafe"):
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:
                found[str(Path(spec.origin).resolve().parent.parent)] = None
    return tuple(found)


class Process:
    """One process, asked by one thread at a time."""

    def __init__(self) -> None:
        self.fresh, self.killed = True, False
        if not sys.executable:
            raise SandboxError("this Python does not know its own executable")
        environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        try:
            # -I: neither the folder nor PYTHONPATH has a say; -S: nothing of what packages hook in there runs.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), *_directories()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROGRAM.parent, env=environment,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SandboxError(f"{sys.executable}: {error.strerror}") from error

    def ask(self, request: dict[str, Any], blob: bytes | None = None) -> dict[str, Any]:
        """The reply. Raises _EndedError."""
        try:
            with self._watched(_AT_LEAST + _PATIENCE * request["seconds"]) as until:
                reply = self._exchange(json.dumps(request).encode("ascii"), blob, request["bytes"], until)
        except (OSError, ValueError, struct.error) as error:
            raise self._ended() from error
        self.fresh = False
        return reply

    @contextlib.contextmanager
    def _watched(self, seconds: float) -> Iterator[float | None]:
        """End it where it takes longer by the clock; yields the seconds to wait where the system can wait for a pipe."""
        if hasattr(select, "poll"):
            yield seconds
            return
        watch = threading.Timer(seconds, self._kill)
        watch.daemon = True
        watch.start()
        try:
            yield None
        finally:
            watch.cancel()

    def _exchange(self, request: bytes, blob: bytes | None, most: int, seconds: float | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for message in (request,) if blob is None else (request, blob):
            _write(self._process.stdin, struct.pack(">Q", len(message)) + message)
        if seconds is not None and not _readable(self._process.stdout, seconds):
            self._kill()
        (size,) = struct.unpack(">Q", self._read(8))
        if size > most:
            raise ValueError("a reply of more bytes than it may have")
        reply = json.loads(self._read(size))
        if not isinstance(reply, dict):
            raise ValueError("no reply")  # noqa: TRY004 (as any other that is none)
        return reply

    def _read(self, size: int) -> bytearray:
        assert self._process.stdout is not None
        data = bytearray()
        while len(data) < size and (piece := self._process.stdout.read(size - len(data))):
            data += piece
        return data

    def _kill(self) -> None:
        self.killed = True
        self._process.kill()

    def _ended(self) -> _EndedError:
        self._process.kill()
        code = self._process.wait()
        said = b"" if self._process.stderr is None else self._process.stderr.read(1 << 16)
        self.close()
        if self.killed or (hasattr(signal, "SIGPROF") and code == -signal.SIGPROF):
            return _EndedError("time", for_good=True)
        words = said.decode("utf-8", "replace")
        if any(sign in words for sign in _OUT_OF_MEMORY):
            return _EndedError("memory", for_good=self.fresh)
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        last = " ".join(words.split())[-300:]
        outside = -code in (getattr(signal, "SIGKILL", 9), signal.SIGTERM, signal.SIGINT)
        return _EndedError(
            f"its process ended with {name}{f': {last}' if last else ''}", for_good=self.fresh and not outside
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()

    def let_go(self) -> None:
        """In a fork: it is the parent's, whose death it could not see as long as another one holds its input."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    os.close(pipe.fileno())
        self._process.returncode = 0  # or Popen would wait for a process that is not a child of this one


def _write(pipe: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _readable(pipe: IO[bytes], seconds: float) -> bool:
    watch = select.poll()
    watch.register(pipe, select.POLLIN)
    return bool(watch.poll(1000 * seconds))


class Pool:
    """Processes that wait for a question. The one that was used last comes first: it may hold the tokenizer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Process] = []

    def take(self, *, fresh: bool = False) -> Process:
        """One that waits, or a new one."""
        with self._lock:
            if self._idle and not fresh:
                return self._idle.pop()
        return Process()

    def give(self, process: Process) -> None:
        """Back it comes."""
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(process)
                return
        process.close()

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()

    def forked(self) -> None:
        """In the child of a fork: start anew."""
        for process in self._idle:
            process.let_go()
        self.__init__()  # type: ignore[misc]


_pool = Pool()
atexit.register(_pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forked)


def ask(request: dict[str, Any], blob: bytes | None = None) -> dict[str, Any]:
    """The reply to a request, with `value` or `refused`; `blob` is loaded where the process does not have it yet.

    Raises OverLimitError, MissingLibraryError, SandboxError.
    """
    for fresh in (False, True):
        process = _pool.take(fresh=fresh)
        alone = process.fresh
        try:
            reply = _asked(process, request, blob)
        except _EndedError as ended:
            if fresh or ended.for_good:
                raise OverLimitError(_told(ended.why, request)) from None
            continue
        except BaseException:
            process.close()
            raise
        if "limit" in reply:
            process.close()
            if reply["limit"] == "memory" and not (alone or fresh):
                continue
            raise OverLimitError(_told(reply["limit"], request))
        _pool.give(process)
        if "missing" in reply:
            hint = f"Install it: {INSTALL}"
            raise MissingLibraryError(f"{reply['missing']} is not installed ({reply['why']})", hint=hint)
        return reply
    raise SandboxError("the second Python ends without a word")


def _asked(process: Process, request: dict[str, Any], blob: bytes | None) -> dict[str, Any]:
    if blob is None:
        return process.ask(request)
    if request["do"] == "load":
        return process.ask(request, blob)
    reply = process.ask(request)
    if "again" not in reply:
        return reply
    loaded = process.ask({**request, "do": "load", "seconds": request["loading"], "texts": [], "ids": []}, blob)
    if "value" not in loaded:
        return loaded
    return {**process.ask(request), "loaded": loaded["cpu"]}


def _told(why: str, request: dict[str, Any]) -> str:
    if why == "time":
        return f"it takes more than {request['seconds']:.3g} s of CPU time"
    if why == "memory":
        return f"it takes more than {request['bytes'] >> 20:,} MiB of memory"
    return "it calls itself, or nests, too deeply" if why == "recursion" else why
