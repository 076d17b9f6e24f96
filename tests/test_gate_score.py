"""The score: examples worked out by hand, the laws it keeps, and what it takes for evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.cli import main
from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, OUTCOMES, SKIPPED, TIMEOUT
from rosetta_ref.gate.report.score import CATEGORIES, EvidenceError, Scored, cases_of, category_of, read, score


def of(*cases: tuple[str, str, int]) -> list[Scored]:
    return [Scored(gate, outcome) for gate, outcome, count in cases for _ in range(count)]


# --- by hand


def test_all_passed_is_a_thousand() -> None:
    made = score(of(("F-CONV-001", CORROBORATED, 3)))
    assert (made.raw, made.normalised, made.grade) == (1000, 100.0, "A+")
    assert made.untested == ["QUAL", "PERF", "STAB", "EDGE", "REGR"]


@pytest.mark.parametrize(
    ("cases", "points"),
    [
        # 150 * 1/3 = 50
        ([("F-CONV-DET-001", CORROBORATED, 1), ("F-CONV-DET-001", FALSIFIED, 2)], {"COMP": 50}),
        # 200 * 1/16 = 12.5, rounded up as Rust does it; Python's round would give 12
        ([("F-QUAL-1", CORROBORATED, 1), ("F-QUAL-1", FALSIFIED, 15)], {"QUAL": 13}),
        # 150 * 2/3 = 100 and 200 * 0/1
        ([("F-CONV-RT-002", CORROBORATED, 2), ("F-CONV-COM-001", FALSIFIED, 1), ("G0-PULL-001", FALSIFIED, 1)],
         {"REGR": 100, "STAB": 0}),
        # two timeouts cost 20 points beside the 100 that their cases do
        ([("F-EDGE-1", CORROBORATED, 1), ("F-EDGE-2", TIMEOUT, 2)], {"EDGE": 50 - 20}),
        # what was skipped is neither passed nor failed
        ([("F-PERF-1", CORROBORATED, 1), ("F-PERF-1", FALSIFIED, 1), ("F-PERF-1", SKIPPED, 7)], {"PERF": 75}),
    ],
)  # fmt: skip
def test_points(cases: Sequence[tuple[str, str, int]], points: dict[str, int]) -> None:
    expected = sum(points.get(name, most) for name, most in CATEGORIES.items())
    assert score(of(*cases)).raw == expected


@pytest.mark.parametrize(
    ("passed", "timeouts", "raw", "normalised", "grade"),
    [
        (200, 0, 1000, 100.0, "A+"), (100, 0, 900, 95.9041, "A"), (0, 30, 500, 74.0363, "C"), (6, 36, 446, 70.0184, "C-"),
        (5, 36, 445, 69.9404, "D+"), (0, 45, 350, 61.8048, "D-"), (0, 47, 330, 59.8791, "F"), (0, 199, 0, 0.0, "F"),
    ],
)  # fmt: skip
def test_normalised_by_hand(passed: int, timeouts: int, raw: int, normalised: float, grade: str) -> None:
    """100 log10(1 + 9 raw/1000): of QUAL's 200 cases each is a point, and a timeout costs ten more."""
    made = score(
        of(
            ("F-QUAL-1", CORROBORATED, passed),
            ("F-QUAL-1", TIMEOUT, timeouts),
            ("F-QUAL-1", FALSIFIED, 200 - passed - timeouts),
        )
    )
    assert (made.raw, made.grade) == (raw, grade)
    assert made.normalised == pytest.approx(normalised, abs=1e-4)
    assert made.qualifies == (raw >= 446)


def test_the_playbooks_own_files() -> None:
    """Two of its published files, by gate and outcome: qwen2.5-coder-0.5b-mvp and qwen3-8b."""
    answers = of(*((f"F-A{n}-001", CORROBORATED, 3) for n in range(1, 7)), ("F-GOLDEN-RULE-001", FALSIFIED, 1))
    made = score(answers)
    # 200 * 18/19 = 189.47
    assert (made.raw, made.grade) == (989, "A+")
    checks = of(("G0-DIM-CONFIG_PARSE", CORROBORATED, 9), ("G0-DIM-BOS_TOKEN_VALID", FALSIFIED, 1))
    assert score(checks).raw == 980


# --- gateways


