"""How long does `rosetta-ref --help` take, against another checkout? `python benchmarks/start.py OTHER [--pairs N]`.

Both sides run in turns, so that a slow minute of the machine hits both; the figures are medians, and the last line is the median of
the ratios of the pairs. Both run with this Python, and each loads the package of its own folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, metavar="OTHER", help="a checkout of another commit")
    parser.add_argument("--pairs", type=int, default=21, metavar="N")
    parser.add_argument("--command", default="--help", metavar="WORDS", help="what is run (default: --help)")
    options = parser.parse_args()
    words = options.command.split()
    for folder in (HERE, options.other):  # byte code, and the files in memory
        seconds(folder, words)
    pairs = [(seconds(HERE, words), seconds(options.other, words)) for _ in range(options.pairs)]
    for name, times in zip(("here", str(options.other)), zip(*pairs, strict=True), strict=True):
        print(f"{name}: {median(times):.3f} s ({min(times):.3f} to {max(times):.3f})")
    print(f"ratio: {median(ours / theirs for ours, theirs in pairs):.2f}, the median of {len(pairs)} pairs")
    return 0


def seconds(folder: Path, words: list[str]) -> float:
    """The command of a checkout, once."""
    environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "rosetta_ref.cli", *words],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
