"""Every figure of the README's tables, by one command: `python benchmarks/convert.py [--pairs 7] [--only decode ...]`.

Each run is a process of its own; the two sides take turns; the figure is the median. Peak memory is what the system
reports for the process. This process itself imports nothing large, since a child begins as a copy of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CONVERT = "import sys; from rosetta_ref.convert import convert; convert(sys.argv[1], sys.argv[2], **eval(sys.argv[3]))"
VARIANT = "import sys; from tests.support import smollm; print(smollm.variant(sys.argv[1]))"


@dataclass
class Run:
    """Seconds and the peak resident set in bytes of one process."""

    seconds: float
    peak: int


def measure(command: list[str]) -> Run:
    """Run a command to its end."""
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, dict(os.environ, PYTHONPATH=str(HERE.parent)))
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Run(time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def converting(source: Path, target: Path, options: str = "{}") -> list[str]:
    """The command that converts."""
    return [sys.executable, "-c", CONVERT, str(source), str(target), options]


def fresh(command: list[str], target: Path) -> Run:
    """Run a command that writes `target`, which is removed before; what it writes stays."""
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True)
    return measure(command)


def median(runs: list[Run]) -> Run:
    """Median time, largest peak."""
    return Run(statistics.median(run.seconds for run in runs), max(run.peak for run in runs))


def together(pairs: int, **sides: Callable[[], Run]) -> dict[str, Run]:
    """Run the sides in turn, once to warm up and `pairs` times to measure."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for turn in range(pairs + 1):
        for name, side in sides.items():
            run = side()
            if turn:
                runs[name].append(run)
    return {name: median(of) for name, of in runs.items()}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def row(what: str, found: dict[str, Run]) -> None:
    """Print one line of the table."""
    ours, copy, peer = found["ours"], found["copy"], found.get("peer")
    against = f"{peer.seconds:.2f} s, {peer.peak / 1e6:.0f} MB" if peer else "-"
    ratio = f"{ours.seconds / copy.seconds:.1f} x"
    print(
        f"| {what} | {ours.seconds:.2f} s | {ours.peak / 1e6:.0f} MB | {against} | {copy.seconds:.2f} s | {ratio} |",
        flush=True,
    )


def step(what: str, pairs: int, source: Path, target: Path, options: str = "{}", *, peer: bool = False) -> None:
    """Measure one conversion against a copy of its output's size, and against the peer."""
    fresh(converting(source, target, options), target)
    image, copy, other = (target.parent / name for name in ("image", "copy", "peer"))
    with image.open("wb") as file:
        left = size_of(target)
        while left > 0:
            left -= file.write(os.urandom(min(left, 1 << 24)))
    sides: dict[str, Callable[[], Run]] = {
        "ours": lambda: fresh(converting(source, target, options), target),
        "copy": lambda: fresh(["cp", str(image), str(copy)], copy),
    }
    if peer:
        sides["peer"] = lambda: fresh([sys.executable, str(HERE / "peer.py"), str(source), str(other)], other)
    row(what, together(pairs, **sides))
    image.unlink()
    copy.unlink()
    shutil.rmtree(other, ignore_errors=True)


def variant(name: str) -> Path:
    """A file of the real model, made on first use by the tests' own helper."""
    command = [sys.executable, "-c", VARIANT, name]
    return Path(subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def conversions(pairs: int, folder: Path) -> None:
    """SmolLM2: to a Hugging Face directory and back, to APR and back."""
    print(
        "| conversion | time | peak | gguf-py + safetensors | `cp` of the output | times `cp` |\n|---|---|---|---|---|---|"
    )
    step("SmolLM2 Q4_1 GGUF -> Hugging Face, F32", pairs, variant("Q4_1"), folder / "hf", "{'dtype': 'f32'}", peer=True)
    step("Hugging Face, F32 -> GGUF Q4_1", pairs, folder / "hf", folder / "back.gguf")
    step("SmolLM2 F32 GGUF -> APR", pairs, variant("F32"), folder / "model.apr")
    step("APR -> GGUF F32", pairs, folder / "model.apr", folder / "back32.gguf")


def decoding(pairs: int, folder: Path) -> None:
    """One thread, 64M elements, against gguf-py and ggml: some of the types of decode.py."""
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONPATH=str(HERE.parent))
    subprocess.run([sys.executable, str(HERE / "decode.py"), "--short", "--turns", str(pairs)], env=env, check=True)


def memory(pairs: int, folder: Path) -> None:
    """A model of 4 GB to APR and back, once."""
    model, middle, back = folder / "large.gguf", folder / "large.apr", folder / "back.gguf"
    measure([sys.executable, str(HERE / "memory.py"), str(model)])
    print("| a synthetic model | size | time | peak |\n|---|---|---|---|")
    for what, source, target in (("GGUF -> APR", model, middle), ("APR -> GGUF", middle, back)):
        run = measure(converting(source, target))
        print(
            f"| {what} | {size_of(source) / 1e9:.1f} GB | {run.seconds:.1f} s | {run.peak / 1e6:.0f} MB |", flush=True
        )
        source.unlink()


PARTS = {"conversion": conversions, "decode": decoding, "memory": memory}


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="rosetta-bench-") as folder:
            PARTS[name](arguments.pairs, Path(folder))
        print()


if __name__ == "__main__":
    main()
