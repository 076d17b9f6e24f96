"""Shares of a run: parts that are put together equal one run, and a budget goes to the cases that show most."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.findings import Result
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.report.files import schema
from rosetta_ref.gate.run import order
from rosetta_ref.gate.run.engine import group_of, samples_for
from rosetta_ref.gate.run.extent import Extent
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.progress import Progress

# Refuses what is large, and gives rubbish for all else; some of its words look like those of files.
SOURCE = """
    import pathlib, time
    def wrong(src, dst):
        if src.is_file() and src.stat().st_size > 60_000:
            raise ValueError("too large \\x1b[31m")
        pathlib.Path(dst).write_bytes(b"GGUF")
    def slow(src, dst):
        time.sleep(0.1)
        pathlib.Path(dst).write_bytes(b"{}")
"""
CASES = (
    "--case=F-CONV-META-001/*",
    "--case=F-CONV-DET-001/*",
    "--case=F-CONV-RT-*",
    "--case=F-CONV-SAFE-001/gguf/key*",
)


def result(case: str, outcome: str) -> Result:
    return Result(case, case, outcome)


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, dict[str, Any]]]:
    """Runs a command with files in a folder: the exit code, what it printed, and result.json."""
    (tmp_path / "parted.py").write_text(textwrap.dedent(SOURCE))

    def run(*words: str, name: str = "out", function: str = "wrong") -> tuple[int, str, dict[str, Any]]:
        if words[0] == "gate":
            words = (*words, f"--converter={tmp_path / 'parted.py'}:{function}", "--pairs=G-S", "--no-reproductions")
        code = main([*words, f"--output={tmp_path / name}"])
        printed = capsys.readouterr()
        found = json.loads((tmp_path / name / "result.json").read_text())
        jsonschema.validate(found, schema("result"))
        return code, printed.out + printed.err, found

    return run


def test_parts_put_together_equal_one_run(gate: Callable[..., Any], tmp_path: Path) -> None:
    expected = tmp_path / "expected.yaml"
    expected.write_text(
        "- {pattern: F-CONV-META-001/*, reason: rubbish}\n- {pattern: F-CONV-DET-001/*, reason: none}\n"
    )
    words = ("gate", *CASES, f"--expectations={expected}")
    code, _, whole = gate(*words, name="whole")
    for number in (1, 2):
        _, said, part = gate(*words, f"--part={number}/2", name=f"part-{number}")
        assert part["partial"]["part"] == [number, 2]
        assert 0 < part["partial"]["answered"] < part["partial"]["planned"] == len(whole["cases"])
        assert f"partial (part {number} of 2)" in said
    parts = [str(tmp_path / f"part-{number}" / "result.json") for number in (2, 1)]
    code_of_parts, _, made = gate("merge", *parts, name="merged")
    assert code_of_parts == code
    assert len(whole["cases"]) >= 30
    for each in (whole, made):
        for case in each["cases"]:
            case["seconds"] = 0.0
        each["seconds"] = each["timestamp"] = 0
    assert made == whole
    assert (tmp_path / "merged" / "evidence.json").exists()


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The only part of a run, as a text."""
    folder = tmp_path_factory.mktemp("part")
    (folder / "parted.py").write_text(textwrap.dedent(SOURCE))
    words = (f"--converter={folder / 'parted.py'}:slow", "--pairs=G-S", "--no-reproductions", "--quiet")
    main(["gate", *words, "--case=F-CONV-META-001/*/llama-f32-tied", "--part=1/1", f"--output={folder}"])
    return (folder / "result.json").read_text()


