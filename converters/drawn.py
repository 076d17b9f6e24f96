"""Verdicts of a run, checked by foreign code: 20 passed cases drawn at random, and one case of each cause of Falsified.

    python converters/drawn.py passed NAME FOLDER CASES [--seed 0] [--count 20] [--transformers PYTHON]
    python converters/drawn.py causes NAME FOLDER CASES [--transformers PYTHON]

FOLDER has the result.json of a run of `rosetta-ref gate --config converters/NAME/entry.toml`. The gate is asked about each case
anew, with a recorder before the converter's command: every call leaves its input, its output, its exit code and what it said in
CASES/NUMBER/CALL. What `foreign.py` says of each call stands in CASES/NUMBER/said.txt and is printed. The seed of the run's inputs
is read from result.json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from trophies import cleaned, lines_of  # noqa: E402

#: Files that are longer are no models of the gate's.
_LONGEST_LINE = 400


def record(folder: Path, command: list[str]) -> int:
    """Run a converter, keep what went in and what came out; its exit code.

    The first arguments are src=SOURCE, dst=TARGET and, where one is asked for, type=TYPE.
    """
    named = {"type": ""} | dict(
        word.split("=", 1) for word in command[:3] if word.startswith(("src=", "dst=", "type="))
    )
    command, source, target = command[2 + bool(named["type"]) :], Path(named["src"]), Path(named["dst"])
    call = folder / f"{len(list(folder.glob('*-*'))):03d}-{source.suffix[1:] or 'hf'}-{target.suffix[1:] or 'hf'}"
    call.mkdir(parents=True)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    # A part of a model stands beside the others; a directory is copied whole.
    split = source.suffix == ".json" or re.search(r"-\d{5}-of-\d{5}", source.name)
    _copy(source.parent if split else source, call / "input" / (source.parent.name if split else source.name))
    _copy(target, call / "output" / target.name)
    said = {
        "exit": done.returncode,
        "stdout": done.stdout,
        "stderr": done.stderr,
        "type": named["type"],
        "source": source.name,
    }
    (call / "call.json").write_text(json.dumps(said | {"in_parts": bool(split)}), "utf-8")
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy2(source, target)


def entry(name: str, folder: Path, cases: Path) -> Path:
    """The entry of a converter with the recorder before its command; the gate's own environment says which PATH."""
    made = tomllib.loads((HERE / name / "entry.toml").read_text("utf-8"))["converters"][name]
    made.pop("expectations", None)
    words = [
        sys.executable,
        str(Path(__file__).resolve()),
        "record",
        str(folder),
        "src={src}",
        "dst={dst}",
        "type={type}",
    ]
    words += shlex.split(made.pop("command"))
    path = cases / "entry.toml"
    lines = [f"command = {json.dumps(shlex.join(words).replace(chr(39), ''))}"]
    lines += [f"{key} = {_toml(value)}" for key, value in made.items()]
    path.write_text(f"[converters.{name}]\n" + "\n".join(lines) + "\n", "utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def asked(name: str, case: str, seed: int, cases: Path, number: str) -> Path:
    """Ask the gate about one case anew, recorded."""
    folder = (cases / number).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "rosetta_ref.cli", "gate", "--converter", name, "--seed", str(seed), "--jobs", "1"]
    command += ["--config", str(entry(name, folder, cases)), "--case", _literal(case), "--no-reproductions", "--quiet"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def _literal(case: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", case)


def heard(folder: Path, transformers: str | None) -> Iterator[str]:
    """What foreign code says of the calls of a case."""
    for call in sorted(path for path in folder.iterdir() if path.is_dir()):
        said = json.loads((call / "call.json").read_text("utf-8"))
        outputs = list((call / "output").iterdir()) if (call / "output").exists() else []
        words = (said["stderr"].strip() or said["stdout"].strip()).splitlines()[-1:] or [""]
        end = f"exit {said['exit']}, {'output' if outputs else 'no output'}"
        yield f"{call.name}: type {said['type'] or '-'}, {end}: {cleaned(words[0])[:200]}"
        if outputs:
            (source,) = (call / "input").iterdir()
            source = source / said["source"] if said["in_parts"] else source
            command = [sys.executable, str(HERE / "foreign.py"), str(source), str(outputs[0])]
            command += ["--transformers", transformers] if transformers else []
            done = subprocess.run(command, capture_output=True, text=True)
            yield from (f"  {line[:_LONGEST_LINE]}" for line in done.stdout.splitlines())
            if done.returncode:
                yield f"  ! foreign code does not read it: {done.stderr.strip().splitlines()[-1]}"


def drawn(result: dict[str, Any], seed: int, count: int) -> list[tuple[str, str]]:
    """Cases that passed, at random, with what the gate said of them."""
    passed = sorted(case["case"] for case in result["cases"] if case["outcome"] == "Corroborated")
    return [(case, "passed") for case in random.Random(seed).sample(passed, min(count, len(passed)))]


def causes(result: dict[str, Any]) -> list[tuple[str, str]]:
    """One case of each cause: the first of a gate, a pair, a kind and what else tells two causes apart."""
    found: dict[tuple[object, ...], tuple[str, str]] = {}
    for case in result["cases"]:
        for line in lines_of(case):
            words = re.sub(r"[\d.,'\[\]()]+|blk\S+", "", line.text).split()
            key = (line.place, line.kind, " ".join(words[:6]) if "/" not in line.cause else line.cause)
            found.setdefault(key, (line.case, f"{line.kind}: {line.text}"))
    return list(found.values())


def main() -> None:
    """Draw, ask, listen, print."""
    if sys.argv[1:2] == ["record"]:
        sys.exit(record(Path(sys.argv[2]), sys.argv[3:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("passed", "causes"))
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--transformers", metavar="PYTHON")
    options = parser.parse_args()
    options.cases.mkdir(parents=True, exist_ok=True)
    result = json.loads((options.folder / "result.json").read_text("utf-8"))
    chosen = drawn(result, options.seed, options.count) if options.what == "passed" else causes(result)
    for number, (case, said) in enumerate(chosen):
        folder = asked(options.name, case, int(result.get("seed", 0)), options.cases, f"{number:03d}")
        lines = [f"# {case}", f"the gate: {said}", *heard(folder, options.transformers), ""]
        (folder / "said.txt").write_text("\n".join(lines), "utf-8")
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
