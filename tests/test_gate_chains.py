"""Chains: what legs may do one after the other is right at the end, what one of them does wrong is not; and the leg is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.cli import main
from rosetta_ref.convert import convert as reference
from rosetta_ref.diagnosis import Namer
from rosetta_ref.formats import apr, gguf
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Result
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.gate.report import summary
from rosetta_ref.gate.run.engine import run, samples_for
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter as converter_of
from tests.support.few import few_members

ENTRY = Entry("made up", function="none:none", pairs=PAIRS, architectures=("llama",), whole_models=True)
LOSSLESS = replace(ENTRY, lossless=True)
Step = Callable[[Path, Path], None]
CHAINS = ("F-CONV-RT-*", "F-CONV-ABA-*", "F-CONV-COM-*")


class MadeUp:
    """The reference, which does something more to the files that it writes."""

    def __init__(self, entry: Entry, *steps: Step) -> None:
        self.entry, self._steps = entry, steps

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, and then do that."""
        reference(src, dst)
        for step in self._steps:
            step(src, dst)
        return Run(ACCEPTED, 0)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """A model of random F32, most of which no F16 can hold, and one of blocks."""
    found = {sample.name: sample for sample in default(0, types=["F32", "Q4_K", "Q6_K"])}
    return [found["llama-f32-tied"], found["llama-q4_k_m"]]


def rewritten(
    path: Path, change: Callable[[Tensor], Tensor] = lambda tensor: tensor, *, without: tuple[str, ...] = ()
) -> None:
    """Write a file anew with other tensors, or without a key."""
    with open_archive(path) as archive:
        tensors = {name: change(tensor) for name, tensor in archive.tensors.items()}
        metadata = {key: value for key, value in archive.metadata.items() if key not in without}
        made = Archive(archive.format, metadata, tensors)
        other = path.with_name(f"other{path.suffix}")
        (apr if path.suffix == ".apr" else gguf).write(made, other)
    other.replace(path)


def as_type(name: str) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        if len(tensor.shape) < 2:
            return tensor
        with np.errstate(all="ignore"):
            return Tensor.of(
                tensor.name, TYPES[name], tensor.shape, tensor.values().astype(np.dtype(name.replace("F", "float")))
            )

    return change


def rounds(src: Path, dst: Path) -> None:
    """GGUF's matrices become F16 in APR; the way back takes them as they are."""
    if (src.suffix, dst.suffix) == (".gguf", ".apr"):
        rewritten(dst, as_type("F16"))


def decodes(src: Path, dst: Path) -> None:
    if (src.suffix, dst.suffix) == (".gguf", ".apr"):
        rewritten(dst, as_type("F32"))


def widens(src: Path, dst: Path) -> None:
    if (src.suffix, dst.suffix) == (".apr", ".gguf"):
        rewritten(dst, as_type("F32"))


def flips(src: Path, dst: Path) -> None:
    """One number of one matrix, on the second leg alone."""
    if (src.suffix, dst.suffix) == (".apr", ".gguf"):

        def change(tensor: Tensor) -> Tensor:
            if tensor.name != "blk.0.attn_v.weight":
                return tensor
            values = tensor.values().copy()
            values.flat[1] += 1
            dtype = np.dtype(tensor.type.name.replace("F", "float"))
            return Tensor.of(tensor.name, tensor.type, tensor.shape, values.astype(dtype))

        rewritten(dst, change)


def results(converter: MadeUp, samples: list[Sample], *only: str) -> list[Result]:
    found = run(converter, samples=samples, only=only or CHAINS, jobs=1)
    assert found
    assert all(result.expected for result in found)
    return found


def by_case(found: list[Result]) -> dict[str, Result]:
    return {result.case: result for result in found}


@pytest.mark.parametrize(
    "steps",
    [(), (rounds, widens), (decodes,), *(pytest.param(one, marks=pytest.mark.slow) for one in ((rounds,), (widens,)))],
    ids=lambda s: [f.__name__ for f in s] or "right",
)
def test_what_the_legs_may_do_is_right_at_the_end(steps: tuple[Step, ...], samples: list[Sample]) -> None:
    found = results(MadeUp(ENTRY, *steps), samples)
    assert {result.outcome for result in found} == {CORROBORATED}, [result.reason for result in found]
    if rounds in steps:
        back = by_case(found)["F-CONV-ABA-001/G-A-G/llama-f32-tied"]
        assert back.notes["narrowed"] > 3


