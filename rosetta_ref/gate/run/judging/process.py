"""A process that judges: `python -m rosetta_ref.gate.run.judging.process`.

It reads questions and writes results, a line of JSON each. Its limits are set anew for each question: seconds of computing, and
bytes beyond what it has. `processes` starts it, and ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

try:
    import resource
except ImportError:  # Windows has none, and commands are not run there either
    resource = None  # type: ignore[assignment]

from rosetta_ref import limits
from rosetta_ref.errors import unforeseen
from rosetta_ref.gate.judge.question import question_of, result_of, to_json
from rosetta_ref.gate.run.judging.questions import Judging


def main() -> None:
    """Answer until nobody asks any more."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # what a library prints is no answer
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends this, too
    serve(questions, answers)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line with a line."""
    judging = Judging()
    for line in questions:
        answers.write(_answer(judging, json.loads(line)) + b"\n")
        answers.flush()


def _answer(judging: Judging, values: dict[str, Any]) -> bytes:
    asked = values["asked"]
    tempfile.tempdir = asked["folder"]  # nothing is left there: the gate removes it
    try:
        with limits.raised(limits.parse(asked["limits"])):
            _limit(asked["seconds"], asked["memory"])
            result = judging.answer(question_of(asked["question"]), result_of(values["result"]))
            return f'{{"result": {to_json(result)}}}'.encode()
    except Exception as error:  # noqa: BLE001 (it is told to whoever asked)
        return json.dumps({"failed": unforeseen(error)}).encode()


def _limit(seconds: int, memory: int) -> None:
    """That many seconds from now on, and that many bytes more than there are."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + seconds + 1
    # A second before the hard limit, at which it would be killed as somebody else may kill it.
    soft = wanted if most == resource.RLIM_INFINITY else min(wanted, max(most - 1, 1))
    resource.setrlimit(resource.RLIMIT_CPU, (soft, most))
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux alone says what a process has
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = pages * resource.getpagesize() + memory
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


if __name__ == "__main__":
    main()
