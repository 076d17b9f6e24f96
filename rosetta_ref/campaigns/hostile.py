"""Hostile inputs, very many of them, through every command: the engine that deals executions to processes and counts faults."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.campaigns import draw
from rosetta_ref.campaigns.case import Case
from rosetta_ref.campaigns.findings import CampaignError, Record, chunks
from rosetta_ref.campaigns.oracles import Fault
from rosetta_ref.campaigns.planted import FAULTS
from rosetta_ref.campaigns.watch import Limits, scratch

#: Executions that are dealt at once. A worker is renewed after so many.
CHUNK = 500
_SERVE = "from rosetta_ref.campaigns.keeper import serve; serve()"
#: One thread each, the same order of sets in every process, and the readable codecs: numba has nothing to gain on small files.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0",
    "ROSETTA_FAST": "0",
    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore", "GGML_NO_BACKTRACE": "1",
}  # fmt: skip


@dataclass
class Keepers:
    """Processes that run executions; see `keeper`. `main` is the command line, as module:function."""

    jobs: int
    main: str
    limits: Limits = field(default_factory=Limits)
    _root: Path | None = None
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _rest: dict[int, bytes] = field(default_factory=dict)

    def __enter__(self) -> Keepers:
        self._root = Path(tempfile.mkdtemp(prefix="rosetta-campaign-", dir=scratch()))
        for number in range(self.jobs):
            root = self._root / f"w{number}"
            root.mkdir()
            with (self._root / f"errors{number}.txt").open("wb") as errors:
                started = subprocess.Popen(
                    [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                    cwd=root,
                    env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )  # fmt: skip
            self._running.append(started)
            self._ask(number, {"root": str(root), "limits": asdict(self.limits), "main": self.main})
        for number in range(self.jobs):
            self._lines(number)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    def _ask(self, number: int, value: dict[str, Any]) -> None:
        pipe = self._running[number].stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # `_lines` says why
            pipe.write(json.dumps(value).encode() + b"\n")
            pipe.flush()

    def _lines(self, number: int) -> list[dict[str, Any]]:
        """What a process has said since it was asked last: at least a line. Buffers of files would hide lines from `select`."""
        pipe, lines = self._running[number].stdout, list[bytes]()
        assert pipe is not None
        while not lines:
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                raise CampaignError(f"a process of the campaign ended by itself: {self._last_words(number)}")
            *lines, self._rest[number] = (self._rest.get(number, b"") + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _last_words(self, number: int) -> str:
        assert self._root is not None
        said = (self._root / f"errors{number}.txt").read_text("utf-8", "replace").strip().splitlines()
        return said[-1] if said else "without a word"

    def alone(self, case: Case, plant: str | None = None) -> list[Fault]:
        """The faults of one case; `plant` is the name of a fault to be planted."""
        self._ask(0, {"case": case.as_json(), "plant": plant})
        return [Fault(**each) for each in self._lines(0)[0]["faults"]]

    def run(self, seed: int, stretches: Iterator[tuple[int, int]]) -> Iterator[dict[str, Any]]:
        """What the processes say, in the order in which they say it, until all stretches are done."""
        with selectors.DefaultSelector() as waiting:
            for number, process in enumerate(self._running):
                if (stretch := next(stretches, None)) is not None:
                    assert process.stdout is not None
                    waiting.register(process.stdout, selectors.EVENT_READ, number)
                    self._ask(number, {"seed": seed, "start": stretch[0], "stop": stretch[1]})
            while waiting.get_map():
                for key, _ in waiting.select():
                    yield from self._until_done(key.data, key.fileobj, seed, stretches, waiting)

    def _until_done(
        self, number: int, pipe: Any, seed: int, stretches: Iterator[tuple[int, int]], waiting: selectors.BaseSelector
    ) -> Iterator[dict[str, Any]]:
        lines = self._lines(number)
        yield from lines
        if "done" not in lines[-1]:
            return
        if (stretch := next(stretches, None)) is None:
            waiting.unregister(pipe)
        else:
            self._ask(number, {"seed": seed, "start": stretch[0], "stop": stretch[1]})


def campaign(
    record: Record,
    executions: int,
    *,
    jobs: int,
    main: str,
    seconds: float | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Record:
    """Run what is missing of so many executions; `told` gets a line now and then. Raises CampaignError."""
    began = last = time.monotonic()
    there = record.executions

    def stretches() -> Iterator[tuple[int, int]]:
        for stretch in chunks(executions, list(record.done), min(CHUNK, max(50, executions // (4 * jobs)))):
            if seconds is not None and time.monotonic() - began > seconds:
                return
            yield stretch

    with Keepers(jobs, main) as keepers:
        for line in keepers.run(record.seed, stretches()):
            now = time.monotonic()
            if "fault" in line:
                fault = Fault(**line["fault"])
                if record.add(fault, line["number"], draw.draw(record.seed, line["number"])):
                    told(f"{fault.kind} ({fault.command}): {fault.detail}")
            elif "done" in line:
                record.end(line, now - last)
                last = now
                rate = (record.executions - there) / max(now - began, 0.001)
                told(f"{record.executions:,} of {executions:,}, {rate:,.0f} a second, {len(record.findings)} findings")
    return record


def self_test(
    main: str, names: Sequence[str] = tuple(FAULTS), *, most: int = 60, told: Callable[[str], None] = lambda line: None
) -> dict[str, bool]:
    """Plant each fault in turn; whether it was found, as what it is, within so many executions."""
    found: dict[str, bool] = {}
    quick = Limits(quick=0.5, slow=0.5, grace=1.5, blocked=0.8)
    with Keepers(1, main, quick) as keepers:
        for name in names:
            found[name] = any(_sees(keepers, number, name) for number in range(most))
            told(f"{name}: {FAULTS[name][0]} {'found' if found[name] else 'NOT FOUND'}")
    return found


def _sees(keepers: Keepers, number: int, name: str) -> bool:
    """Whether a planted fault is found in that execution, as what it is."""
    kind, commands, _ = FAULTS[name]
    command = commands[number % len(commands)] if commands else "inspect" if kind == "misread" else None
    return any(fault.kind == kind for fault in keepers.alone(draw.draw(0, number, command), name))
