"""What was never claimed: it is skipped everywhere, nobody has to pin it, and it is still seen."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.findings import FALSIFIED, SKIPPED, Result
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.report.expectations import parse
from rosetta_ref.gate.report.files import RunInfo, result_json
from rosetta_ref.gate.report.history import compare
from rosetta_ref.gate.report.summary import markdown
from rosetta_ref.gate.report.verdict import judge
from rosetta_ref.gate.run.engine import run
from tests.support.results import failed, passed, skipped

TODAY = datetime.date(2026, 11, 25)
NOTHING_SAID = Entry("one way", function="none:none")
CLAIMS = replace(NOTHING_SAID, pairs=("S-G",), architectures=("llama",), whole_models=True)
CHAINS = ("F-CONV-RT-*", "F-CONV-ABA-*", "F-CONV-COM-*")


class Made:
    """The reference for the pairs that `takes` says; it refuses all others."""

    def __init__(self, entry: Entry, takes: Callable[[Path, Path], bool]) -> None:
        self.entry, self._takes = entry, takes

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, or not."""
        if not self._takes(src, dst):
            return Run(REFUSED, 1, stderr=f"error: {src.suffix or 'a directory'} is not supported\n")
        try:
            reference(src, dst)
        except RosettaError as error:
            return Run(REFUSED, 1, stderr=f"error: {error}\n")
        return Run(ACCEPTED, 0)


def from_directory_to_gguf(src: Path, dst: Path) -> bool:
    return src.is_dir() and dst.suffix == ".gguf"


def no_apr_to_directory(src: Path, dst: Path) -> bool:
    return not (src.suffix == ".apr" and not dst.suffix)


def results(made: Made, *only: str) -> list[Result]:
    model = build("llama-f32-tied", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)
    return run(made, samples=[model], only=only, jobs=1)


@pytest.mark.parametrize("entry", [CLAIMS, NOTHING_SAID], ids=["claims", "says nothing"])
def test_a_one_way_converter_without_a_fault_ends_with_0(entry: Entry) -> None:
    found = results(Made(entry, from_directory_to_gguf))
    assert {result.outcome for result in found} == {"Corroborated", "Skipped"}
    assert all(result.unclaimed for result in found if result.outcome == SKIPPED)
    verdict = judge(found, [], TODAY)
    assert verdict.exit_code == 0, list(verdict.lines())
    assert "; 5 pairs not claimed" in markdown(found, verdict, entry)


def test_a_chain_through_a_pair_that_does_not_work_accuses_nobody() -> None:
    found = results(Made(NOTHING_SAID, no_apr_to_directory), *CHAINS)
    through = [result for result in found if "A-S" in result.case or "RT-001" in result.gate]
    assert len(through) > 3
    assert {(result.outcome, result.unclaimed) for result in through} == {(SKIPPED, True)}
    assert all("not supported" in result.reason for result in through)


def test_who_takes_a_model_from_the_gate_takes_it_from_itself() -> None:
    """Nothing is said of pairs; but the same model, written by the gate, is converted."""
    forgetful = Made(NOTHING_SAID, lambda src, dst: no_apr_to_directory(src, dst) or "given" in src.parts)
    (chain,) = results(forgetful, "F-CONV-ABA-001/S-A-S/*")
    assert (chain.outcome, [finding.kind for finding in chain.findings]) == (FALSIFIED, ["refused"])


def test_a_pair_that_is_not_claimed_is_not_even_tried_in_a_chain() -> None:
    class Falls(Made):
        def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
            return Run(CRASHED, -11) if src.suffix == ".apr" else super().convert(src, dst)

    entry = replace(CLAIMS, pairs=("S-A", "S-G", "G-A"))
    found = results(Falls(entry, lambda src, dst: True), *CHAINS)
    assert {(each.outcome, each.reason.partition(" claim ")[2]) for each in found if each.outcome == SKIPPED} == {
        (SKIPPED, "A-S"), (SKIPPED, "A-G"), (SKIPPED, "G-S"),
    }  # fmt: skip
    assert {each.outcome for each in found} == {"Corroborated", SKIPPED}  # S-G-A equals S-A


def test_a_claim_that_is_refused_is_no_skip() -> None:
    found = results(Made(replace(CLAIMS, pairs=("S-G", "G-S")), from_directory_to_gguf), "F-CONV-003/*", "F-CONV-ABA*")
    assert {result.outcome for result in found} == {FALSIFIED}


def test_another_reason_to_skip_is_pinned() -> None:
    never, engine = skipped("F-CONV-003/a"), skipped("F-CONV-BE-001/a", "the engine is not installed")
    never.unclaimed = True
    verdict = judge([passed("F-CONV-001/a"), never, engine], [], TODAY)
    assert (verdict.exit_code, verdict.unpinned) == (1, [engine])
    assert "1 skipped without a pin" in markdown([passed("F-CONV-001/a"), never, engine], verdict, CLAIMS)
    # A pin that stands there already is still right, and who expects a failure learns that nothing is asked any more.
    pin = parse("- {pattern: F-CONV-003/*, outcome: Skipped, reason: r}")
    assert judge([passed("F-CONV-001/a"), never], pin, TODAY).exit_code == 0
    fails = parse("- {pattern: F-CONV-003/*, reason: r}")
    assert judge([passed("F-CONV-001/a"), never], fails, TODAY).unpinned == [never]


def test_an_entry_that_claims_less_than_before_is_seen() -> None:
    wide, narrow = replace(CLAIMS, pairs=("S-G", "G-S", "G-A")), CLAIMS

    def record(entry: Entry, *made: Result) -> dict[str, object]:
        return result_json(made, judge(made, [], TODAY), entry, RunInfo())

    lost = passed("F-CONV-META-001/G-A/m", source_format="gguf", target_format="apr")
    chain, same = failed("F-CONV-ABA-001/G-S-G/m", "values"), passed("F-CONV-004/m")
    back = passed("F-CONV-ABA-001/S-G-S/m")
    dropped = skipped("F-CONV-ABA-001/S-G-S/m", "the entry does not claim G-S")
    found = compare(record(wide, lost, chain, same, back, skipped("F-CONV-003/x")), record(narrow, same, dropped))
    assert {then.case: then.detail for then in found.skipped} == {
        back.case: "the entry does not claim G-S", lost.case: "the entry does not claim G-A",
        chain.case: "the entry does not claim G-S",
    }  # fmt: skip
    assert [then.case for then in found.gone] == ["F-CONV-003/x"]
    assert found.worse
