"""Answers to cases: what was claimed and what was not, twins that are accepted, folders of its own for each call."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.command import CommandLine
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.run.engine import run

LLAMA = Entry("made up", function="none:none", pairs=("G-S",), architectures=("llama",), whole_models=True)
Says = Callable[[Path, Path], str]


class MadeUp:
    """The reference, but where `says` says refused or crashed."""

    def __init__(self, entry: Entry, says: Says = lambda src, dst: ACCEPTED) -> None:
        self.entry, self._says = entry, says

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, or not."""
        outcome = self._says(src, dst)
        if outcome == ACCEPTED:
            try:
                reference(src, dst)
            except RosettaError as error:
                return Run(REFUSED, 1, stderr=str(error))
        return Run(outcome, 0 if outcome == ACCEPTED else 1, stderr="" if outcome == ACCEPTED else "no")


def model(name: str = "one", payload: str = "index-coded") -> Sample:
    """A small model."""
    return build(name, Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", payload)], 0)


def results(converter: MadeUp, samples: Sequence[Sample], *only: str) -> list[Result]:
    """What comes of the cases that match."""
    found = run(converter, samples=samples, only=only, jobs=1)
    assert found
    return found


def backwards(outcome: str) -> Says:
    return lambda src, dst: outcome if dst.suffix == ".gguf" else ACCEPTED


@pytest.mark.parametrize("outcome", [REFUSED, CRASHED])
def test_a_leg_that_nobody_claims_may_fail_in_any_way(outcome: str) -> None:
    (unclaimed,) = results(MadeUp(LLAMA, backwards(outcome)), [model("llama-f32-tied")], "F-CONV-ABA-001/G-S-G/*")
    assert unclaimed.outcome == "Skipped"
    claims = replace(LLAMA, pairs=("G-S", "S-G"))
    (claimed,) = results(MadeUp(claims, backwards(outcome)), [model("llama-f32-tied")], "F-CONV-ABA-001/G-S-G/*")
    assert claimed.outcome == ("Crashed" if outcome == CRASHED else "Falsified")


@pytest.mark.parametrize(
    ("loses", "payload", "outcome"),
    [
        (("special",), "special", "Skipped"),
        (("special",), "index-coded", "Falsified"),
        (("gguf/f32",), "index-coded", "Skipped"),
        (("apr/f32",), "index-coded", "Falsified"),
        ((), "special", "Falsified"),
    ],
)
def test_an_entry_names_inputs_that_it_may_refuse(loses: tuple[str, ...], payload: str, outcome: str) -> None:
    refuses = MadeUp(replace(LLAMA, loses=loses), lambda src, dst: REFUSED)
    assert {each.outcome for each in results(refuses, [model(payload=payload)], "F-CONV-003/*")} == {outcome}


def test_what_may_be_refused_is_judged_where_it_is_not() -> None:
    """A sample in parts that is taken is judged like any other."""
    (parts,) = [sample for sample in default(0, types=["F32"], whole_models=True) if sample.name == "sharded"]
    found = results(MadeUp(replace(LLAMA, loses=("sharded",))), [parts], "F-CONV-003/*")
    assert {each.outcome for each in found} == {"Corroborated"}


@pytest.mark.parametrize(("whole", "outcome"), [(False, "Falsified"), (True, "Skipped"), (None, "Skipped")])
def test_who_says_that_whole_models_are_not_needed_takes_tensors(whole: bool | None, outcome: str) -> None:
    tensors = [sample for sample in default(0, types=["F32"]) if sample.name == "floats"]
    refuses = MadeUp(replace(LLAMA, whole_models=whole), lambda src, dst: REFUSED)
    assert {each.outcome for each in results(refuses, tensors, "F-CONV-003/*")} == {outcome}


def test_malformed_files_are_made_of_a_twin_that_is_accepted() -> None:
    twins = [replace(model("llama-f32-tied")), replace(model("llama-f32-wide"))]
    picky = MadeUp(LLAMA, lambda src, dst: REFUSED if "llama-f32-tied" in str(src) else ACCEPTED)
    (found,) = results(picky, twins, "F-CONV-SAFE-001/gguf/version-unknown")
    assert (found.outcome, found.compared) == ("Corroborated", 1)
    refuses = MadeUp(LLAMA, lambda src, dst: REFUSED)
    (found,) = results(refuses, twins, "F-CONV-SAFE-001/gguf/version-unknown")
    assert found.outcome == "Skipped"


def test_the_faces_of_a_sample_lie_far_from_one_another() -> None:
    """Some converters look for a tokenizer in the folders around: then an answer would hang on which face was written first."""
    seen: list[list[str]] = []

    def looks(src: Path, dst: Path) -> str:
        around = src.parent.parent
        seen.append([path.name for path in around.rglob("*") if path.is_file() and src not in (path, *path.parents)])
        return ACCEPTED

    results(MadeUp(replace(LLAMA, pairs=("G-S", "S-G"), safetensors_as="file"), looks), [model()], "F-CONV-00[34]/*")
    assert seen
    assert all("model.gguf" not in names or "tokenizer.json" not in names for names in seen)
    assert [] in seen


def test_each_call_has_a_temporary_folder_of_its_own(tmp_path: Path) -> None:
    command = CommandLine(
        replace(LLAMA, command='sh -c \'echo "$TMPDIR"; touch "$TMPDIR/left"; cp "$1" "$2"\' sh {src} {dst}')
    )
    source = tmp_path / "model.gguf"
    source.write_bytes(b"some")
    folders = [command.convert(source, tmp_path / f"{n}.gguf").stdout.strip() for n in range(2)]
    assert len({*folders, os.environ.get("TMPDIR", "/tmp")}) == 3
    assert not any(Path(shlex.split(folder)[0]).exists() for folder in folders)
