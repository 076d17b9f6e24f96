"""What the gate leaves of failures: for each kind a small input that shows it again, and none for what is expected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.cli import main
from rosetta_ref.reduce.folder.expected import load
from tests.support.few import few_members

BROKEN = Path(__file__).parents[1] / "support" / "broken.py"


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Which of all the members is named is asked by test_diagnosis and test_zoo."""
    with few_members("k-scales-bit-stream", "q5_0-interleaved", "truncation-accepted", "gate-and-up-exchanged"):
        yield


def gate(function: str, folder: Path, *flags: str) -> list[dict[str, Any]]:
    """The cases of a run that has to fail."""
    asked = [
        "gate",
        "--converter",
        f"{BROKEN}:{function}",
        "--jobs",
        "1",
        "--quiet",
        "--output",
        str(folder / "out"),
        *flags,
    ]
    assert main(asked) == 1
    cases: list[dict[str, Any]] = json.loads((folder / "out" / "result.json").read_text())["cases"]
    return cases


@pytest.mark.parametrize(
    ("function", "flags", "kind", "largest"),
    [
        ("wrong_values", ("--case=F-CONV-003/k/*/index-coded",), "values", 256),
        pytest.param(
            "wrong_on_the_way_back", ("--case=F-CONV-ABA-001/G-S-G/*",), "values", 2048, marks=pytest.mark.slow
        ),
        ("refuses", ("--types=F32", "--pairs=G-A", "--no-whole-models", "--case=F-CONV-001/floats/f32/*"), "refused", 128),
        ("crashes", ("--case=F-CONV-001/k/q4_k/*",), "crashed", 128),
        pytest.param(
            "hangs", ("--isolated", "--time-limit=1", "--case=F-CONV-001/k/q4_k/*"), "timeout", 20_000, marks=pytest.mark.slow
        ),
        ("writes_nothing", ("--case=F-CONV-001/k/q4_k/*",), "missing", 128),
        ("writes_what_nobody_reads", ("--case=F-CONV-001/k/q4_k/*",), "unreadable", 128),
        ("takes_what_is_cut", ("--case=F-CONV-SAFE-001/gguf/*",), "accepted", 160),
    ],
)  # fmt: skip
def test_each_kind_is_shown_again(
    function: str, flags: tuple[str, ...], kind: str, largest: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = gate(function, tmp_path, *flags)
    folders = {case["reproduction"] for case in cases if case.get("reproduction")}
    assert folders, capsys.readouterr().err
    there = {path.name for path in (tmp_path / "out" / "reproductions").iterdir()}
    assert {Path(folder).name for folder in folders} == there
    for name in there:
        folder = tmp_path / "out" / "reproductions" / name
        expected = load(folder)
        assert expected.fingerprint.kind == kind
        assert sum((folder / file).stat().st_size for file in expected.files) <= largest
        capsys.readouterr()
        limits = [flag for flag in flags if flag.startswith(("--isolated", "--time-limit"))]
        assert main(["replay", str(folder), "--converter", f"{BROKEN}:{function}", *limits]) == 1
        assert capsys.readouterr().out.startswith("FAILED: ")
        assert main(["replay", str(folder), "--converter", "reference"]) == 0
        assert capsys.readouterr().out.startswith("FIXED: ")


def test_each_failure_has_its_own(tmp_path: Path) -> None:
    cases = gate("wrong_in_two_types", tmp_path, "--case=F-CONV-003/legacy/q5_0/*", "--case=F-CONV-003/legacy/q4_1/*")
    for kind in ("q5_0", "q4_1"):
        failed = [case for case in cases if f"/{kind}/" in case["case"] and case["outcome"] == "Falsified"]
        assert len(failed) >= 3
        for case in failed:
            assert load(Path(case["reproduction"])).fingerprint.type == kind.upper(), case["case"]


def test_each_rule_has_its_own(tmp_path: Path) -> None:
    cases = gate("writes_what_nobody_reads", tmp_path, "--case=F-CONV-SAFE-001/gguf/*")
    rules: dict[str, set[str]] = {}
    for case in cases:
        if case.get("reproduction"):
            expected = load(Path(case["reproduction"]))
            rules.setdefault(expected.fingerprint.subject, set()).add(case["case"])
    assert 3 <= len(rules) <= 8
    assert sum(map(len, rules.values())) < len(cases), "the others have none"


def test_what_is_expected_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_text("- pattern: F-CONV-003/k/q4_k/*/index-coded\n  reason: known\n")
    asked = [
        "gate",
        "--converter",
        f"{BROKEN}:wrong_values",
        "--quiet",
        "--case=F-CONV-003/k/q4_k/*/index-coded",
        "--expectations",
        str(path),
    ]
    assert main([*asked, "--output", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "reproductions").exists()
    path.write_text("[]\n")
    assert main([*asked, "--output", str(tmp_path / "other")]) == 1
    assert (tmp_path / "other" / "reproductions").is_dir()


def test_where_none_are_wanted_there_are_none(tmp_path: Path) -> None:
    cases = gate("wrong_values", tmp_path, "--case=F-CONV-003/k/*/index-coded", "--no-reproductions")
    assert any(case["outcome"] == "Falsified" for case in cases)
    assert not any(case.get("reproduction") for case in cases)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "evidence.json", "summary.md"}


def test_where_all_is_refused_the_reason_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["gate", "--converter", f"{BROKEN}:refuses", "--case=F-CONV-001/k/*", "--output", str(tmp_path / "out")]
    assert main(asked) == 2
    said = capsys.readouterr()
    assert "every case was skipped (40), the first one because: refused" in said.out + said.err
    assert "itself has failed" not in said.err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["verdict"]["exit_code"] == 2