@pytest.mark.parametrize("step", [rounds, decodes])
def test_who_claims_that_nothing_is_lost_gives_back_every_bit(step: Step, samples: list[Sample]) -> None:
    cases = by_case(results(MadeUp(LOSSLESS, step), samples))
    name = "llama-f32-tied" if step is rounds else "llama-q4_k_m"
    wrong = cases[f"F-CONV-ABA-001/G-A-G/{name}"]
    assert wrong.outcome == FALSIFIED
    assert {finding.kind for finding in wrong.findings} == {"narrowed" if step is rounds else "type"}
    assert cases["F-CONV-ABA-001/S-A-S/llama-f32-tied"].outcome == CORROBORATED


@pytest.mark.parametrize("entry", [ENTRY, LOSSLESS])
@pytest.mark.parametrize("before", [(), (rounds,)])
def test_the_leg_that_is_wrong_is_named(entry: Entry, before: tuple[Step, ...], samples: list[Sample]) -> None:
    """Rounding on the first leg excuses nothing that the second one does."""
    cases = by_case(results(MadeUp(entry, *before, flips), samples[:1], "F-CONV-ABA-001/*"))
    assert {case for case, result in cases.items() if result.outcome == FALSIFIED} >= {
        "F-CONV-ABA-001/G-A-G/llama-f32-tied", "F-CONV-ABA-001/A-G-A/llama-f32-tied",
    }  # fmt: skip
    back = cases["F-CONV-ABA-001/G-A-G/llama-f32-tied"]
    *_, wrong = [finding for finding in back.findings if finding.tensor == "blk.0.attn_v.weight"]
    assert (wrong.kind, wrong.leg) == ("values", "A-G")
    assert "on the leg A-G" in str(wrong)
    assert cases["F-CONV-ABA-001/G-S-G/llama-f32-tied"].outcome == CORROBORATED


def drops(source: str, target: str, *keys: str) -> Step:
    """Keys of the metadata, on one leg."""

    def step(src: Path, dst: Path) -> None:
        if (src.suffix, dst.suffix) == (source, target):
            rewritten(dst, without=keys)

    return step


@pytest.fixture(scope="module")
def scored() -> list[Sample]:
    """A model with scores, which a Hugging Face directory has no place for."""
    return [sample for sample in default(0, types=["F16"]) if sample.name == "llama-f16-scores"]


@pytest.mark.parametrize(("entry", "outcome"), [(ENTRY, CORROBORATED), (LOSSLESS, FALSIFIED)])
def test_what_a_format_on_the_way_has_no_place_for_may_be_gone(
    entry: Entry, outcome: str, scored: list[Sample]
) -> None:
    """The reference puts it there all the same."""
    converter = MadeUp(entry, drops("", ".gguf", "tokenizer.ggml.scores"))
    (back,) = results(converter, scored, "F-CONV-ABA-001/G-S-G/*")
    assert back.outcome == outcome, back.reason


def test_what_has_a_place_on_the_way_has_to_come_back(scored: list[Sample]) -> None:
    """Numbers have other names there. Whole copies, which the gate does not see, are what the way back is made of."""

    class Forgets(MadeUp):
        def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
            whole = src.with_name("whole.apr")
            super().convert(whole if whole.exists() else src, dst)
            if dst.suffix == ".apr":
                shutil.copy(dst, dst.with_name("whole.apr"))
                rewritten(dst, without=("tokenizer.scores", "max_position_embeddings"))
            else:
                rewritten(dst, without=("tokenizer.ggml.scores", "llama.context_length"))
            return Run(ACCEPTED, 0)

    (back,) = results(Forgets(ENTRY), scored, "F-CONV-ABA-001/G-A-G/*")
    assert {finding.kind for finding in back.findings} == {"words-lost", "number-lost"}
    assert {finding.leg for finding in back.findings} == {"G-A"}


def test_the_bug_of_a_leg_has_its_name_in_the_chain() -> None:
    """The member of the zoo is wrong on one pair, which other chains go through."""
    member = converter_of(MEMBERS["q5_0-interleaved"])
    few = samples_for(member.entry, 0)
    with few_members("q5_0-interleaved"):
        found = run(member, samples=few, only=["F-CONV-RT-001/llama-mix"], on_failure=Namer(left=10_000))
    (chain,) = found
    assert chain.outcome == FALSIFIED
    assert chain.diagnosis == "q5_0-interleaved"


