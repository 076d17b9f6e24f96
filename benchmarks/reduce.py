"""From 100 MB to the smallest file: `python benchmarks/reduce.py [MEMBER...] [--document]`, for every member of the zoo.

Each member converts in the process that reduces, so the peak of the memory is of both. Inputs are made beforehand, in another
process: of SmolLM2 where that shows the bug, else generated. Prints bytes, conversions, seconds and the peak as Markdown; exit 1
where one takes more than 64 conversions, 60 s or 400 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.reduce.search.candidate import Oracle
from rosetta_ref.reduce.search.input import size_of
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from tests.support.large import large, pair_of, smallest
from tests.support.minimal import least

CALLS, SECONDS, MEGABYTES = 64, 60.0, 400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="*", metavar="MEMBER")
    parser.add_argument("--made", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reduced", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.made or options.reduced:
        print(
            json.dumps(
                _made(*options.members, *options.made) if options.made else _reduced(*options.members, *options.reduced)
            )
        )
        return 0
    print("| bug | made of | bytes | smallest | holds | conversions | seconds | MB |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |")
    names = options.members or [member.id for member in MEMBERS.values() if not member.waiting_for]
    worst = [_row(name) for name in names]
    calls, seconds, peak = (max(row[place] for row in worst) for place in range(3))
    print(f"\n{len(worst)} bugs; at most {calls} conversions, {seconds:.1f} s, {peak} MB")
    return int(calls > CALLS or seconds > SECONDS or peak > MEGABYTES)


def _row(name: str) -> tuple[int, float, int]:
    with tempfile.TemporaryDirectory(prefix="rosetta-large-") as folder:
        made = _child(name, "--made", folder, folder)
        found = _child(name, "--reduced", made["path"], folder)
    why = least(name, made["word"]).why
    print(f"| {name} | {made['word']} | {made['bytes']:,} | {found['bytes']:,} | {why or 'one tensor of one block'} | "
          f"{found['calls']} | {found['seconds']:.1f} | {found['peak']} |", flush=True)  # fmt: skip
    return found["calls"], found["seconds"], found["peak"]


def _child(name: str, what: str, *paths: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, name, what, *map(str, paths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _made(name: str, folder: Path, _: Path) -> dict[str, Any]:
    """The first input that shows the bug."""
    member = MEMBERS[name]
    small = smallest(member, folder / "small")
    for word, path in large(member, small, folder):
        with Workspace(folder) as work:
            seen = Oracle(converter(member), pair_of(member, small)[1], work).look(path)
        if seen.findings and seen.target is not None:
            return {"word": word, "path": str(path), "bytes": size_of(path)}
    raise SystemExit(f"no large input shows {name}")


def _reduced(name: str, path: Path, folder: Path) -> dict[str, Any]:
    member = MEMBERS[name]
    began = time.perf_counter()
    made = run(converter(member), Asked(path, pair_of(member, path)[1], output=folder / "out"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"bytes": made.after, "calls": made.found.calls, "seconds": time.perf_counter() - began, "peak": peak}


if __name__ == "__main__":
    raise SystemExit(main())