def merged(parts: list[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of parts that are not put together."""
    paths = [folder / f"part-{place}.json" for place in range(len(parts))]
    for path, each in zip(paths, parts, strict=True):
        path.write_text(json.dumps(each))
    capsys.readouterr()
    assert main(["merge", *map(str, paths)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([[1, 2]], "of 2 parts 2 is missing"),
        ([[1, 2], [1, 2]], "of 2 parts 1 is there twice"),
        ([[1, 2], [2, 3]], "parts of 2 and of 3 are not of one run"),
        ([[1, 2], [2, 2]], "'F-CONV-META-001/G-S/llama-f32-tied' is in two parts"),
        ([None], "it is no part of a run"),
    ],
)
def test_what_is_no_run_is_not_put_together(
    parts: list[Any], words: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [json.loads(part) | {"partial": each and {"part": each}} for each in parts]
    assert words in merged(runs, tmp_path, capsys)


@pytest.mark.parametrize("name", ["seed", "profile", "versions", "converter"])
def test_parts_of_two_runs_are_not_put_together(
    name: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [json.loads(part) | {"partial": {"part": [number, 2]}} for number in (1, 2)]
    runs[1][name] = {}
    assert f"{name} is not that of" in merged(runs, tmp_path, capsys)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["cases", 0, "findings", 0, "kind"], "no kind"), (["cases", 0, "findings", 0, "count"], 1e9), (["cases", 0, "seed"], True),
        (["cases", 0, "compared"], []), (["cases", 0, "notes"], {"a": "b"}), (["cases", 0, "source_types"], [1]),
        (["cases", 0, "diagnosis"], {"id": 1}), (["converter", "environment"], [[]]), (["converter", "odd"], 1),
        (["partial"], 3), (["partial", "part"], [2, 1]), (["partial", "part"], [1, 1.0]), (["seconds"], "1"), (["seed"], "1"),
    ],
)  # fmt: skip
def test_parts_from_a_stranger_are_checked(
    path: list[Any], value: object, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(part) | {"partial": {"part": [1, 1], "cut": {}}}
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert "part-0.json" in merged([found], tmp_path, capsys)


def test_a_budget_goes_to_what_shows_most_and_the_rest_is_named(gate: Callable[..., Any]) -> None:
    code, said, found = gate("gate", "--budget=2s", function="slow")
    partial = found["partial"]
    assert code == 1
    assert partial["budget"] == 2
    assert 0 < partial["answered"] < partial["planned"]
    assert "F-CONV-SAFE-001" in partial["cut"]
    assert "partial (its budget of 2 s is spent)" in said


def test_what_shows_most_is_asked_first(cases: list[Case]) -> None:
    groups = Extent(budget=60.0).groups(cases, group_of)
    there = [order.conversion_of(group[0]) for group in groups]
    named = [name for name in json.loads(order.TABLE.read_text()) if name in there]
    assert there[: len(named)] == named
    assert sorted(case.id for group in groups for case in group) == sorted(case.id for case in cases)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    entry = bundled.entry("reference")
    return plan(entry, samples_for(entry, 0))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_parts_share_all_cases_and_no_conversion(count: int, cases: list[Case]) -> None:
    parts = [order.share(cases, group_of, number, count) for number in range(1, count + 1)]
    assert sorted(case.id for part in parts for case in part) == sorted(case.id for case in cases)
    groups = [{group_of(case) for case in part} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups))
    if count <= 3:
        assert max(map(len, parts)) < 3 * min(map(len, parts))


def test_every_conversion_of_the_table_is_one_of_the_gate(cases: list[Case]) -> None:
    """A sample that has another name now would be asked last."""
    there = {order.conversion_of(case) for case in cases}
    named = [name for name in json.loads(order.TABLE.read_text()) if name.count(" ") == 1]
    assert len(named) > 100
    assert set(named) <= there


def test_progress_says_how_much_is_done_and_how_long_it_takes() -> None:
    progress = Progress(lambda: 40, lambda found: found.case == "known", lambda: None)
    for case, outcome in [("a", "Falsified"), ("known", "Falsified"), ("b", "Skipped"), *[("c", "Corroborated")] * 17]:
        progress.add(result(case, outcome))
    assert str(progress).startswith("20 of 40 cases, 1 failed, about 1 s left; c: Corroborated")
    budget = Progress(lambda: 10**9, lambda found: False, lambda: 3.0)
    for _ in range(20):
        budget.add(result("a", "Crashed"))
    assert "20 failed, about 3 s left" in str(budget)


def test_what_is_answered_while_all_is_being_ended_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from rosetta_ref.gate.run import extent as module

    extent = Extent()
    assert extent.take(result("a", "Crashed"))
    monkeypatch.setattr(module.ENDING, "is_set", lambda: True)
    assert not extent.take(result("b", "Crashed"))
    assert extent.answered.keys() == {"a"}
