"""A process that has everything imported, forks workers, and sees to it that they end.

Each line of standard input asks for something, each line of standard output says what came of it, both JSON:
`{"seed", "start", "stop"}` is answered by any number of `{"fault", "number"}` and one `{"done"}`,
`{"case", "plant"}` by `{"faults"}`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows has none, and campaigns are not run there
    resource = None  # type: ignore[assignment]

from rosetta_ref.campaigns import draw, foreign_readers, planted
from rosetta_ref.campaigns.case import Case
from rosetta_ref.campaigns.oracles import REPEATED, Fault, faults
from rosetta_ref.campaigns.seeds import all_seeds
from rosetta_ref.campaigns.spot import Spot, Watch, end_with_parent, last_frame
from rosetta_ref.campaigns.watch import Limits, Place
from rosetta_ref.campaigns.worker import Worker

#: Memory that a worker may map, and the largest file that it may write: the machine is not ours alone.
_ADDRESSES, _FILE = 6 << 30, 1 << 30
#: What workers use in any case, so that the first to need it does not pay.
_MODULES = (
    "yaml", "tokenizers", "jinja2.sandbox", "gguf", "safetensors", "rosetta_ref.convert", "rosetta_ref.verify",
    "rosetta_ref.gate.run.engine", "rosetta_ref.gate.report.score", "rosetta_ref.gate.report.history",
    "rosetta_ref.gate.report.summary", "rosetta_ref.reduce.run", "rosetta_ref.reduce.reproductions",
    "rosetta_ref.reduce.folder.replay", "rosetta_ref.reduce.folder.annotate", "rosetta_ref.zoo", "rosetta_ref.zoo.trial.tally",
)  # fmt: skip
Body = Callable[[Callable[[dict[str, Any]], None]], None]


@dataclass
class Keeper:
    """Forks workers into folders of `root`."""

    root: Path
    limits: Limits
    main: Callable[..., int]
    _known: dict[str, bool] = field(default_factory=dict)
    _readers: foreign_readers.Readers = field(default_factory=foreign_readers.Readers)

    def __post_init__(self) -> None:
        # A case that is run again has a place of its own: the worker that it comes from goes on meanwhile.
        self._many, self._single = Spot.of(self.root / "many"), Spot.of(self.root / "alone")

    def chunk(self, seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Run executions from start to stop: faults, each once, and the counts at the end."""
        counts: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        at = start
        while at < stop:
            ended = yield from self._one_worker(seed, at, stop, counts, seen)
            at = ended + 1
        yield {"done": [start, stop], "counts": counts, "again": seen}

    def _one_worker(
        self, seed: int, start: int, stop: int, counts: Counter[str], seen: Counter[str]
    ) -> Generator[dict[str, Any], None, int]:
        """A worker until the end, or its own; the number of its last execution."""

        def body(say: Callable[[dict[str, Any]], None]) -> None:
            worker = self._worker(self._many, None)
            self._many.begin(start, self.limits.slow)
            for number in range(start, stop):
                case = draw.draw(seed, number)
                self._many.begin(number, self.limits.cpu(case.command))
                found, words = self._judged(worker, case)
                say({"number": number, "counts": words, "faults": [fault.as_json() for fault in found]})

        last = start - 1
        for line in self._forked(body, self._many):
            if "died" in line:
                at = max(self._many.number, start)
                case = draw.draw(seed, at)
                fault = Fault(line["kind"], case.command, line["where"], line["died"])
                counts[f"{case.command} {line['kind']}"] += 1
                yield from self._counted(seed, at, fault, seen)
                return at
            last = line["number"]
            counts.update(line["counts"])
            for each in line["faults"]:
                yield from self._counted(seed, last, Fault(**each), seen)
        return max(last, start)

    def _counted(self, seed: int, number: int, fault: Fault, seen: Counter[str]) -> Iterator[dict[str, Any]]:
        """Tell of a fault once a chunk; what a busy machine may have caused has to repeat first, twice."""
        if fault.kind in REPEATED and not self._known.get(fault.key):
            if self._known.get(fault.key) is None or seen[fault.key] < 3:
                case = draw.draw(seed, number)
                again = [self.alone(case) for _ in range(2)]
                self._known[fault.key] = all(
                    any(other.kind == fault.kind or other.kind in REPEATED for other in each) for each in again
                )
            if not self._known[fault.key]:
                return
        seen[fault.key] += 1
        if seen[fault.key] == 1:
            yield {"fault": fault.as_json(), "number": number}

    def alone(self, case: Case, plant: str | None = None) -> list[Fault]:
        """The faults of one case in a worker of its own; `plant` is the name of a fault to be planted there."""

        def body(say: Callable[[dict[str, Any]], None]) -> None:
            worker = self._worker(self._single, plant)
            gc.collect()
            self._single.begin(0, self.limits.cpu(case.command))
            found, _ = self._judged(worker, case)
            say({"faults": [fault.as_json() for fault in found]})

        made: list[Fault] = []
        for line in self._forked(body, self._single):
            if "died" in line:
                made.append(Fault(line["kind"], case.command, line["where"], line["died"]))
            else:
                made += [Fault(**each) for each in line["faults"]]
        return made

    def _worker(self, spot: Spot, plant: str | None) -> Worker:
        worker = Worker(
            planted.with_fault(self.main, plant), Place(spot.root), self.limits, lambda: self._readers.process
        )
        worker.prepare()
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
            resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        return worker

    def _judged(self, worker: Worker, case: Case) -> tuple[list[Fault], list[str]]:
        ran = worker.run(case)
        found = faults(case, ran, self.limits)
        words = [f"{case.command} {'raised' if ran.raised else ran.code}"]
        if case.command == "inspect" and ran.code == 0:
            misread, others = self._readers.compare(case, worker.place.case)
            found += [Fault("misread", case.command, place, detail) for place, detail in misread]
            words += others
        return found, words

    # Below: processes.

    def _forked(self, body: Body, spot: Spot) -> Iterator[dict[str, Any]]:
        """What a forked process says, line by line; a last one with `died`, where it did not end well."""
        spot.begin(-1, self.limits.slow)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _child(body, writing)
        os.close(writing)
        why, where = "", ""
        watch = Watch(child, self.limits, spot)
        rest = b""
        while True:
            if not select.select([reading], [], [], 0.25)[0]:
                if not why and (why := watch.stuck()):
                    where = _stopped(child, spot)
                continue
            if not (data := os.read(reading, 1 << 16)):
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield json.loads(line)
        os.close(reading)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if why:
            yield {"died": f"it {why}, at {where}", "kind": "hang", "where": where}
        elif status:
            told = last_frame(spot.root / "native.txt")
            name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
            yield {"died": f"the worker ended with {name}: {told}", "kind": "death", "where": f"{name} {told}".strip()}


