"""`rosetta-ref gate --converter ...`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rosetta_ref import foreign
from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.run import request
from rosetta_ref.gate.run.request import Request
from rosetta_ref.units import at_least_one

if TYPE_CHECKING:
    from rosetta_ref.gate.run.engine import Failure
    from rosetta_ref.reduce.reproductions import Explained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    named.add_arguments(parser)
    request.add_flags(parser)
    parser.add_argument(
        "--jobs", type=at_least_one, metavar="N", help="conversions at once (default: one for each core)"
    )
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
    from rosetta_ref.gate.report import files, summary

    try:
        asked = Request.of(arguments, drafting=arguments.write_expectations is not None)
        began = time.perf_counter()
        results = _results(asked, arguments.jobs, err, quiet=arguments.quiet)
        whole = not asked.only
        found = asked.judge(results, whole=whole)
        info = asked.info(time.perf_counter() - began, whole=whole)
        asked.write(results, found, info)
        if arguments.write_expectations is not None:
            _draft(arguments.write_expectations, results, whole=whole)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    entry = asked.converter.entry
    if arguments.json:
        print_json(files.result_json(results, found, entry, info))
    elif not arguments.quiet:
        for part in summary.tables(results, found, entry, request.points(results), reproduce=asked.reproduce):
            out.print(part)
    for line in found.errors:
        say_error(err, line)
    if not arguments.json:
        say(out, f"{len(results):,} cases, {info.seconds:.1f} s")
    return found.exit_code


def _results(asked: Request, jobs: int | None, err: Console, *, quiet: bool = False) -> list[Result]:
    from rosetta_ref.gate.run.engine import run as answer

    made: list[Result] = []
    failures = _Failures(asked)
    with err.status("") as status:
        for seed in asked.seeds:
            made += answer(
                asked.converter,
                seed=seed,
                samples=asked.samples(seed),
                only=asked.only,
                jobs=jobs,
                on_result=lambda result: status.update(f"{result.case}: {result.outcome}"),
                on_failure=failures,
            )
    for line in failures.errors:
        say_error(err, line)
    for line in failures.notes if not quiet else ():
        say(err, line)
    return request.first_bad(made)


class _Failures:
    """What is done about failures. A run without any loads nothing that names or reduces them."""

    def __init__(self, asked: Request) -> None:
        self._asked = asked
        self._explained: Explained | None = None

    def __call__(self, failures: Sequence[Failure]) -> None:
        """Name and reduce them."""
        if failures:
            from rosetta_ref.reduce.reproductions import Explained

            self._explained = self._explained or Explained.of(self._asked)
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
