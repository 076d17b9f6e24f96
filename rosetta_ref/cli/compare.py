"""`rosetta-ref compare OLD NEW`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", type=Path, metavar="OLD", help="the result.json of a run")
    parser.add_argument("new", type=Path, metavar="NEW", help="that of a later one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Compare, and print what changed. Files that are no runs, or have no case in common, give 2."""
    from rosetta_ref.gate.report.history import HistoryError, compare, read

    try:
        changes = compare(read(arguments.old), read(arguments.new))
    except (HistoryError, OSError) as error:
        say_error(err, str(error.at(file=arguments.new) if isinstance(error, HistoryError) else error))
        return 2
    if arguments.json:
        print_json(changes.to_json())
        return 1 if changes.worse else 0
    for name, cases in changes.groups():
        for then in cases:
            say(out, f"{name}: {then}")
    for note in changes.notes:
        say(out, f"note: {note}")
    counted = ", ".join(f"{len(cases)} {name}" for name, cases in changes.groups())
    say(out, f"{'BROKEN' if changes.worse else 'nothing broke'}: {counted}, {changes.same} as before")
    return 1 if changes.worse else 0