@pytest.mark.parametrize(
    ("gate", "outcome", "kinds", "gateways"),
    [
        *((f"F-CONV-00{n}", FALSIFIED, (), {"G0"}) for n in range(1, 7)),
        ("F-CONV-CARD-001", FALSIFIED, (), {"G0"}),
        ("F-CONV-SAFE-001", FALSIFIED, (), {"G0"}),
        ("G0-INTEGRITY-CONFIG", FALSIFIED, (), {"G0"}),
        ("G0-INTEGRITY-CONFIG", TIMEOUT, (), {"G0"}),
        ("F-CONV-001", TIMEOUT, (), set()),
        ("F-CONV-001", CRASHED, (), {"G3"}),
        ("F-CONV-NAME-001", FALSIFIED, (), set()),
        ("F-CONV-007", FALSIFIED, (), set()),
        ("F-CONV-RT-001", FALSIFIED, (), set()),
        ("G0-PULL-001", FALSIFIED, (), set()),
        ("F-CONV-META-001", FALSIFIED, (), {"G1"}),
        ("G1-LOAD-001", FALSIFIED, (), {"G1"}),
        ("F-CONV-BE-001", FALSIFIED, (), {"G2"}),
        ("F-CONV-BE-001", FALSIFIED, ("load",), {"G1", "G2"}),
        ("F-CONV-BE-001", FALSIFIED, ("answers-load",), {"G1", "G2"}),
        ("G2-BASIC", TIMEOUT, (), {"G2"}),
        ("F-PERF-G12", FALSIFIED, (), set()),
        ("F-EDGE-1", CRASHED, (), {"G3"}),
    ],
)  # fmt: skip
def test_a_failed_gateway_gives_nothing(gate: str, outcome: str, kinds: tuple[str, ...], gateways: set[str]) -> None:
    made = score([Scored(gate, outcome, frozenset(kinds)), *of(("F-QUAL-1", CORROBORATED, 9))])
    assert {name for name, why in made.gateways.items() if why} == gateways
    assert (made.raw == 0) == bool(gateways)
    assert (made.grade == "F") == bool(gateways)


def test_a_quarter_of_garbage_is_still_an_answer() -> None:
    garbage = of(("F-G4-001", FALSIFIED, 1))
    assert score([*garbage, *of(("F-QUAL-1", CORROBORATED, 3))]).gateways["G4"] is None
    made = score([*garbage, *of(("F-QUAL-1", CORROBORATED, 2), ("F-QUAL-1", SKIPPED, 9))])
    assert made.gateways["G4"] == "F-G4-001 (1)"
    nonsense = [Scored("F-CONV-BE-001", FALSIFIED, frozenset({"flat"}))]
    assert score(nonsense).gateways["G4"] == "F-CONV-BE-001 (1)"
    assert (
        score([Scored("F-CONV-BE-001", FALSIFIED, frozenset({"answers-flat"}))]).gateways["G4"] == "F-CONV-BE-001 (1)"
    )
    assert score([Scored("F-CONV-001", FALSIFIED, frozenset({"nan"}))]).gateways["G4"] is None


@pytest.mark.parametrize(
    ("gate", "category"),
    [
        ("F-CONV-001", "COMP"), ("F-CONV-QUANT-001", "COMP"), ("F-CONV-COMPLETE-001", "COMP"), ("F-CONV-RT-004", "REGR"),
        ("F-CONV-ABA-001", "REGR"), ("F-CONV-IDEM-001", "REGR"), ("F-CONV-COM-001", "REGR"), ("G0-ANY", "STAB"),
        ("F-STAB-1", "STAB"), ("F-edge-1", "EDGE"), ("F-PERF", "PERF"), ("F-A1-001", "QUAL"), ("X-PERF-1", "QUAL"), ("F", "QUAL"),
    ],
)  # fmt: skip
def test_categories(gate: str, category: str) -> None:
    assert category_of(gate) == category


# --- laws

_gates = st.sampled_from(
    [
        "F-CONV-001",
        "F-CONV-RT-001",
        "F-CONV-META-001",
        "F-CONV-DET-001",
        "G0-INTEGRITY-1",
        "G0-X",
        "G4-1",
        "F-PERF-1",
        "F-EDGE-1",
        "z",
    ]
)
_cases = st.lists(st.builds(Scored, _gates, st.sampled_from(OUTCOMES)), max_size=30)
_tested = _cases.filter(lambda cases: any(case.outcome != SKIPPED for case in cases))


@given(_tested)
def test_bounds(cases: list[Scored]) -> None:
    made = score(cases)
    assert 0 <= made.raw <= 1000
    assert 0 <= made.normalised <= 100
    assert (made.raw == 1000) == all(case.outcome in (CORROBORATED, SKIPPED) for case in cases)
    assert made.qualifies == (made.grade not in ("D+", "D", "D-", "F"))
    json.dumps(made.to_json(), allow_nan=False)


