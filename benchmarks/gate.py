"""What the full gate costs: calls of the converter, cases and seconds, for one that takes 0.3 s a call and one that takes 10 ms.

    python benchmarks/gate.py [--jobs 2] [--repeat 3]

Under test is the reference in processes of its own, as many as there are jobs, where each call lasts as long as it is told: what it
needs less is slept. So the figures are those of a converter that is right, which answers every case.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rosetta_ref.gate.converter.bundled import entry
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.run.request import Request

#: Seconds of a call, and those that the whole gate may take on two cores.
GOALS = {0.3: 90.0, 0.01: 25.0}
#: What differs most between converters: whether they take tensors that are no model, and whether they quantise.
SHAPES = {
    "everything": entry("reference"),
    "whole models, all pairs": replace(entry("reference"), whole_models=True, quantises=()),
    "GGUF -> APR": replace(entry("reference"), pairs=("G-A",), quantises=()),
}


class Slow:
    """The reference, no faster than that."""

    def __init__(self, claims: Entry, seconds: float, pool: ProcessPoolExecutor) -> None:
        self.entry, self._seconds, self._pool = claims, seconds, pool
        self.calls = 0

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert in another process."""
        self.calls += 1
        return self._pool.submit(_call, src, dst, type, self._seconds).result()


def _call(src: Path, dst: Path, kind: str | None, seconds: float) -> Run:
    began = time.perf_counter()
    made = _reference().convert(src, dst, type=kind)
    time.sleep(max(seconds - (time.perf_counter() - began), 0))
    return replace(made, seconds=time.perf_counter() - began)


_kept: list[Function] = []


def _reference() -> Function:
    if not _kept:
        _kept.append(Function(entry("reference")))
    return _kept[0]


def _warm(_: int) -> str:
    _reference()
    time.sleep(0.2)
    return ACCEPTED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print("| converter | a call | cases | calls | seconds | goal |\n|---|---:|---:|---:|---:|---:|")
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(_warm, range(2 * arguments.jobs)))
        for name, claims in SHAPES.items():
            for seconds, goal in GOALS.items():
                times = []
                for _ in range(arguments.repeat):
                    slow = Slow(claims, seconds, pool)
                    asked, began = Request(slow), time.perf_counter()
                    results = run(slow, samples=asked.samples(0), jobs=arguments.jobs)
                    found = asked.judge(results, whole=True)
                    times.append(time.perf_counter() - began)
                    if bad := [*found.errors, *found.failures]:
                        raise SystemExit(f"the reference fell: {bad[0]}")
                median = statistics.median(times)
                print(
                    f"| {name} | {seconds:g} s | {len(results):,} | {slow.calls} | {median:.1f} | {goal:g} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
