"""`rosetta-ref gate --converter ...`."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rosetta_ref import foreign
from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError, safe_line, unforeseen
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.interrupt import ENDING
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.report import files
from rosetta_ref.gate.report.verdict import RunVerdict
from rosetta_ref.gate.run import request
from rosetta_ref.gate.run.extent import Extent
from rosetta_ref.gate.run.progress import Progress
from rosetta_ref.gate.run.request import Request
from rosetta_ref.units import at_least_one, duration, part

if TYPE_CHECKING:
    from rosetta_ref.gate.run.engine import Failure
    from rosetta_ref.reduce.reproductions import Explained

#: Seconds between two lines of a log.
_EVERY = 15.0
#: Seconds for the reproductions of a run that was stopped: whoever stops one waits about ten before he ends it for good.
_STOPPED = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    named.add_arguments(parser)
    request.add_flags(parser)
    parser.add_argument(
        "--jobs", type=at_least_one, metavar="N", help="conversions at once (default: one for each core)"
    )
    parser.add_argument("--budget", type=duration, metavar="TIME",
                        help="stop after that time (60s, 5min), the cases first that show most")  # fmt: skip
    parser.add_argument("--part", type=part, metavar="I/N",
                        help="only part I of N; `rosetta-ref merge` puts the results of all parts together")  # fmt: skip
    parser.add_argument(
        "--migrate",
        type=Path,
        metavar="FILE",
        help="only rewrite a file of expectations, a result.json or a rosetta.toml to today's names",
    )
    parser.add_argument("--write-expectations", type=Path, metavar="FILE", help="draft expected failures from this run")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Run the gate: 0 all as expected, 1 something unexpected, 2 usage or harness."""
    try:
        return _migrated(arguments, out, err) if arguments.migrate is not None else _judge(arguments, out, err)
    except BrokenPipeError:  # whoever reads has enough
        raise
    except Exception as error:  # noqa: BLE001 - what is wrong here says nothing of the converter, as 1 would
        say_error(err, f"the gate itself has failed: {unforeseen(error)}")
        return 2


def _migrated(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    from rosetta_ref.gate.report.migrate import migrate

    try:
        changed = migrate(arguments.migrate)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    if not arguments.quiet:
        say(out, f"{arguments.migrate}: {'rewritten' if changed else 'nothing to rewrite'}")
    return 0


def _judge(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    from rosetta_ref.gate.report import summary

    extent = Extent(arguments.part, arguments.budget, keeps=True)
    began = time.perf_counter()
    try:
        asked = Request.of(arguments, drafting=arguments.write_expectations is not None)
        told = _Told(asked, extent, began)
        results = _results(asked, extent, told, arguments, err)
        found, info = told.written(results)
        if arguments.write_expectations is not None:
            _draft(arguments.write_expectations, results, whole=info.whole)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    entry = asked.converter.entry
    if arguments.json:
        print_json(files.result_json(results, found, entry, info))
    elif not arguments.quiet:
        for part in summary.tables(results, found, entry, request.points(results), reproduce=asked.reproduce):
            out.print(part)
    if info.partial is not None and info.partial.stopped is None:
        say(err, str(info.partial))
    for line in found.errors:
        say_error(err, line)
    if not arguments.json:
        say(out, f"{len(results):,} cases, {info.seconds:.1f} s")
    if extent.stopped is not None:
        raise extent.stopped
    return found.exit_code


class _Told:
    """What a run tells: its verdict, and the files of it. A run that is stopped writes them before anything else."""

    def __init__(self, asked: Request, extent: Extent, began: float) -> None:
        self._asked, self._extent, self._began = asked, extent, began

    def written(self, results: Sequence[Result]) -> tuple[RunVerdict, files.RunInfo]:
        """Judge what has been answered, and write it."""
        partial = self._extent.partial
        if partial is not None and self._asked.only:
            partial = replace(partial, selected=True)
        whole = not self._asked.only and partial is None
        found = self._asked.judge(results, whole=whole)
        if partial is not None and partial.stopped is not None:
            found.errors.append(str(partial))
        info = replace(self._asked.info(time.perf_counter() - self._began, whole=whole), partial=partial)
        self._asked.write(results, found, info)
        return found, info


def _results(
    asked: Request, extent: Extent, told: _Told, arguments: argparse.Namespace, err: Console
) -> list[Result]:  # fmt: skip
    from rosetta_ref.gate.run.engine import run as answer

    made: list[Result] = []
    so_far: list[Result] = []
    failures = _Failures(asked, extent, lambda: told.written(request.first_bad(so_far)))
    progress = Progress(lambda: len(extent.planned) * len(asked.seeds), asked.is_expected, lambda: extent.left)
    with _shown(progress, err, quiet=arguments.quiet) as on_result:

        def take(result: Result) -> None:
            so_far.append(result)
            on_result(result)

        for seed in asked.seeds:
            if extent.is_over:
                break
            made += answer(
                asked.converter,
                seed=seed,
                samples=asked.samples(seed),
                only=asked.only,
                jobs=arguments.jobs,
                on_result=take,
                on_failure=failures,
                extent=extent,
            )
    for line in failures.errors:
        say_error(err, line)
    for line in failures.notes if not arguments.quiet else ():
        say(err, line)
    return request.first_bad(made)


@contextmanager
def _shown(progress: Progress, err: Console, *, quiet: bool) -> Iterator[Callable[[Result], None]]:
    """Show it while answers come: on a terminal a line that changes, elsewhere a line now and then, so that a log has it.

    What is given takes the answers, from any thread.
    """
    lock, last = threading.Lock(), [time.monotonic()]
    with err.status("") as status:

        def on_result(result: Result) -> None:
            with lock:
                progress.add(result)
                if err.is_terminal:
                    status.update(safe_line(str(progress)))
                elif not quiet and time.monotonic() - last[0] >= _EVERY:
                    last[0] = time.monotonic()
                    say(err, str(progress))

        yield on_result


class _Failures:
    """What is done about failures. A run without any loads nothing that names or reduces them."""

    def __init__(self, asked: Request, extent: Extent, write: Callable[[], object]) -> None:
        self._asked, self._extent, self._write = asked, extent, write
        self._explained: Explained | None = None

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Name and reduce them. Of a run that was stopped its files come first: whoever stopped it may end it for good."""
        stopped = self._extent.stopped is not None
        if stopped:
            self._write()
        if not failures or ENDING.is_set():
            return
        from rosetta_ref.reduce.reproductions import Explained

        self._explained = self._explained or Explained.of(self._asked)
        if (left := _STOPPED if stopped else self._extent.left) is not None:
            self._explained.hurry(left)
        self._explained(failures)

    @property
    def errors(self) -> list[str]:
        """What went wrong on the way; the verdicts stand."""
        return self._explained.errors if self._explained is not None else []

    @property
    def notes(self) -> list[str]:
        """What was left out of what is done about them."""
        return self._explained.notes if self._explained is not None else []


def _draft(path: Path, results: Sequence[Result], *, whole: bool) -> None:
    from rosetta_ref.gate.report import draft

    existing = foreign.text_of(foreign.read_file(path, "yaml-bytes"), file=path) if path.exists() else ""
    path.write_text(draft.draft(results, existing, facts=request.platform(), whole=whole), encoding="utf-8")
