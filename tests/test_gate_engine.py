"""The gate's engine against converters that are wrong in ways that have nothing to do with numbers: nothing of it is ever right."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest

from rosetta_ref.archive import Archive
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Entry, Run
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.run.plan import plan

MODELS = ("llama-f32-tied", "qwen2-bf16-tied")
ENTRY = Entry("fake", function="none:none", pairs=PAIRS, architectures=("llama", "qwen2"), whole_models=True)
Act = Callable[[Path, Path], Run | None]


@dataclass
class Fake:
    """A converter that does what it is told, and remembers what it was asked."""

    act: Act
    entry: Entry = ENTRY
    asked: list[tuple[Path, str]] = field(default_factory=list)

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        self.asked.append((src, dst.suffix))
        return self.act(src, dst) or Run(ACCEPTED, 0)


def right(src: Path, dst: Path) -> Run | None:
    try:
        convert(src, dst)
    except RosettaError as error:
        return Run(REFUSED, 1, stderr=str(error))
    return None


def results(act: Act, *, entry: Entry = ENTRY, only: tuple[str, ...] = ()) -> list[Result]:
    few = [sample for sample in default_samples.default(0) if sample.name in MODELS]
    assert len(few) == 2
    return run(Fake(act, entry), samples=few, only=only)


@cache
def right_results() -> list[Result]:
    """Those of the reference, which several tests look at."""
    return results(right)


def outcomes(found: list[Result]) -> Counter[str]:
    return Counter(result.outcome for result in found)


def kinds(found: list[Result]) -> set[str]:
    return {finding.kind for result in found for finding in result.findings}


TENSORS = ("F-CONV-0*",)


def test_a_right_one_is_right_and_every_case_says_what_it_compared() -> None:
    found = right_results()
    assert set(outcomes(found)) == {"Corroborated"}
    assert len(found) > 250
    assert all(result.compared == result.expected > 0 for result in found if result.unit != "bytes")
    assert all(result.compared > 0 for result in found)
    assert len({result.case for result in found}) == len(found)


def test_every_case_is_answered_in_the_order_of_the_plan() -> None:
    few = [sample for sample in default_samples.default(0) if sample.name in MODELS]
    planned = [case.id for case in plan(ENTRY, few)]
    found = [result.case for result in right_results() if not result.case.startswith("F-CONV-SAFE")]
    assert found == planned


def test_a_conversion_is_done_once() -> None:
    """Twice only where the question is whether it does the same twice: for each of the pairs of a model."""
    fake = Fake(right)
    few = [sample for sample in default_samples.default(0) if sample.name == MODELS[0]]
    run(fake, samples=few, only=("F-CONV-0*", "F-CONV-[A-Z][A-Z][A-Z]*", "F-CONV-RT*"))
    times = Counter((src, suffix) for src, suffix in fake.asked if "faces" in str(src))
    assert set(times.values()) == {2}
    assert len(times) == 6


def nothing(src: Path, dst: Path) -> None:
    return None


def copy(src: Path, dst: Path) -> None:
    (shutil.copytree if src.is_dir() else shutil.copy)(src, dst)


def link(src: Path, dst: Path) -> None:
    dst.symlink_to(src)


def empty(src: Path, dst: Path) -> None:
    if dst.suffix:
        dst.touch()
    else:
        dst.mkdir()


def no_tensors(src: Path, dst: Path) -> None:
    if dst.suffix == ".gguf":
        gguf.write(Archive("gguf"), dst)
    elif dst.suffix == ".apr":
        apr.write(Archive("apr", {"model_type": "llama"}), dst)
    else:
        dst.mkdir()
        (dst / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def rubbish(src: Path, dst: Path) -> None:
    if not dst.suffix:
        dst.mkdir()
        dst = dst / "model.safetensors"
    dst.write_bytes(b"GGUF" + bytes(100))


WORTHLESS: dict[str, Act] = {
    "nothing": nothing, "copy": copy, "link": link, "empty": empty, "no-tensors": no_tensors, "rubbish": rubbish,
}  # fmt: skip


@pytest.mark.parametrize("name", WORTHLESS)
def test_exit_0_is_not_believed(name: str) -> None:
    """Nothing is Corroborated but refusals, and there are none: what is malformed is accepted, too."""
    found = results(WORTHLESS[name])
    assert set(outcomes(found)) <= {"Falsified", "Skipped"}
    tensors = [result for result in found if result.gate[:8] == "F-CONV-0"]
    assert len(tensors) > 100
    assert outcomes(tensors) == {"Falsified": len(tensors)}
    assert all(result.expected > 0 for result in found)


def test_an_input_that_is_written_to() -> None:
    def careless(src: Path, dst: Path) -> None:
        right(src, dst)
        file = src / "config.json" if src.is_dir() else src
        file.write_bytes(file.read_bytes() + b" ")

    assert "touched" in kinds(results(careless, only=("F-CONV-003/*",)))


@pytest.mark.parametrize(
    ("run_", "outcome"),
    [
        (Run(CRASHED, -11, detail="signal 11"), "Crashed"),
        (Run(TIMEOUT, None, detail="60 s"), "Timeout"),
        (Run(REFUSED, 1, stderr="no such thing\n"), "Falsified"),
    ],
    ids=["crash", "timeout", "refusal"],
)
def test_a_run_that_fails_keeps_the_words_of_its_converter(run_: Run, outcome: str) -> None:
    found = results(lambda src, dst: run_, only=TENSORS)
    assert outcomes(found) == {outcome: len(found)}
    assert all((run_.detail or "no such thing") in result.reason for result in found)
    assert all(result.exit_code == run_.exit_code for result in found)


def test_what_was_never_claimed_is_skipped_with_its_message() -> None:
    refusing = Run(REFUSED, 1, stderr="qwen2 is not supported\n")

    def only_llama(src: Path, dst: Path) -> Run | None:
        return refusing if MODELS[1] in str(src) else right(src, dst)

    found = results(only_llama, entry=replace(ENTRY, architectures=("llama",)), only=TENSORS)
    theirs = [result for result in found if result.sample == MODELS[1]]
    assert outcomes(theirs) == {"Skipped": len(theirs)}
    assert all("qwen2 is not supported" in result.reason for result in theirs)
    assert outcomes([result for result in found if result not in theirs]) == {"Corroborated": len(found) - len(theirs)}


def test_its_own_output_is_a_claim() -> None:
    def forgetful(src: Path, dst: Path) -> Run | None:
        return right(src, dst) if "faces" in str(src) else Run(REFUSED, 1, stderr="what is this?\n")

    found = results(forgetful, only=("F-CONV-ABA-001/*", "F-CONV-RT*"))
    assert outcomes(found) == {"Falsified": len(found)}
    assert kinds(found) == {"refused"}


def test_pairs_that_are_not_claimed_are_one_skipped_case_each() -> None:
    found = results(right, entry=replace(ENTRY, pairs=("G-A",)), only=TENSORS)
    skipped = [result for result in found if result.outcome == "Skipped"]
    assert [result.case for result in skipped] == [f"F-CONV-00{number}/not-claimed" for number in (2, 3, 4, 5, 6)]


def test_another_file_each_time() -> None:
    def moody(src: Path, dst: Path) -> None:
        right(src, dst)
        if dst.suffix == ".gguf":
            with gguf.read(dst) as archive:
                moods = len(list(dst.parent.parent.iterdir()))
                value = archive.metadata["general.name"]
                changed = replace(
                    archive, metadata=archive.metadata | {"general.name": replace(value, data=str(moods))}
                )
                gguf.write(replace(changed, parts=()), dst.with_suffix(".new"))
            dst.with_suffix(".new").replace(dst)

    found = results(moody, only=("F-CONV-DET-001/S-G/*", "F-CONV-IDEM-001/S-G/*"))
    assert outcomes(found) == {"Falsified": len(found)}
    assert {result.gate for result in found} == {"F-CONV-DET-001", "F-CONV-IDEM-001"}
    assert kinds(found) == {"not-deterministic", "key-wrong"}


# Malformed files


def test_who_takes_everything_falls_at_every_rule() -> None:
    """The reference of a good file whatever comes: it never looks at what it is given."""
    good: dict[str, Path] = {}

    def blind(src: Path, dst: Path) -> Run | None:
        if "faces" in str(src) and MODELS[0] in str(src):
            good.setdefault(dst.suffix, src)
        return right(good[dst.suffix] if "malformed" in str(src) else src, dst)

    found = results(blind, only=("F-CONV-SAFE-001/*",))
    must = [result for result in found if "(must refuse" in result.reason]
    assert len(must) > 60
    assert outcomes(must) == {"Falsified": len(must)}
    assert kinds(must) == {"accepted"}


def test_a_refusal_that_leaves_something_or_says_nothing() -> None:
    def messy(src: Path, dst: Path) -> Run | None:
        if "malformed" not in str(src):
            return right(src, dst)
        dst.parent.joinpath(dst.name).touch() if dst.suffix else dst.mkdir()
        return Run(REFUSED, 1, stderr="no\n")

    assert kinds(results(messy, only=("F-CONV-SAFE-001/gguf/*",))) == {"left-behind"}

    def silent(src: Path, dst: Path) -> Run | None:
        return right(src, dst) if "malformed" not in str(src) else Run(REFUSED, 1)

    assert kinds(results(silent, only=("F-CONV-SAFE-001/gguf/*",))) == {"no-message"}


def test_who_refuses_the_twin_as_well_has_refused_nothing() -> None:
    found = results(lambda src, dst: Run(REFUSED, 1, stderr="no\n"), only=("F-CONV-SAFE-001/*",))
    assert outcomes(found) == {"Skipped": len(found)}
    assert len(found) > 60
