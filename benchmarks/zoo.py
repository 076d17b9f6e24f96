"""Does the gate see the bugs that really happened, and how soon? `python benchmarks/zoo.py [--every-gate] [--document] [--kinds]`.

The kill matrix as Markdown, with the time and the conversions up to the first kill, medians of the seeds; the inputs are made once
for each seed, and not counted. `--every-gate` adds the gates that see a member when none stops at the first kill, on seed 0;
`--document` prints docs/zoo.md instead, `--kinds` docs/kinds.md from what docs/zoo.md says.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.trial import kinds_document
from rosetta_ref.zoo.trial.document import document, kills_of
from rosetta_ref.zoo.trial.tally import KILLED, SURVIVED, WAITING, Tally, tally

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="seeds at once")
    parser.add_argument("--every-gate", action="store_true")
    parser.add_argument("--document", action="store_true")
    parser.add_argument("--kinds", action="store_true")
    options = parser.parse_args()
    members, began = list(MEMBERS.values()), time.perf_counter()
    if options.kinds:
        kills = kills_of(PAGE.read_text("utf-8"))
        shown = kinds_document.shown_by(kinds_document.trials(kills))
        print(kinds_document.document(shown, kinds_document.found_in(trophies())), end="")
        return 0
    every = tally(members, [0], every_gate=True) if options.every_gate or options.document else None
    if options.document:
        print(_page(every), end="")
        return every.exit_code
    made = tally(members, range(options.seeds), jobs=options.jobs)
    _print(made, every, time.perf_counter() - began)
    return made.exit_code


def trophies() -> dict[str, list[dict[str, Any]]]:
    """The evidence of released converters, by name."""
    paths = sorted((PAGE.parent / "trophies").glob("*.evidence.json.xz"))
    return {
        path.name.removesuffix(".evidence.json.xz"): json.loads(lzma.decompress(path.read_bytes())) for path in paths
    }


def _page(every: Tally) -> str:
    return document({one.member.id: (one.firsts[0].case, list(one.gates)) for one in every.standings if one.firsts})


def _print(made: Tally, every: Tally | None, seconds: float) -> None:
    gates = {one.member.id: one.gates for one in (every or made).standings}
    print("| member | class | killed | by | first case | conversions | seconds |\n|---|---|---|---|---|---|---|")
    for one in made.standings:
        if one.status == WAITING:
            continue
        by = ", ".join(sorted(gate.removeprefix("F-CONV-") for gate in gates[one.member.id]))
        first = f"`{one.firsts[0].case}` | {one.conversions:g} | {one.seconds:.2f}" if one.firsts else "- | - | -"
        print(f"| `{one.member.id}` | {one.member.klass} | {len(one.firsts)}/{len(one.trials)} | {by} | {first} |")
    times = [one.seconds for one in made.standings if one.seconds is not None]
    counts = ", ".join(f"{made.count(status)} {status}" for status in (SURVIVED, WAITING))
    print(f"\n{made.count(KILLED)} killed on each of {len(made.seeds)} seeds, {counts}; up to the first kill: median "
          f"{median(times):.2f} s, most {max(times):.2f} s; in all {seconds:.0f} s")  # fmt: skip
    for line in made.void:
        print(f"void: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
