"""`rosetta-ref gate --converter ...`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate import entries
from rosetta_ref.gate.converter import Converter
from rosetta_ref.gate.result import Result

HELP = (
    "judge a converter: every pair, chain and malformed file, with evidence and a score; exit 1 for anything unexpected"
)
#: Seeds of a profile: one run is one seed.
PROFILES = {"default": 1, "nightly": 10}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    entries.add_arguments(parser)
    parser.add_argument("--case", action="append", default=[], metavar="PATTERN",
                        help="only the cases that match (F-CONV-001/*); may be repeated")  # fmt: skip
    parser.add_argument("--model", type=Path, action="append", default=[], metavar="FILE",
                        help="run every gate on this model as well; may be repeated")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default 0)")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="default", help="default: one seed; nightly: ten")
    parser.add_argument("--jobs", type=int, metavar="N", help="conversions at once (default: one for each core)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write result.json, evidence.json and summary.md")
    parser.add_argument("--write-expectations", type=Path, metavar="FILE", help="draft expected failures from this run")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Run the gate: 0 all as expected, 1 something unexpected, 2 usage or harness."""
    from rosetta_ref.gate import expectations, record, summary, verdict
    from rosetta_ref.gate.score import Case, score

    try:
        converter = entries.from_arguments(arguments)
        file = converter.entry.expectations
        drafting = arguments.write_expectations is not None
        expected = expectations.load(file, drafting=drafting) if file is not None and file.exists() else []
        began = time.perf_counter()
        results = _results(converter, arguments, err)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    whole = not arguments.case
    found = verdict.judge(results, expected, datetime.now(UTC).date(), facts=_facts(), whole=whole)
    info = record.RunInfo(arguments.seed, arguments.profile, seconds=round(time.perf_counter() - began, 3), whole=whole)
    points = score(Case.of(result) for result in results) if results else None
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        record.write_result(arguments.output / "result.json", results, found, converter.entry, info)
        record.write_evidence(arguments.output / "evidence.json", results, converter.entry)
        text = summary.markdown(results, found, converter.entry, points)
        (arguments.output / "summary.md").write_text(text, encoding="utf-8")
    if drafting:
        _draft(arguments.write_expectations, results)
    if arguments.json:
        print_json(record.result_json(results, found, converter.entry, info))
    elif not arguments.quiet:
        for part in summary.tables(results, found, converter.entry, points):
            out.print(part)
    for line in found.errors:
        say_error(err, line)
    if not arguments.json:
        say(out, f"{len(results):,} cases, {info.seconds:.1f} s")
    return found.exit_code


def _results(converter: Converter, arguments: argparse.Namespace, err: Console) -> list[Result]:
    """Of each seed of the profile; a case has one result, the first that is not Corroborated."""
    from rosetta_ref.gate.real import real_samples
    from rosetta_ref.gate.run import run as answer
    from rosetta_ref.gate.run import samples_for

    real = real_samples(arguments.model)
    merged: dict[str, Result] = {}
    with err.status("") as status:
        for seed in range(arguments.seed, arguments.seed + PROFILES[arguments.profile]):
            found = answer(
                converter,
                seed=seed,
                samples=[*samples_for(converter.entry, seed), *(real if seed == arguments.seed else ())],
                only=arguments.case,
                jobs=arguments.jobs,
                told=lambda result: status.update(f"{result.case}: {result.outcome}"),
            )
            for result in found:
                before = merged.get(result.case)
                if before is None or before.outcome == "Corroborated":
                    merged[result.case] = result
    return list(merged.values())


def _facts() -> dict[str, str]:
    """What conditions of expectations may ask for."""
    import platform
    import sys

    return {"platform": sys.platform, "machine": platform.machine(), "python": platform.python_version()}


def _draft(path: Path, results: Sequence[Result]) -> None:
    from rosetta_ref.gate import draft

    existing = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(draft.draft(results, existing), encoding="utf-8")