def test_what_breaks_in_the_gate_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 would accuse the converter."""

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such luck")

    asked = ["gate", "--converter=reference", "--case=F-CONV-META-001/G-A/llama-f32-tied"]
    assert main(asked) == 0
    monkeypatch.setattr(cache, "judge_metadata", broken)
    assert main(asked) == 2
    said = "".join(capsys.readouterr().err.split())
    assert "F-CONV-META-001/G-A/llama-f32-tiedhasnoanswer:ValueError:nosuchluck(test_gate_chains.py,line" in said
    monkeypatch.setattr(summary, "tables", broken)
    assert main(asked) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_a_directory_has_no_place_for_accuses_nobody_but_who_promises_it() -> None:
    """Scores are made up again behind a Hugging Face directory, and the factors of llama3 computed again, another by an ulp."""
    held = converter_of(MEMBERS["k-scales-bit-stream"])
    held.wrong = False  # type: ignore[attr-defined]
    held.entry = replace(held.entry, architectures=("llama",))  # gemma3 would stand for it in chains
    cases = ("F-CONV-RT-001/llama-f16-scores", "F-CONV-RT-001/llama-f32-llama3")
    assert [result.outcome for result in run(held, only=cases)] == [CORROBORATED] * 2
    held.entry = replace(held.entry, lossless=True)
    assert [result.outcome for result in run(held, only=cases)] == [FALSIFIED] * 2


def test_another_type_the_second_time_is_no_repetition(samples: list[Sample]) -> None:
    """The numbers are the same: F32 that holds what F16 held."""
    calls: list[Path] = []

    def every_other(_: Path, dst: Path) -> None:
        calls.append(dst)
        if len(calls) % 2 == 0 and dst.suffix == ".gguf":
            rewritten(dst, lambda one: replace_type(one, "F64") if one.name == "output_norm.weight" else one)

    found = run(MadeUp(ENTRY, every_other), samples=samples[:1], only=["F-CONV-IDEM-001/A-G/llama-f32-tied"])
    assert [result.outcome for result in found] == [FALSIFIED]
    assert {finding.kind for finding in found[0].findings} == {"type"}


def replace_type(tensor: Tensor, name: str) -> Tensor:
    """The same numbers in a wider type."""
    return Tensor.of(tensor.name, TYPES[name], tensor.shape, tensor.values().astype(np.float64))


TO_ONE_FILE = [
    "F-CONV-ABA-001/G-S-G/llama-f32-tied",
    "F-CONV-RT-001/llama-f32-tied",
    "F-CONV-DET-001/G-S/llama-f32-tied",
]


@pytest.mark.parametrize(("beside", "calls"), [(None, 5), ("notes.json", 6), ("a.log", 6)])
def test_what_two_chains_come_to_is_converted_once(samples: list[Sample], beside: str | None, calls: int) -> None:
    """G-S and G-A-S give the same directory, which becomes GGUF for both; not where anything else stands there, or beside it."""
    made: list[Path] = []

    def noting(_: Path, dst: Path) -> None:
        made.append(dst)
        if beside is not None:
            (dst.parent / beside).write_text(str(len(made)))

    found = run(MadeUp(ENTRY, noting), samples=samples[:1], only=TO_ONE_FILE)
    assert [result.outcome for result in found] == [CORROBORATED] * 3
    assert len(made) == calls


def test_what_becomes_of_the_shared_file_is_said_of_both_chains(samples: list[Sample]) -> None:
    def negative(one: Tensor) -> Tensor:
        values = -one.values() if one.name == "output_norm.weight" else one.values()
        return Tensor.of(one.name, one.type, one.shape, values)

    def changed(src: Path, dst: Path) -> None:
        if src.is_dir() and dst.suffix == ".gguf":
            rewritten(dst, negative)

    found = run(MadeUp(ENTRY, changed), samples=samples[:1], only=TO_ONE_FILE[:2])
    assert [result.outcome for result in found] == [FALSIFIED] * 2
    assert [{finding.leg for finding in result.findings} for result in found] == [{"S-G"}] * 2
