"""`rosetta-ref merge PART...`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART", help="the result.json of `gate --part 1/3`, ...")
    parser.add_argument("--expectations", type=Path, metavar="FILE", help="default: the file that the entry names")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write result.json, evidence.json and summary.md")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Put the parts together and judge them: 0 all as expected, 1 something unexpected, 2 no parts of one run."""
    from rosetta_ref.gate.report import expectations, files, summary
    from rosetta_ref.gate.report.merge import merge
    from rosetta_ref.gate.run import request

    try:
        made = merge(arguments.parts)
        file = arguments.expectations or made.entry.expectations
        expected = expectations.load(file) if file is not None else []
        found = request.judged(made.results, expected, whole=made.info.whole)
        partial = made.info.partial
        if partial is not None and partial.stopped is not None:
            found.errors.append(str(partial))
        if arguments.output is not None:
            request.write(arguments.output, made.results, found, made.entry, made.info, summary.reproduce)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    if arguments.json:
        print_json(files.result_json(made.results, found, made.entry, made.info))
    elif not arguments.quiet:
        for part in summary.tables(made.results, found, made.entry, request.points(made.results)):
            out.print(part)
    if partial is not None and partial.stopped is None:
        say(err, str(partial))
    for line in found.errors:
        say_error(err, line)
    if not arguments.json:
        say(out, f"{len(made.results):,} cases in {len(arguments.parts)} parts, {made.info.seconds:.1f} s in all")
    return found.exit_code
