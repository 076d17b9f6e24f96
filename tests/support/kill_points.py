"""Conversions that are killed at every step they take on the disk: `python -m tests.support.kill_points` counts them all.

A step is a call that opens, makes, writes, waits for, links, renames or removes something. For each, a forked process runs the conversion
and ends there as a kill does (a write when half of it is done). Then the target is the old one or the new one, to the byte, with
all that is beside it; or the readers of this package refuse it as half published. The next run, be it one that is refused without
--force, makes it the old one or the new one; with --force it leaves the new one and nothing else.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.convert import convert
from rosetta_ref.convert.publish import disk
from rosetta_ref.convert.publish import place as place_module
from rosetta_ref.convert.publish.rules import TargetExistsError
from rosetta_ref.convert.source import read_source
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.unfinished import HalfPublishedError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"
KILLED = 137
_STEPS = (
    "open", "mkdir", "write", "fsync", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "chmod", "chown",
    "truncate", "ftruncate", "utime",
)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """A conversion of the source (`m.gguf` or `m.apr`) to `target` in an empty folder, or onto what `before` put there.

    `without` takes a part of the system away: "exchange", "links", or "beside" (a folder beside the target). `sums` is where --checksums goes.
    """

    name: str
    target: str
    before: bool = False
    without: tuple[str, ...] = ()
    sums: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def apart(self) -> bool:
        """Whether the manifest is a file apart: after a kill it may be missing, and is never that of the other model."""
        return (
            self.sums is not None
            and (Path(self.target).suffix == "" or "/" in self.sums)
            and not self.sums.startswith(self.target)
        )


SCENARIOS = (
    Scenario("a new directory", "hf", options={"max_shard_size": 150_000}),
    Scenario("a directory", "hf", before=True),
    Scenario("a directory, without exchange", "hf", before=True, without=("exchange",)),
    Scenario("a directory, without links", "hf", before=True, without=("links",)),
    Scenario("a directory on a disk of its own", "hf", before=True, without=("beside",)),
    Scenario("a directory with a manifest", "hf", before=True, sums="hf/sums.json"),
    Scenario("a directory, its manifest beside", "hf", before=True, sums="sums.json"),
    Scenario("one by one, its manifest beside", "hf", before=True, without=("exchange",), sums="sums.json"),
    Scenario("a new file with companions", "m.safetensors"),
    Scenario("a file with companions", "m.safetensors", before=True),
    Scenario("a file with fewer companions", "m.safetensors", before=True, options={"keep_blocks": False}),
    Scenario("a file with companions and a manifest", "m.safetensors", before=True, sums="sums.json"),
    Scenario("a new GGUF file", "m.gguf"),
    Scenario("a GGUF file", "m.gguf", before=True),
    Scenario("a GGUF file with a manifest", "m.gguf", before=True, sums="sums.json"),
    Scenario("an APR file", "m.apr", before=True),
    Scenario("an APR file, its manifest elsewhere", "m.apr", before=True, sums="elsewhere/sums.json"),
)  # fmt: skip


class Workshop:
    """Sources and former targets, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {".gguf": folder / "new.apr", "": folder / "new.gguf"}
        shutil.copy(DEMO, folder / "new.gguf")
        convert(DEMO, folder / "new.apr")
        with gguf.read(DEMO) as model:  # another model: other weights, another configuration, another name
            for key, value in list(model.metadata.items()):
                if key.endswith(".context_length"):
                    model.metadata[key] = type(value).scalar(value.kind, 99)
            gguf.write(model, folder / "old.gguf")
        data = bytearray((folder / "old.gguf").read_bytes())
        data[-64:] = bytes(64)
        (folder / "old.gguf").write_bytes(bytes(data))
        convert(folder / "old.gguf", folder / "old.apr")

    def source(self, scenario: Scenario, age: str = "new") -> Path:
        """What is converted."""
        return self.folder / (f"{age}.apr" if scenario.target.endswith(".gguf") else f"{age}.gguf")

    def prepare(self, scenario: Scenario, place: Path) -> None:
        """The folder as it is before the conversion."""
        (place / "elsewhere").mkdir(parents=True)
        if scenario.before:
            target = place / scenario.target
            options = {"max_shard_size": 150_000} if target.suffix == "" else {}
            convert(self.source(scenario, "old"), target, **options)
            if scenario.sums is not None:
                convert(self.source(scenario, "old"), target, checksums=place / scenario.sums, force=True, **options)
            if target.suffix == "":
                _add_other_files(target)
        (place / "README.md").write_text("somebody's")