def _stopped(child: int, spot: Spot) -> str:
    """Ask a worker where it is, and end it with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGUSR1)
        time.sleep(0.2)
        os.killpg(child, signal.SIGKILL)
    return last_frame(spot.root / "native.txt")


def _child(body: Body, writing: int) -> None:
    """The life of a forked process: it never returns."""
    try:
        os.setpgid(0, 0)
        end_with_parent()
        with os.fdopen(writing, "w", buffering=1) as out:
            body(lambda value: print(json.dumps(value), file=out))
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the keeper tells of it
        import traceback

        traceback.print_exc()
        os._exit(70)


def serve() -> None:
    """Do what standard input asks for. The first line says how: root, limits, main."""
    end_with_parent()
    said = json.loads(sys.stdin.readline())
    module, _, name = said["main"].partition(":")
    main = getattr(import_module(module), name)
    for needed in _MODULES:
        with contextlib.suppress(ImportError):
            import_module(needed)
    all_seeds()
    keeper = Keeper(Path(said["root"]), Limits(**said["limits"]), main)
    faulthandler.enable(file=2)
    gc.collect()
    gc.freeze()
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if "case" in asked:
            _say({"faults": [fault.as_json() for fault in keeper.alone(Case.of_json(asked["case"]), asked["plant"])]})
        else:
            for each in keeper.chunk(asked["seed"], asked["start"], asked["stop"]):
                _say(each)


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
