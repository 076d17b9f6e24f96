"""What the gate finds has the name of the bug, where the zoo knows it: a member of the zoo, run as anybody's converter."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.cli import main
from rosetta_ref.diagnosis import Cause, Diagnosis, Namer, failures
from rosetta_ref.diagnosis.cause import NOT_KNOWN
from rosetta_ref.gate.findings import FALSIFIED, Result
from rosetta_ref.gate.run.engine import Failure, run, samples_for
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.adapter import converter

PULL = "https://github.com/paiml/aprender/pull/1621"


def test_a_member_of_the_zoo_is_told_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{sys.executable} -m rosetta_ref.zoo q5_0-interleaved {{src}} {{dst}}"
    code = main(
        ["gate", f"--converter={command}", "--architectures=llama", "--pairs=G-S", "--case=F-CONV-00?/llama-mix/*",
         "--case=F-CONV-META-001/G-S/llama-mix", "--case=F-CONV-NAME-001/G-S/llama-mix", "--no-reproductions", f"--output={tmp_path}"]
    )  # fmt: skip
    assert code == 1
    out = capsys.readouterr().out
    assert "values (q5_0-interleaved)" in out
    assert PULL in "".join(out.split())
    assert f"**values (q5\\_0-interleaved)** {PULL}" in (tmp_path / "summary.md").read_text("utf-8")
    cases = json.loads((tmp_path / "result.json").read_text("utf-8"))["cases"]
    told = {case["case"]: case["diagnosis"] for case in cases}
    assert len(told) > 10
    named = {case for case, diagnosis in told.items() if diagnosis == {"id": "q5_0-interleaved", "link": PULL}}
    assert len(named) == 3
    assert named == {case for case in told if "/q5_0/" in case or "/q5_1/" in case}
    assert {told[case] for case in told.keys() - named} == {None}


def failing() -> list[Failure]:
    """The wrong outputs of that member, of two models. The files are gone."""
    found: list[Failure] = []
    member = converter(MEMBERS["q5_0-interleaved"])
    run(member, samples=samples_for(member.entry, 0), only=["F-CONV-00?/*-mix/q5_0/*"], on_failure=found.extend)
    return found


class Asked:
    """In the place of `attach`: what it is asked, and an answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, size: int = 1) -> None:
        self.members: list[list[Member] | None] = []
        monkeypatch.setattr(failures, "attach", self)
        monkeypatch.setattr(failures, "size_of", lambda path: size)

    def __call__(self, source: Path, output: Path, results: list[Result], **options: Any) -> list[Diagnosis]:
        assert {result.outcome for result in results} == {FALSIFIED}
        self.members.append(options["members"])
        return [Diagnosis(("a",), (Cause("q5_0-interleaved", ""),))]


def test_of_failures_that_look_alike_one_is_shown_to_every_member(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked, namer = failing(), Asked(monkeypatch), Namer()
    namer(found)
    assert asked.members == [None, [MEMBERS["q5_0-interleaved"]]]
    assert namer.errors == []


def test_another_bug_that_looks_alike_is_shown_to_every_member_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale shard in F16 had no name, since something else that was wrong in F32 tensors had been looked at before."""
    found, asked, namer = failing(), Asked(monkeypatch), Namer()
    found[1].results[0].findings = [replace(one, tensor="other.weight") for one in found[1].results[0].findings]
    answers = iter([Cause("q5_0-interleaved", ""), NOT_KNOWN, Cause("stale-shard-wins", "")])
    once = asked.__call__

    def answer(*given: Any, **options: Any) -> list[Diagnosis]:
        once(*given, **options)
        return [Diagnosis(("a",), (next(answers),))]

    monkeypatch.setattr(failures, "attach", answer)
    namer(found)
    assert asked.members == [None, [MEMBERS["q5_0-interleaved"]], None]
    asked.members.clear()
    answers = iter([NOT_KNOWN])
    namer(found[1:])
    assert asked.members in ([[MEMBERS["q5_0-interleaved"], MEMBERS["stale-shard-wins"]]],
                             [[MEMBERS["stale-shard-wins"], MEMBERS["q5_0-interleaved"]]])  # fmt: skip


def test_it_ends_when_the_tries_are_over_and_large_files_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found, few = failing(), Asked(monkeypatch)
    namer = Namer(left=len(MEMBERS))
    namer(found)
    namer(found)  # the next seed
    assert len(few.members) == 1
    namer = Namer(left=len(MEMBERS) + 1)
    namer(found)
    assert len(few.members) == 3
    large = Asked(monkeypatch, size=failures.WHOLE + 1)
    Namer()(found)
    assert large.members == []


def test_a_machine_that_is_busy_names_as_much_and_files_that_take_long_do_not_hold_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, asked, now = failing(), Asked(monkeypatch), [0.0]
    monkeypatch.setattr(failures.time, "monotonic", lambda: now.append(now[-1] + 1000) or now[-1])
    Namer()(found)
    assert len(asked.members) == 2
    monkeypatch.setattr(failures.time, "process_time", lambda: now.append(now[-1] + 1000) or now[-1])
    Namer()(found)
    assert len(asked.members) == 3


def test_a_search_that_breaks_takes_no_verdict_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found, namer = failing(), Namer()
    monkeypatch.setattr(failures, "size_of", lambda path: 1)
    namer(found)  # the files are not there any more
    assert len(namer.errors) == len(found) == 2
    assert all("no diagnosis: " in line for line in namer.errors)
    assert {result.diagnosis for failure in found for result in failure.results} == {None}
