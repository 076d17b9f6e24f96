"""A converter that reads only what it has written itself: it is given that, whole and broken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.gate.converter.entry import Converter, Entry, Run
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Result
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.smoke.paste import as_toml
from rosetta_ref.gate.smoke.smoke import smoke
from tests.quality.correct import own_files


@pytest.mark.parametrize(
    ("pairs", "own"),
    [
        (("S-A", "A-S"), "A"), (("S-A", "A-G"), "A"), (("S-A", "S-G", "A-G", "G-A"), "AG"), (("G-A", "A-G"), "A"),
        (("G-S", "S-G", "G-G"), "G"), (("G-A",), ""), (None, "AG"),
    ],
)  # fmt: skip
def test_something_comes_from_elsewhere(pairs: tuple[str, ...] | None, own: str) -> None:
    assert Entry("e", pairs=pairs, reads_own_files_only=True).own_only == set(own)
    assert Entry("e", pairs=pairs).own_only == set()


class Watched:
    """Calls a converter, and keeps what it was called with."""

    def __init__(self, converter: Converter) -> None:
        self.entry, self._converter = converter.entry, converter
        self.inputs: list[Path] = []

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        self.inputs.append(src)
        return self._converter.convert(src, dst, type=type)


def converter_of(name: str, **fields: object) -> Watched:
    return Watched(Function(Entry("own", function=name, **{**own_files.ENTRY, **fields})))  # type: ignore[arg-type]


def lax(src: Path, dst: Path) -> None:
    """The same, but a file that is cut is filled up, and none is held against its one form."""
    data = Path(src).read_bytes()
    if Path(dst).suffix == ".gguf":
        own_files.convert(src, dst)
    elif data.startswith(own_files._MAGIC) and own_files._OURS in data[:100]:
        Path(dst).write_bytes(own_files.closed(own_files.unpacked(data + bytes(1 << 20))))
    else:
        raise ValueError("none of mine")


SAFE = "F-CONV-SAFE-001/gguf/*"


def safe(results: list[Result]) -> dict[str, Result]:
    return {result.case: result for result in results if "SAFE" in result.gate}


def test_its_own_files_are_judged_and_broken_and_no_others() -> None:
    own = converter_of("tests.quality.correct.own_files:convert")
    results = run(own, only=["F-CONV-003/floats/*", "F-CONV-META-001/*", "F-CONV-CARD-001/G-S/*", SAFE])
    assert all(b"packed" in path.read_bytes()[:100] for path in own.inputs if path.suffix == ".gguf" and path.exists())
    outcomes = {(result.gate, result.outcome) for result in results}
    assert ("F-CONV-003", CORROBORATED) in outcomes
    assert {outcome for gate, outcome in outcomes if gate == "F-CONV-003"} == {CORROBORATED}
    broken = safe(results)
    assert sum(result.outcome == CORROBORATED for result in broken.values()) > 30
    cuts = [result for case, result in broken.items() if "/cut/" in case]
    assert [result.outcome for result in cuts] == [CORROBORATED] * 3
    skipped = {result.reason for result in broken.values() if result.outcome == SKIPPED}
    assert skipped <= {"no file that it wrote itself and takes back has anything that breaks this rule"}


@pytest.mark.parametrize("claims", [True, False])
def test_one_that_takes_a_cut_file_is_wrong(claims: bool) -> None:
    """It says so or not: files of the gate it refuses, so that only its own show it."""
    results = safe(run(converter_of("tests.test_gate_own_files:lax", reads_own_files_only=claims), only=[SAFE]))
    wrong = [result for case, result in results.items() if "/cut/anywhere" in case]
    assert wrong
    assert {result.outcome for result in wrong} == {FALSIFIED}
    assert wrong[0].findings[0].kind == "accepted"


def test_a_foreign_file_that_is_refused_is_no_failure() -> None:
    """Without the claim it is one."""
    for claims, outcome in ((True, CORROBORATED), (False, FALSIFIED)):
        own = converter_of("tests.quality.correct.own_files:convert", reads_own_files_only=claims)
        results = run(own, only=["F-CONV-003/floats/f32/two-rows/*"])
        assert [result.outcome for result in results] == [outcome]


def test_smoke_finds_it_out() -> None:
    """GGUF is asked about before there is a file of its own: it is asked again behind the others."""
    found = smoke(Function(Entry("own", function="tests.quality.correct.own_files:convert")))
    assert found.pairs["G-S"].works
    assert found.pairs["G-S"].own
    assert "\nreads_own_files_only = true\n" in as_toml(found)