def _add_other_files(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "sub" / "deeper" / "notes.txt").write_text("mine, too")
    (folder / "sub" / "empty").mkdir()
    (folder / "sub" / "link").symlink_to("../README.md")
    (folder / "rosetta" / "mine.txt").write_text("beside what is kept")
    (folder / "README.md").chmod(0o640)


def content(folder: Path) -> dict[str, str]:
    """All that a folder holds, by name: a digest, where a link leads, or that it is a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[name] = f"-> {os.readlink(path)}"
        elif stat.S_ISDIR(mode):
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(workshop: Workshop, scenario: Scenario, place: Path, *, force: bool = True) -> None:
    """The conversion."""
    sums = {} if scenario.sums is None else {"checksums": place / scenario.sums}
    convert(workshop.source(scenario), place / scenario.target, force=force, **sums, **scenario.options)


def run_refused(workshop: Workshop, scenario: Scenario, place: Path) -> None:
    """The conversion without --force: what a killed run had decided is finished, and nothing else is done where a target is there."""
    with contextlib.suppress(TargetExistsError):
        run(workshop, scenario, place, force=False)


def in_child(action: Callable[[], object]) -> int:
    """The exit code of a forked process that does something: 0, 9 for an exception (which is printed), or its own."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 9
        try:
            action()
            code = 0
        except BaseException:  # noqa: BLE001 - the child ends here
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def counted(steps: list[str], last: int | None, error: int | None = None) -> Iterator[None]:
    """Note each step on the disk; end the process at the step of that number, the first is 1, or let it fail with that error."""
    before = {name: getattr(os, name) for name in _STEPS}
    opened, renamed = builtins.open, disk._renamed

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            steps.append("create" if name == "open" and args[1] & os.O_CREAT else name)
            if len(steps) == last:
                if name == "write":
                    call(args[0], memoryview(args[1])[: len(args[1]) // 2])
                if error is not None:
                    raise OSError(error, os.strerror(error))
                os._exit(KILLED)
            return call(*args, **named)

        return step

    for name in _STEPS:
        setattr(os, name, noted(name, before[name]))
    disk._renamed = noted("renameat2", renamed)  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in _STEPS:
            setattr(os, name, before[name])
        disk._renamed = renamed
        builtins.open = opened


@contextmanager
def deprived(scenario: Scenario) -> Iterator[None]:
    """A system without something."""
    exchange, link, beside = disk.exchange, os.link, place_module._can_be_exchanged

    def no_link(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    if "exchange" in scenario.without:
        disk.exchange = lambda *_: False
    if "links" in scenario.without:
        os.link = no_link
    if "beside" in scenario.without:
        place_module._can_be_exchanged = lambda *_: False
    try:
        yield
    finally:
        disk.exchange, os.link, place_module._can_be_exchanged = exchange, link, beside


def deprived_run(call: Callable[..., None], *arguments: Any) -> None:
    """One of the runs on such a system."""
    with deprived(arguments[1]):
        call(*arguments)


def steps_of(workshop: Workshop, scenario: Scenario, place: Path) -> list[str]:
    """The names of the steps that the conversion takes, as the parent sees them in a file of the child's."""
    report = place.with_name(place.name + ".steps")

    def action() -> None:
        steps: list[str] = []
        with deprived(scenario), counted(steps, None):
            run(workshop, scenario, place)
        report.write_text(" ".join(steps))

    assert in_child(action) == 0, scenario.name
    return report.read_text().split()


def killed_at(workshop: Workshop, scenario: Scenario, place: Path, last: int) -> int:
    """Run the conversion up to that step."""

    def action() -> None:
        with deprived(scenario), counted([], last):
            run(workshop, scenario, place)

    return in_child(action)


def half_published(path: Path) -> bool:
    """Whether all readers say so."""
    said = []
    for read in (sniff, open_archive, lambda path: read_source(path, "safetensors")):
        try:
            read(path)
        except HalfPublishedError:
            said.append(True)
        except (RosettaError, OSError):
            said.append(False)
        else:
            said.append(False)
    return all(said) if path.suffix not in (".gguf", ".apr") else said[0] and said[1]


def weights_in(state: dict[str, str], scenario: Scenario) -> bool:
    """Whether anything has the name of weights."""
    names = {"m.safetensors", "m.gguf", "m.apr"}
    return any(name in names or (name.startswith("hf/model") and name.endswith(".safetensors")) for name in state)


def judge(scenario: Scenario, place: Path, old: dict[str, str], new: dict[str, str]) -> str:
    """Whether a kill left the "old" or the "new" target, or is refused as "half"; else what is wrong with it."""
    left = {name: said for name, said in content(place).items() if ".partial" not in name}
    for name, state in (("old", old), ("new", new)):
        if left == state:
            return name
        without = {one: said for one, said in state.items() if one != scenario.sums}
        if scenario.apart and left == without:
            return name
    different = sorted(n for n in left.keys() | new.keys() if left.get(n) != new.get(n))
    if not half_published(place / scenario.target):
        return f"a mixture that is read: {different}"
    if weights_in(left, scenario) and not scenario.before:
        return f"weights before the rest: {different}"
    mixed = [
        name
        for name in left
        if left[name] not in (old.get(name), new.get(name)) or (name not in new and name not in old)
    ]
    return f"neither old nor new: {mixed}" if mixed else "half"


@dataclass
class Counts:
    """What came of the kills of one scenario."""

    steps: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def try_scenario(
    workshop: Workshop, scenario: Scenario, folder: Path, choose: Callable[[list[str]], list[int]]
) -> Counts:
    """Kill the conversion at the chosen steps (numbers from 1), one after the other."""
    start = folder / "start"
    workshop.prepare(scenario, start)
    old = content(start)
    whole = _copy(start, folder / "whole")
    steps = steps_of(workshop, scenario, whole)
    new = content(whole)
    counts = Counts()
    if any(".partial" in name for name in new):
        counts.wrong.append("something partial is left without any kill")
    for last in choose(steps):
        place = _copy(start, folder / "now")
        code = killed_at(workshop, scenario, place, last)
        counts.steps[steps[last - 1]] += 1
        kind = judge(scenario, place, old, new) if code == KILLED else f"exit code {code}"
        counts.left[kind if kind in ("old", "new", "half") else "wrong"] += 1
        if kind not in ("old", "new", "half"):
            counts.wrong.append(f"step {last} of {len(steps)}, {steps[last - 1]}: {kind}")
        code = in_child(lambda place=place: deprived_run(run_refused, workshop, scenario, place))  # type: ignore[misc]
        again = judge(scenario, place, old, new)
        if code or again not in ("old", "new") or _partial(place, scenario):
            counts.wrong.append(
                f"step {last}, {steps[last - 1]} ({kind}): a refused run ends with {code}, leaves {again}"
            )
        code = in_child(lambda place=place: deprived_run(run, workshop, scenario, place))  # type: ignore[misc]
        if code or content(place) != new:
            after = content(place)
            odd = sorted(name for name in after.keys() | new.keys() if after.get(name) != new.get(name))
            counts.wrong.append(
                f"step {last}, {steps[last - 1]} ({kind}): the next run ends with {code}, differing in {odd}"
            )
        shutil.rmtree(place)
    shutil.rmtree(start)
    shutil.rmtree(whole)
    return counts


def _partial(place: Path, scenario: Scenario) -> list[str]:
    """What is partial; a manifest apart is the business of the run that writes it."""
    found = [path.name for path in place.rglob("*.partial*")]
    return [name for name in found if not (scenario.apart and name.startswith(".sums.json"))]


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to, symlinks=True)
    return to


def every(steps: list[str]) -> list[int]:
    """All of them."""
    return list(range(1, len(steps) + 1))


def a_few(count: int) -> Callable[[list[str]], list[int]]:
    """So many, spread over the second half, where things are put in place, and one of the first."""

    def choose(steps: list[str]) -> list[int]:
        half = len(steps) // 2
        return sorted(
            {half // 2, *(half + 1 + index * (len(steps) - half - 1) // count for index in range(count))} - {0}
        )

    return choose


def main() -> int:
    """Kill all scenarios at all steps, print the counts; 1 where something is wrong."""
    began, total, wrong = time.perf_counter(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name:
        workshop = Workshop(Path(name))
        for scenario in SCENARIOS:
            counts = try_scenario(workshop, scenario, Path(name), every)
            total += counts.left
            wrong += len(counts.wrong)
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.steps.items()))
            left = ", ".join(f"{kind} {counts.left[kind]}" for kind in ("old", "new", "half"))
            print(
                f"{scenario.name}: {sum(counts.steps.values())} kills ({kinds}); left: {left}; wrong: {len(counts.wrong)}",
                flush=True,
            )
            for line in counts.wrong[:10]:
                print(f"    {line}")
    print(
        f"{sum(total.values())} kills in {len(SCENARIOS)} scenarios, {time.perf_counter() - began:.0f} s: "
        f"{total['old']} left the old target, {total['new']} the new one, {total['half']} one that is refused; {wrong} wrong"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
