"""`rosetta-ref zoo [MEMBER...]`."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, print_table, say, say_error
from rosetta_ref.units import at_least_one

if TYPE_CHECKING:
    from rosetta_ref.zoo.trial.tally import Standing

#: How many lines say why a run is void.
_SHOWN = 20
#: Seeds of one run, and processes at once.
_MOST_SEEDS, _MOST_JOBS = 100_000, 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("members", nargs="*", metavar="MEMBER", help="only these (default: all)")
    parser.add_argument(
        "--seeds", type=at_least_one, default=10, metavar="N", help="that many seeds of the inputs (default 10)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the first of them (default 0)")
    parser.add_argument("--every-gate", action="store_true",
                        help="go on behind the first kill, and name every gate that sees a member")  # fmt: skip
    parser.add_argument("--jobs", type=at_least_one, metavar="N", help="seeds at once (default: one for each core)")
    parser.add_argument("--json", action="store_true", help="print the matrix as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Print the kill matrix: 0 all that can die do, 1 one survives, 2 the run is void."""
    from rosetta_ref.zoo import MEMBERS
    from rosetta_ref.zoo.trial.tally import KILLED, tally

    mistake = _mistake(arguments, MEMBERS)
    if mistake is not None:
        say_error(err, mistake)
        return 2
    chosen = [MEMBERS[name] for name in arguments.members] or list(MEMBERS.values())
    began = time.perf_counter()
    with err.status("") as status:
        made = tally(
            chosen,
            range(arguments.seed, arguments.seed + arguments.seeds),
            every_gate=arguments.every_gate,
            jobs=min(arguments.jobs or os.cpu_count() or 1, arguments.seeds, _MOST_JOBS),
            on_result=lambda trial: status.update(f"seed {trial.seed}: {trial.member}"),
        )
    if arguments.json:
        print_json(made.json())
    elif not arguments.quiet:
        headings = ("member", "class", "status", "seeds", "by", "conversions", "seconds")
        rows = [_row(standing) for standing in made.standings]
        print_table(out, "the kill matrix", headings, rows, right=("seeds", "conversions", "seconds"))
    for line in made.void[:_SHOWN]:
        say_error(err, f"void: {line}")
    if not arguments.json:
        counts = f"{made.count(KILLED)} of {len(made.standings)} members killed on each of {len(made.seeds)} seeds"
        others = ", ".join(
            f"{count} {status}" for status in ("survived", "equivalent", "waiting") if (count := made.count(status))
        )
        say(out, f"{counts}{f' ({others})' if others else ''}, {time.perf_counter() - began:.0f} s")
    return made.exit_code


def _mistake(arguments: argparse.Namespace, members: Collection[str]) -> str | None:
    """What is wrong with the command; None where nothing is."""
    unknown = [name for name in arguments.members if name not in members]
    if unknown:
        return f"there is no member {unknown[0]!r}"
    if not 1 <= arguments.seeds <= _MOST_SEEDS:
        return f"1 to {_MOST_SEEDS:,} seeds can be run, not {arguments.seeds}"
    if not 0 <= arguments.seed < 1 << 32:
        return f"a seed is a number from 0 to {(1 << 32) - 1}, not {arguments.seed}"
    return None


def _row(standing: Standing) -> tuple[object, ...]:
    member, trials = standing.member, standing.trials
    gates = ", ".join(gate.removeprefix("F-CONV-") for gate, _ in standing.gates.most_common())
    return (
        member.id,
        member.klass,
        f"waiting for {member.waiting_for}" if member.waiting_for else standing.status,
        f"{len(standing.firsts)}/{len(trials)}" if trials else "-",
        gates or "-",
        "-" if standing.conversions is None else f"{standing.conversions:g}",
        "-" if standing.seconds is None else f"{standing.seconds:.2f}",
    )
