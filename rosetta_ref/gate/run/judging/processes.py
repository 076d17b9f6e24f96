"""The processes that judge: as many as questions are asked at once, started when they are needed, each with limits.

What a converter writes may make any reader fall, hang or fill the memory. So a question goes to a process of its own, as a line of
JSON, and its result comes back as one. A process that falls, or takes more than its limits, is that case's finding; the next
question gets a new process. Nothing of it is pickled, and nothing that it says is run.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from rosetta_ref import limits
from rosetta_ref.gate.converter.clock import GAP, Clock
from rosetta_ref.gate.converter.interrupt import ENDING, GROUPS, kill
from rosetta_ref.gate.converter.walk import bytes_behind
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.judge.question import Question, question_to_values, result_of, to_json
from rosetta_ref.gate.run.judging.questions import HarnessError, Judging, settled

#: Seconds on the clock for one second of computing: others may use the machine, and a process has to start.
_PATIENCE = 3
_MIB = 1 << 20
#: Signals that somebody else sends: the system short of memory, a user, a machine that shuts down.
_FROM_OUTSIDE = frozenset(
    getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT") if hasattr(signal, name)
)
#: Libraries that start a thread for each core unless they are told: several judges run at once.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Seconds in which a process that has closed its end of the pipe is gone.
_GOING = 2.0


class FallenError(Exception):
    """A process that judges has ended, or had to be. `killed`: by somebody else; `stood`: not for what it was asked, perhaps."""

    def __init__(self, words: str, *, killed: bool = False, stood: bool = False) -> None:
        super().__init__(words)
        self.killed, self.stood = killed, stood


class JudgeProcess:
    """One process. It reads a question a line, and answers each with a line."""

    def __init__(self) -> None:
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rosetta_ref.gate.run.judging.process"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def ask(self, line: bytes, seconds: float) -> bytes:
        """The answer to a question. Raises FallenError, whose words say how it ended; the process is gone then."""
        GROUPS.add(self._process.pid)
        try:
            if ENDING.is_set():
                raise HarnessError("not judged: everything is being ended")
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
            return self._line(_PATIENCE * (seconds + 1))
        except BrokenPipeError:
            raise self._fallen() from None
        except BaseException:
            self._end()
            raise
        finally:
            GROUPS.discard(self._process.pid)

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None
        pieces: list[bytes] = []
        clock = Clock()
        while True:
            left = seconds - clock.passed()
            if not select.select([self._process.stdout], [], [], max(min(left, GAP / 2), 0))[0]:
                if left > 0:
                    continue
                self._end()
                raise FallenError("it did not end", stood=True)
            piece = os.read(self._process.stdout.fileno(), 1 << 20)
            if not piece:
                raise self._fallen()
            pieces.append(piece)
            if piece.endswith(b"\n"):
                return b"".join(pieces)

    def _fallen(self) -> FallenError:
        """How it ended, of which nobody here has asked it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GOING)
        code = self._end()
        if code == -getattr(signal, "SIGXCPU", 0):
            return FallenError("it did not end", stood=_is_limited())
        if code >= 0:
            return FallenError(f"it ended with {code}")
        return FallenError(f"it fell: {signal.Signals(-code).name}", killed=-code in _FROM_OUTSIDE)

    def _end(self) -> int:
        """Kill it, if it lives; its exit code."""
        kill(self._process.pid)
        code = self._process.wait()
        self.close()
        return code

    def close(self) -> None:
        """Let it end: nobody asks any more."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def _is_limited() -> bool:
    """Whether whoever called the gate limits computing: then a process may be at its end for what it has judged before."""
    return resource is not None and resource.getrlimit(resource.RLIMIT_CPU)[1] != resource.RLIM_INFINITY


class _Pool:
    """The processes that have nothing to do."""

    def __init__(self) -> None:
        self._idle: list[JudgeProcess] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def take(self, preferred: JudgeProcess | None) -> JudgeProcess:
        """The one that was asked before, which remembers; any other one, or a new one."""
        with self._lock:
            if self._pid != os.getpid():  # after a fork these are the parent's
                self._idle, self._pid = [], os.getpid()
            if preferred in self._idle:
                self._idle.remove(preferred)
                return preferred
            return self._idle.pop(0) if self._idle else JudgeProcess()

    def give_back(self, process: JudgeProcess) -> None:
        """It has answered."""
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for process in self._idle if self._pid == os.getpid() else ():
                process._end()
            self._idle.clear()


POOL = _Pool()
atexit.register(POOL.close)


class Asking:
    """Asks the judge: in a process of its own, or here where another judge was put in its place."""

    def __init__(self) -> None:
        self._last: JudgeProcess | None = None
        self._here = Judging()

    def __call__(self, question: Question, result: Result) -> Result:
        """The result, complete. Raises HarnessError, and what the judge raises of files that are ours."""
        if cache.are_replaced():
            return self._here.answer(question, result)
        size = sum(map(bytes_behind, (question.source, question.target)))
        seconds = limits.of("judge-seconds") + size // _MIB
        memory = limits.of("judge-bytes") + 16 * size
        try:
            answer = json.loads(self._answered(_asked(question, result, seconds, memory), seconds))
        except FallenError as fallen:
            words = (
                f"judging it takes more than {seconds} s or {memory // _MIB:,} MiB, or makes a reader fall: {fallen}"
            )
            result.findings = [Finding("unreadable", question.case.gate, words)]
            return settled(result)
        if "failed" in answer:
            raise HarnessError(answer["failed"])
        return result_of(answer["result"])

    def _answered(self, line: bytes, seconds: float) -> bytes:
        """The answer of a process. What ends or stops one from outside says nothing of the output: another one is asked, once."""
        for again in (False, True):
            process = POOL.take(self._last) if not again else JudgeProcess()
            self._last = None
            try:
                answer = process.ask(line, seconds)
            except FallenError as fallen:
                if not again and (fallen.killed or fallen.stood):
                    continue
                if fallen.killed:
                    raise HarnessError(
                        f"not judged: the machine ended the process that judges, twice: {fallen}"
                    ) from None
                raise
            POOL.give_back(process)
            self._last = process
            return answer
        raise AssertionError  # the second time it answers or raises


def _asked(question: Question, result: Result, seconds: int, memory: int) -> bytes:
    values = {
        "question": question_to_values(question), "seconds": seconds, "memory": memory, "limits": limits.changed(),
        "folder": str(question.target.parents[1]),  # that of the workspace: what is beside the output is watched
    }  # fmt: skip
    return f'{{"asked": {json.dumps(values)}, "result": {to_json(result)}}}\n'.encode()