@given(_tested, st.data())
def test_mending_a_case_never_costs_points(cases: list[Scored], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(cases) - 1).filter(lambda n: cases[n].outcome != SKIPPED))
    mended = [*cases[:index], Scored(cases[index].gate, CORROBORATED), *cases[index + 1 :]]
    assert score(mended).raw >= score(cases).raw


@given(_tested, st.data())
def test_order_and_skipped_cases_say_nothing(cases: list[Scored], data: st.DataObject) -> None:
    more = [Scored(data.draw(_gates), SKIPPED) for _ in range(3)]
    assert score([*data.draw(st.permutations(cases)), *more]).raw == score(cases).raw


@given(_tested, _gates)
def test_a_timeout_or_a_crash_is_never_better_than_a_pass(cases: list[Scored], gate: str) -> None:
    best = score([*cases, Scored(gate, CORROBORATED)]).raw
    slow = score([*cases, Scored(gate, TIMEOUT)]).raw
    assert score([*cases, Scored(gate, CRASHED)]).raw <= slow <= best


# --- evidence


def item(gate: str = "F-CONV-001", outcome: str = CORROBORATED, **more: object) -> dict[str, object]:
    return {"gate_id": gate, "outcome": outcome, "scenario": {"modality": "run"}, "stderr": None, "later": [1], **more}


def test_the_pairs_by_letter_are_the_numbers() -> None:
    letters = ["G-A", "A-G", "G-S", "S-G", "A-S", "S-A"]
    found = cases_of([item(f"F-CONV-{pair}") for pair in letters])
    assert [case.gate for case in found] == [f"F-CONV-00{n}" for n in range(1, 7)]
    assert score(cases_of([item("F-CONV-S-A", FALSIFIED)])).gateways["G0"] == "F-CONV-006 (1)"


def test_an_export_has_the_list_inside() -> None:
    assert cases_of({"version": "1.0.0", "evidence": [item()]}) == cases_of([item()])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ('[{"gate_id": "a", "outcome": "Corroborated", "x": NaN}]', "NaN is no number of JSON"),
        ('[{"gate_id": "a", "outcome": "Corroborated", "x": -Infinity}]', "-Infinity is no number"),
        ("[" * 100_000, "not JSON"),
        ("{}", "not a list but an object"),
        ("null", "not a list but null"),
        ("[1]", "case 0 is a number, not an object"),
        ('[{"gate_id": "a", "outcome": "Corroborated"}, {"outcome": "Corroborated"}]', "case 1 has no gate_id"),
        ('[{"gate_id": 7, "outcome": "Corroborated"}]', "case 0 has no gate_id"),
        ('[{"gate_id": "a"}]', r"case 0 \(a\): the outcome is None"),
        ('[{"gate_id": "a", "outcome": ["Skipped"]}]', "the outcome is"),
        ('[{"gate_id": "a", "outcome": "passed"}]', "the outcome is 'passed', not one of"),
        (
            '[{"gate_id": "a", "outcome": "Corroborated", "metadata": {"compared": {"compared": 0}}}]',
            "nothing was compared",
        ),
        ("[]", "there is no case at all"),
        ('[{"gate_id": "a", "outcome": "Skipped"}]', "no case was tested"),
    ],
)
def test_what_is_no_evidence(text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(text)
    with pytest.raises(EvidenceError, match=problem):
        score(read(path))
    assert main(["score", str(path)]) == 2
    assert "error: " in capsys.readouterr().err


# --- the command


def test_the_command_scores_and_says_what_is_untested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps([item(), item("F-EDGE-1", TIMEOUT), item("F-EDGE-2")]))
    assert main(["score", str(path)]) == 0
    shown = capsys.readouterr().out
    # EDGE: 150 * 1/2 = 75; one timeout: 10
    assert "915 of 1000 points, 96.5 of 100, grade A: qualifies" in shown
    assert "untested, with full points: QUAL, PERF, STAB, REGR" in shown
    assert main(["score", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["raw"], found["grade"], found["penalty"], found["production"]) == (915, "A", 10, True)
    assert found["categories"]["EDGE"] == {"points": 75, "max": 150, "passed": 1, "total": 2}


def test_what_does_not_qualify_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps([item(outcome=FALSIFIED)]))
    assert main(["score", str(path)]) == 1
    assert "FAILED: F-CONV-001 (1)" in capsys.readouterr().out
    assert main(["score", str(path), "--json", "--quiet"]) == 1
    assert main(["score", str(tmp_path / "none.json")]) == 2
