"""The numpy engine against llama.cpp on SmolLM2-135M, and what `convert --verify` takes: `python benchmarks/inference.py`.

The sides take turns in one process, on the same F32 file and as many threads; the figure is the median. llama.cpp runs as the
engine of this package has it: F32 cache, no flash attention. Loading is timed against decoding the same tensors, each into an
array of its own. `convert --verify` runs as a user runs it, a process for each conversion; its peak is what the system reports.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import convert as runs

PROMPT, ANSWER = 128, 32
TEXT = (
    "The quick brown fox jumps over the lazy dog while seven wizards count the stars above an old stone bridge in the valley, "
    "and every morning the baker opens his shop before the sun has touched the roofs of the town. "
) * 4


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, os.cpu_count() or 1])
    parser.add_argument("--only", nargs="*", choices=("engines", "verify"), default=("engines", "verify"))
    parser.add_argument("--inner", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def row(what: str, threads: int, ours: float, theirs: float, limit: float) -> None:
    print(f"| {what} | {threads} | {ours:.3f} s | {theirs:.3f} s | {ours / theirs:.2f} | {limit:g} |", flush=True)


def engines(threads: int, turns: int) -> None:
    """Prompt, generation and load, in a process whose BLAS was told the number of threads."""
    from decode import seconds

    from rosetta_ref.inference.engine import NumpyEngine
    from rosetta_ref.inference.llamacpp import LlamaCpp
    from rosetta_ref.streaming import THREADS

    file, blocks = runs.variant("F32"), runs.variant("Q4_K_M")
    with NumpyEngine(file) as numpy, LlamaCpp(file, threads=threads) as llama:
        prompt = numpy.tokenize(TEXT)[:PROMPT]
        assert len(prompt) == PROMPT == next(llama.logits([prompt])).shape[0]
        sides: list[Callable[[], object]] = [lambda: next(numpy.logits([prompt])), lambda: next(llama.logits([prompt]))]
        row(f"prompt of {PROMPT} tokens", threads, *seconds(sides, turns, time.perf_counter), 4)
        start = prompt[:8]
        assert all(len(engine.generate([start], ANSWER)[0]) == ANSWER for engine in (numpy, llama))
        sides = [lambda: numpy.generate([start], ANSWER), lambda: llama.generate([start], ANSWER)]
        row(f"{ANSWER} tokens of an answer", threads, *seconds(sides, turns, time.perf_counter), 4)
    sides = [lambda: loaded(blocks), lambda: decoded(blocks)]
    row("load from Q4_K_M, against decoding", THREADS, *seconds(sides, turns, time.perf_counter), 1.5)


def loaded(path: Path) -> None:
    """An engine that is ready for token ids: numbers and every weight. The tokenizer is made when words are asked for."""
    from rosetta_ref.inference.engine import NumpyEngine

    with NumpyEngine(path) as engine:
        engine.model.load()


def decoded(path: Path) -> None:
    """Every tensor decoded on as many threads, and kept as a model keeps it."""
    from rosetta_ref.formats import gguf
    from rosetta_ref.streaming import THREADS

    with gguf.read(path) as archive, ThreadPoolExecutor(THREADS) as pool:
        assert len(list(pool.map(lambda tensor: tensor.values(), archive.tensors.values()))) > 100


def verified(turns: int) -> None:
    """The command as a user gives it, into both other formats."""
    print("\n| convert --verify | time | peak |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="rosetta-bench-") as folder:
        for name in ("hf", "model.apr"):
            target = Path(folder) / name
            command = [
                sys.executable,
                "-m",
                "rosetta_ref.cli",
                "convert",
                str(runs.variant("Q4_K_M")),
                str(target),
                "--verify",
            ]
            found = runs.median([runs.fresh(command, target) for _ in range(turns)])
            print(f"| SmolLM2 Q4_K_M -> {name} | {found.seconds:.1f} s | {found.peak / 1e6:.0f} MB |", flush=True)


def main() -> None:
    arguments = asked()
    if arguments.inner is not None:
        engines(arguments.inner, arguments.turns)
        return
    if "engines" in arguments.only:
        print("| what | threads | numpy | against | times | limit |\n|---|---|---|---|---|---|", flush=True)
        for threads in dict.fromkeys(arguments.threads):
            os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
            runs.measure([sys.executable, __file__, "--inner", str(threads), "--turns", str(arguments.turns)])
    os.environ.pop("OPENBLAS_NUM_THREADS", None)
    if "verify" in arguments.only:
        verified(max(arguments.turns // 2, 1))


if __name__ == "__main__":
    main()
