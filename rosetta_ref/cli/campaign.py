"""`rosetta-ref campaign hostile`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, print_table, say, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.units import at_least_one, seconds

if TYPE_CHECKING:
    from rosetta_ref.campaigns.findings import Record

_MAIN = "rosetta_ref.cli:main"


def _count(text: str) -> int:
    """A number of executions, 1e6 as well as 1000000."""
    try:
        number = int(float(text))
    except (ValueError, OverflowError):
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"not a number of executions: {text!r}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "campaign", choices=("hostile",), metavar="hostile", help="which campaign: inputs that break the rules"
    )
    parser.add_argument(
        "--executions", type=_count, default=10_000, metavar="N", help="how many (default 10,000); 1e6 is a million"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (default 0)")
    parser.add_argument("--jobs", type=at_least_one, metavar="N", help="processes (default: one for each core)")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="begin nothing new after so long")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep findings and a journal there; the next run with it goes on"
    )
    parser.add_argument("--only", type=int, metavar="I", help="run this execution alone")
    parser.add_argument("--replay", type=Path, metavar="FINDING", help="run the case of a finding again")
    parser.add_argument("--self-test", action="store_true", help="plant a fault of each kind, and see that it is found")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Run it: 0 where nothing was found, 1 where something was, 2 where it could not be run."""
    try:
        if arguments.self_test:
            return _self_test(arguments, out)
        if arguments.only is not None or arguments.replay is not None:
            return _one(arguments, out)
        return _campaign(arguments, out, err)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2


def _campaign(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    from rosetta_ref.campaigns.findings import Record
    from rosetta_ref.campaigns.hostile import campaign

    quiet = arguments.quiet or arguments.json
    record = campaign(
        Record.resumed(arguments.seed, arguments.out),
        arguments.executions,
        jobs=arguments.jobs or os.cpu_count() or 1,
        main=_MAIN,
        seconds=arguments.seconds,
        told=lambda line: None if quiet else say(err, line),
    )
    if arguments.json:
        print_json(record.to_json())
    elif not arguments.quiet:
        _print(record, out)
    return 1 if record.findings else 0


def _print(record: Record, out: Console) -> None:
    rows = [(command, f"{number:,}") for command, number in sorted(record.counts.items())]
    print_table(
        out, "executions", ("command and exit code, or what other readers say", "times"), rows, right=("times",)
    )
    if record.findings:
        found = [
            (f.fault.kind, f.fault.command, f.fault.place, f"{f.times:,}", str(f.number), f.fault.detail[:120])
            for f in record.most()
        ]
        headings = ("kind", "command", "place", "times", "execution", "what")
        print_table(out, "findings", headings, found, right=("times", "execution"))
        print_table(out, "by kind", ("kind", "command", "places", "times"), record.table(), right=("places", "times"))
    rate = f", {record.executions / record.seconds:,.0f} a second" if record.seconds else ""
    say(out, f"{record.executions:,} executions of seed {record.seed}{rate}: {len(record.findings) or 'no'} finding(s)")


def _one(arguments: argparse.Namespace, out: Console) -> int:
    from rosetta_ref.campaigns import draw, findings
    from rosetta_ref.campaigns.hostile import Keepers

    case = (
        findings.read(arguments.replay) if arguments.replay is not None else draw.draw(arguments.seed, arguments.only)
    )
    with Keepers(1, _MAIN) as keepers:
        faults = keepers.alone(case)
    if arguments.json:
        print_json({"line": case.line, "labels": case.labels, "faults": [fault.as_json() for fault in faults]})
    else:
        say(out, case.line)
        say(out, f"done to the files: {', '.join(case.labels)}")
        for fault in faults:
            say(out, f"{fault.kind}: {fault.place}: {fault.detail}")
        say(out, f"{len(faults) or 'no'} fault(s)")
    return 1 if faults else 0


def _self_test(arguments: argparse.Namespace, out: Console) -> int:
    from rosetta_ref.campaigns.hostile import self_test
    from rosetta_ref.campaigns.planted import FAULTS

    found = self_test(_MAIN)
    if arguments.json:
        print_json(found)
    else:
        rows = [(name, FAULTS[name][0], "found" if seen else "NOT FOUND") for name, seen in found.items()]
        print_table(out, "planted faults", ("fault", "kind", ""), rows)
        say(out, f"{sum(found.values())} of {len(found)} planted faults found")
    return 0 if all(found.values()) else 1
