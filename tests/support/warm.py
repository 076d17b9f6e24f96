"""What a command costs: its CPU time and the memory it adds, in a process that has run one before.

`python -m tests.support.warm` is that process: a line of JSON in, the arguments of a command; a line out, the `Cost`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """CPU seconds, bytes of resident memory added at the peak, characters printed, exit code, and an undeclared exception."""

    seconds: float
    memory: int
    printed: int
    code: int
    error: str
    raised: str

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s, {self.memory / MIB:.0f} MiB, {self.printed:,} printed, exit {self.code}: "
            f"{self.raised or self.error[:200]}"
        )


class Warm:
    """A process that runs commands, one after the other."""

    def __init__(self, script: str | None = None) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, *([script] if script else ["-m", "tests.support.warm"])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        )  # fmt: skip

    def cost(self, *arguments: str | Path) -> Cost:
        """Run a command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(list(map(str, arguments))) + "\n")
        self.process.stdin.flush()
        return Cost(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def warm(script: str | None = None) -> Iterator[Warm]:
    """A process that runs commands, or one that runs a script that does."""
    made = Warm(script)
    try:
        yield made
    finally:
        made.close()


class _Counting(io.TextIOBase):
    """Counts what is printed, and keeps the beginning."""

    def __init__(self) -> None:
        self.count = 0
        self.kept = ""

    def write(self, text: str) -> int:
        self.count += len(text)
        self.kept += text[: 2_000 - len(self.kept)] if len(self.kept) < 2_000 else ""
        return len(text)


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(field)


def _run(arguments: list[str]) -> Cost:
    from rosetta_ref.cli import main

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, used = _resident("VmRSS"), resource.getrusage(resource.RUSAGE_SELF)
    out, err, code, raised = _Counting(), _Counting(), -1, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # type: ignore[type-var]
        try:
            code = main(arguments)
        except Exception as error:  # noqa: BLE001 - an undeclared one is what is looked for
            raised = "".join(traceback.format_exception(error)[-3:])[-1500:]
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    memory = max(_resident("VmHWM") - before, 0)
    return Cost(seconds, memory, out.count + err.count, code, err.kept, raised)


def _serve() -> None:
    from rosetta_ref.cli import COMMANDS, module_of

    for command in COMMANDS:  # what a command costs, without what loading it costs
        module_of(command)
    import rosetta_ref.convert  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(vars(_run(json.loads(line)))) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
