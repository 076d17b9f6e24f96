"""The rosetta score beside the MQS: a share that every gate has the same part in, and the worst causes in words."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import CRASHED, Result
from rosetta_ref.gate.report.files import RunInfo, evidence_json, result_json
from rosetta_ref.gate.report.rosetta import rosetta_score
from rosetta_ref.gate.report.score import Scored, cases_of
from rosetta_ref.gate.report.summary import markdown
from rosetta_ref.gate.report.verdict import judge
from tests.support.results import failed, passed, skipped

ENTRY = Entry("tool", command="tool {src} {dst}")


def run() -> list[Result]:
    """001: 3 of 4 right; META: 0 of 2; 004: 1 of 1 beside a skip. The mean is (3/4 + 0 + 1) / 3."""
    return [
        *(passed(f"F-CONV-001/{n}") for n in "abc"), failed("F-CONV-001/d", "values", diagnosis="q5_0-interleaved"),
        failed("F-CONV-META-001/a", "key-lost"), failed("F-CONV-META-001/b", "key-lost", "file-type-wrong"),
        passed("F-CONV-004/a"), skipped("F-CONV-004/b"),
    ]  # fmt: skip


def test_each_gate_has_the_same_weight() -> None:
    made = rosetta_score(map(Scored.of, run()))
    assert made is not None
    assert made.share == pytest.approx(1.75 / 3, abs=1e-12)
    assert str(made) == "58.3 %"
    assert {gate: (each.right, each.judged) for gate, each in made.gates.items()} == {
        "F-CONV-001": (3, 4), "F-CONV-004": (1, 1), "F-CONV-META-001": (0, 2),
    }  # fmt: skip


def test_the_worst_causes_are_sentences() -> None:
    crash = failed("F-CONV-003/x", outcome=CRASHED)
    made = rosetta_score(map(Scored.of, [*run(), crash]))
    assert made is not None
    assert made.worst == (
        "Values are wrong (q5_0-interleaved) in 1 case, such as F-CONV-001/d: the model loads and computes with other weights.",
        "It crashes in 1 case, such as F-CONV-003/x: there is no output, and no message that helps.",
        "A metadata key is lost in 2 cases, such as F-CONV-META-001/a: what the key says is no longer known.",
    )


def test_no_failure_is_rounded_away_and_nothing_has_no_score() -> None:
    most = [*(passed(f"F-CONV-001/{n}") for n in range(9999)), failed("F-CONV-001/x", "values")]
    assert str(rosetta_score(map(Scored.of, most))) == "99.9 %"
    assert str(rosetta_score(map(Scored.of, most[:1]))) == "100.0 %"
    assert rosetta_score(map(Scored.of, [skipped("F-CONV-001/a")])) is None


def test_evidence_gives_the_score_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, read = (rosetta_score(cases) for cases in (map(Scored.of, run()), cases_of(evidence_json(run(), ENTRY))))
    assert made == read
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(evidence_json(run(), ENTRY)))
    assert main(["score", str(path)]) == 1
    said = capsys.readouterr().out
    assert "rosetta score: 58.3 % of the judged cases are right" in said
    assert "worst: Values are wrong (q5_0-interleaved) in 1 case" in said
    assert "0 of 1000 points" in said  # the MQS stays what it is
    assert main(["score", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rosetta_score"]["share"] == pytest.approx(1.75 / 3, abs=1e-6)


def test_reports_have_it_beside_the_mqs() -> None:
    verdict = judge(run(), [], datetime.date(2026, 11, 25))
    text = markdown(run(), verdict, ENTRY)
    assert "rosetta score 58.3 %" in text
    assert "- Values are wrong (q5\\_0-interleaved) in 1 case" in text
    assert result_json(run(), verdict, ENTRY, RunInfo())["rosetta_score"]["worst"][0].startswith("Values are wrong")


def test_evidence_of_a_stranger_is_only_words(tmp_path: Path) -> None:
    """Whatever stands for a case or a diagnosis: no text, or a very long one."""
    item = {
        "gate_id": "F-CONV-001",
        "outcome": "Falsified",
        "metadata": {"case": ["x"], "diagnosis": {"id": 3}, "kinds": ["values", 1]},
    }
    long = {
        "gate_id": "F-CONV-001",
        "outcome": "Falsified",
        "metadata": {"case": "x" * 9999, "diagnosis": "y", "kinds": ["no such kind"]},
    }
    made = rosetta_score(cases_of([item, long]))
    assert made is not None
    assert [len(line) < 600 for line in made.worst] == [True, True]
    assert made.worst[0].startswith("Values are wrong in 1 case, such as F-CONV-001:")
