"""A converter that hangs costs its time limit once for each kind of call, and nothing is said of calls that were not made."""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from rosetta_ref.gate.converter.command import CommandLine
from rosetta_ref.gate.converter.entry import NOT_CALLED, TIMEOUT, Entry, Run
from rosetta_ref.gate.findings import CRASHED, SKIPPED
from rosetta_ref.gate.findings import TIMEOUT as TIMEOUTS
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.run.patience import Patience

ENDED, HUNG = Run("accepted", 0, seconds=0.01), Run(TIMEOUT, detail="no end after 8 s")


def test_the_limit_is_paid_once_for_each_kind() -> None:
    patience = Patience(8.0)
    for kind in ("G-A", "G-S"):
        assert patience.seconds(kind) == 8
        assert patience.note(kind, 8.0, HUNG, cut=False) is HUNG
        spent = 0.0
        while (seconds := patience.seconds(kind)) is not None:
            spent += seconds
            short = patience.note(kind, seconds, HUNG, cut=True)  # nobody knows whether it would have ended
            assert short.outcome == NOT_CALLED
            assert short.detail.endswith("one like it had no end after 8 s")
        assert 0 < spent <= 2
    assert patience.not_made("G-A").outcome == NOT_CALLED


def test_calls_are_waited_for_as_others_have_taken() -> None:
    """Ten times as long; and where that is the limit, one that hung once is all that is known."""
    patience = Patience(60.0)
    patience.note("G-S", 60.0, Run("accepted", 0, seconds=1.25), cut=False)
    patience.note("G-A", 60.0, HUNG, cut=False)
    assert patience.seconds("G-A") == 12.5
    patience.note("G-S", 60.0, Run("accepted", 0, seconds=30.0), cut=False)
    assert patience.seconds("G-A") is None
    assert patience.seconds("A-G") == 60


def test_one_that_ended_costs_nothing() -> None:
    patience = Patience(8.0)
    patience.note("G-A", 8.0, HUNG, cut=False)
    for _ in range(50):
        seconds = patience.seconds("G-A")
        assert seconds is not None
        patience.note("G-A", seconds, ENDED, cut=True)


def hanging(folder: Path, when: str, limit: float) -> CommandLine:
    """A command that does nothing with its input but write down that it was called, and hangs where that is so."""
    (folder / "hangs.py").write_text(
        textwrap.dedent(f"""
        import sys, time
        source, target = sys.argv[1:]
        open({str(folder / "calls")!r}, "a").write(source + "\\n")
        if {when}:
            open(target, "w").write("half")
            time.sleep(600)
        raise SystemExit(3)
    """)
    )
    command = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(folder / 'hangs.py'))} {{src}} {{dst}}"
    return CommandLine(Entry("hangs", command=command, pairs=("G-A", "G-S"), time_limit=limit))


def test_a_hanging_converter_ends_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    results = run(hanging(tmp_path, "True", 1.0), only=["F-CONV-001/*", "F-CONV-003/*"], jobs=2)
    assert time.monotonic() - began < 15
    assert Counter(result.outcome for result in results).keys() == {TIMEOUTS, SKIPPED}
    skipped = [result for result in results if result.outcome == SKIPPED]
    assert len(skipped) > 20
    assert {result.reason for result in skipped} == {
        f"not called again: {pair} had no end after 1 s" for pair in ("G-A", "G-S")
    }
    assert len((tmp_path / "calls").read_text().split()) <= 8


def test_of_other_inputs_the_truth_is_told(tmp_path: Path) -> None:
    """One input of a kind hangs: all others are asked, and none of them is said to hang."""
    results = run(hanging(tmp_path, "'qwen2-f32' in source", 3.0), only=["F-CONV-001/*"], jobs=1)
    outcomes = {result.sample: result.outcome for result in results}
    assert outcomes.pop("qwen2-f32") == TIMEOUTS
    assert set(outcomes.values()) == {CRASHED}


@pytest.mark.parametrize("check", ["IDEM", "DET"])
def test_a_second_call_that_is_not_made_shows_nothing(check: str, tmp_path: Path) -> None:
    """The gate asks the same again: that it was not asked is no difference."""
    results = run(hanging(tmp_path, "True", 0.5), only=[f"F-CONV-{check}-001/*"], jobs=1)
    assert {result.outcome for result in results} <= {TIMEOUTS, SKIPPED}


@pytest.mark.slow
def test_a_call_that_was_cut_short_is_no_fault(tmp_path: Path) -> None:
    """It had half a second of its three: neither that nor what it left says anything of the converter."""
    results = run(hanging(tmp_path, "True", 3.0), only=["F-CONV-001/*"], jobs=1)
    cut = [result for result in results if result.reason.startswith("not waited for")]
    assert cut
    assert {result.outcome for result in results} == {TIMEOUTS, SKIPPED}
