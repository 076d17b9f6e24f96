"""What is written of a run, and what is read of it: result.json, evidence.json, the summary, two runs side by side."""

from __future__ import annotations

import datetime
import importlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rosetta_ref import evidence
from rosetta_ref.cli import main
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import CORROBORATED, CRASHED, FALSIFIED, OUTCOMES, SKIPPED, TIMEOUT, Finding, Result
from rosetta_ref.gate.names import VERSION
from rosetta_ref.gate.report.expectations import parse
from rosetta_ref.gate.report.files import RunInfo, evidence_json, result_json, schema, write_evidence, write_result
from rosetta_ref.gate.report.history import HistoryError, compare, read
from rosetta_ref.gate.report.score import cases_of, score
from rosetta_ref.gate.report.score import read as read_evidence
from rosetta_ref.gate.report.summary import causes, markdown, tables
from rosetta_ref.gate.report.verdict import judge
from tests.support.results import failed, passed, skipped

TODAY = datetime.date(2026, 11, 25)
ENTRY = Entry(
    "tool", command="tool {src} {dst}", pairs=("G-A",), expectations=Path("x.yaml"), environment={"KEY": "secret"}
)


def run(*results: Result, expected: str = "", info: RunInfo | None = None) -> dict[str, Any]:
    verdict = judge(results, parse(expected), TODAY)
    return result_json(results, verdict, ENTRY, info or RunInfo(seed=3, version="1.2"))


def strange() -> Result:
    """Numbers of NumPy, no numbers at all, text that is no UTF-8, a path."""
    first = {"index": (np.int64(1), 2), "offset": np.uint32(4), "expected": "0x3f", "actual": float("nan")}
    finding = Finding("values", "F-CONV-001", "x \udcff", "a\ud800", "Q4_K", "F32", count=int(np.int64(3)), first=first)
    made = failed("F-CONV-001/b", seconds=float("1.5"), reproduction=Path("repro/1"), diagnosis="q", link="https://x/1")
    made.findings = [finding]
    made.notes = {"narrowed": int(np.int32(7))}
    made.stdout = "\x00\x1b[0m" + "x" * 100_000 + "the end"
    return made


# --- result.json and evidence.json


def test_the_schemas_are_schemas() -> None:
    for name in ("result", "evidence"):
        jsonschema.Draft202012Validator.check_schema(schema(name))


EVERY = (passed("F-CONV-001/a", notes={"carried": 2}), strange(), skipped("F-CONV-002/c"),
         failed("F-CONV-003/d", outcome=CRASHED, exit_code=-11), failed("F-CONV-003/e", outcome=TIMEOUT))  # fmt: skip
EXPECTED = """
- {pattern: F-CONV-001/a, reason: known}
- {pattern: F-CONV-001/b, reason: known, kinds: [values, nan]}
- {pattern: F-CONV-009/*, reason: known}
- {pattern: F-CONV-003/d, reason: known, expires: 2020-01-01}
- {pattern: F-CONV-003/e, reason: known, outcome: Skipped}
"""


def test_a_run_with_everything_is_what_the_schema_says() -> None:
    made = run(*EVERY, expected=EXPECTED)
    text = json.dumps(made, allow_nan=False)
    jsonschema.validate(json.loads(text), schema("result"))
    verdict = made["verdict"]
    assert verdict["failures"] == ["F-CONV-003/d", "F-CONV-003/e"]
    assert [item["case"] for item in verdict["passing"]] == ["F-CONV-001/a"]
    assert [item["pattern"] for item in verdict["unmatched"]] == ["F-CONV-009/*"]
    assert [item["kind"] for item in verdict["stale"]] == ["nan"]
    assert [item["expires"] for item in verdict["expired"]] == ["2020-01-01"]
    assert verdict["unpinned"] == ["F-CONV-002/c"]
    assert [item["case"] for item in verdict["unskipped"]] == ["F-CONV-003/e"]
    assert (verdict["exit_code"], verdict["as_expected"]) == (1, 1)


def test_a_result_is_written_in_full() -> None:
    made = run(*EVERY)
    assert [case["case"] for case in made["cases"]] == sorted(case.case for case in EVERY)
    assert run(*reversed(EVERY))["cases"] == made["cases"]
    assert made["gates"]["F-CONV-003"] == dict.fromkeys(OUTCOMES, 0) | {CRASHED: 1, TIMEOUT: 1}
    assert (made["seed"], made["converter"]["version"], made["converter"]["pairs"]) == (3, "1.2", ["G-A"])
    assert made["converter"]["environment"] == ["KEY"]
    assert "secret" not in json.dumps(made)
    assert made["score"]["gateways"]["G3"]["passed"] is False
    case = made["cases"][1]
    assert case["compared"] == {"unit": "elements", "expected": 8, "compared": 8, "bytes": 0}
    assert case["findings"][0]["first"] == {"index": [1, 2], "offset": 4, "expected": "0x3f", "actual": "nan"}
    assert case["findings"][0]["tensor"] == "a\\ud800"
    assert case["diagnosis"] == {"id": "q", "link": "https://x/1"}
    assert case["reproduction"] == str(Path("repro/1"))
    assert case["stdout"].endswith("the end")
    assert len(case["stdout"]) < 20_000


def test_the_schema_of_results_refuses_a_verdict_over_nothing() -> None:
    """Corroborated with nothing compared is no result, nor is a run without cases; an error of the run may say so."""
    made = run(passed("F-CONV-001/a"))
    jsonschema.validate(made, schema("result"))
    made["cases"][0]["compared"]["compared"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, schema("result"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "cases": []}, schema("result"))
    empty = run()
    assert empty["verdict"]["exit_code"] == 2
    assert empty["score"] is None
    jsonschema.validate(empty, schema("result"))


def test_every_field_of_a_result_is_required() -> None:
    """But the version of the names: a file without it uses the first."""
    made = run(*EVERY)
    assert made["names"] == VERSION
    validator = jsonschema.Draft202012Validator(schema("result"))
    for part in (made, made["cases"][0], made["verdict"], made["cases"][1]["findings"][0]):
        for name in set(part) - {"names"}:
            value = part.pop(name)
            assert not validator.is_valid(made), name
            part[name] = value
    validator.validate(made)


def test_evidence_is_what_the_schema_says_and_can_be_scored(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    write_evidence(path, EVERY, ENTRY)
    made = json.loads(path.read_text(), parse_constant=pytest.fail)
    jsonschema.validate(made, schema("evidence"))
    assert len(read_evidence(path)) == len(EVERY)
    assert score(read_evidence(path)).to_json() == run(*EVERY)["score"]
    assert [item["metadata"]["kinds"] for item in made] == [[], ["values"], [], [], []]
    assert made[1]["metadata"]["first_difference"]["tensor"] == "a\\ud800"
    assert [item["exit_code"] for item in made] == [None, None, None, -11, None]
    made[0]["metadata"]["compared"]["compared"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, schema("evidence"))


def test_evidence_of_the_playbook_is_what_the_schema_says() -> None:
    """The fields of its published files, with what it leaves empty."""
    nothing = dict.fromkeys(("tokens_per_second", "time_to_first_token_ms", "total_tokens", "memory_peak_mb"))
    scenario = {
        "id": "M_run_cpu_apr_0", "model": {"org": "o", "name": "M", "variant": None}, "modality": "run", "backend": "cpu",
        "format": "apr", "prompt": "What is 2+2?", "temperature": 0.0, "max_tokens": 32, "seed": 0, "trace_level": "none",
        "oracle_type": "arithmetic",
    }  # fmt: skip
    host = {"hostname": "h", "os": "linux", "cpu": "unknown", "gpu": None, "apr_version": "unknown"}
    case = {
        "id": "0000000000000000188fdc61bc70852c", "gate_id": "F-A1-001", "scenario": scenario, "outcome": "Corroborated",
        "reason": "Test passed", "output": "4", "stderr": None, "exit_code": None, "metrics": {**nothing, "duration_ms": 3},
        "timestamp": "2026-01-31T16:04:50.911325970Z", "host": host, "metadata": {},
    }  # fmt: skip
    jsonschema.validate([case], schema("evidence"))
    assert score(cases_of([case])).raw == 1000
    for name in case:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([{key: value for key, value in case.items() if key != name}], schema("evidence"))


def test_the_id_of_a_case_is_that_of_case_and_converter() -> None:
    ids = [item["id"] for item in evidence_json(EVERY, ENTRY)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert len(set(ids)) == len(EVERY)
    assert [item["id"] for item in evidence_json([*reversed(EVERY)], ENTRY)] == ids
    assert not set(ids) & {item["id"] for item in evidence_json(EVERY, Entry("another"))}


@pytest.mark.parametrize("value", [float("nan"), {1: {2}}, object()])
def test_what_cannot_be_written_leaves_what_was_there(value: object, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    evidence.write_json(path, [1])
    with pytest.raises((ValueError, TypeError)):
        evidence.write_json(path, [value])
    assert path.read_text() == "[\n  1\n]\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    evidence.write_json(path, [1])

    def full(self: Path, text: str, **_: object) -> int:
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_result(path, EVERY, judge(EVERY, [], TODAY), ENTRY, RunInfo())
    assert path.read_text() == "[\n  1\n]\n"
    assert list(tmp_path.iterdir()) == [path]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()), st.lists, max_leaves=5
    )
)
def test_anything_plain_is_json(value: object) -> None:
    text = json.dumps(evidence.plain({"a": value}), allow_nan=False)
    assert json.loads(text.encode("utf-8"))["a"] == evidence.plain(value)


def test_evidence_is_written_without_the_module_that_windows_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    try:
        without = importlib.reload(evidence)
        made = without.entry("g", CORROBORATED, "", model=Path("a/b.q4.gguf"), format="gguf", backend="numpy")
        assert made["metrics"]["memory_peak_mb"] is None
        assert made["scenario"]["model"] == {"org": "a", "name": "b", "variant": "q4"}
    finally:
        monkeypatch.undo()
        importlib.reload(evidence)
    made = evidence.entry("g", CORROBORATED, "", model=Path("b.gguf"), format="gguf", backend="numpy")
    if sys.platform != "win32":
        assert made["metrics"]["memory_peak_mb"] > 1


# --- the summary


def crowd(count: int = 300) -> list[Result]:
    """A run with many gates, and many causes."""
    made: list[Result] = [passed(f"F-CONV-{n:03}/a") for n in range(30)]
    made += [failed(f"F-CONV-{n % 30:03}/kind-{n}", "values", diagnosis=f"bug-{n}", seed=n) for n in range(count)]
    return made


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9, 10, 11, 300])
def test_a_summary_has_fewer_than_40_lines(count: int) -> None:
    results = crowd(count)
    text = markdown(results, judge(results, parse("- {pattern: gone, reason: x}"), TODAY), ENTRY)
    assert len(text.splitlines()) < 40
    shown = text.count("- **")
    if shown < count:
        assert f"- and {count + 1 - shown} more" in text
        assert len(text.splitlines()) == 39
    else:
        assert "no case is called gone" in text.replace("\\", "")
    # The rest of the gates is added up: no case is missing from the table.
    rows = [line.split("|")[2:7] for line in text.splitlines() if line.startswith("| ") and "gate |" not in line]
    assert sum(int(cell) for row in rows for cell in row) == len(results)


def test_a_summary_says_what_came_of_it() -> None:
    results = [
        passed("F-CONV-001/a"),
        failed("F-CONV-001/b", "values"),
        skipped("F-CONV-002/c"),
        failed("F-CONV-001/d", "nan"),
    ]
    expected = "- {pattern: '*/d', reason: x}\n- {pattern: '*/c', reason: y, outcome: Skipped}"
    lines = markdown(
        results, judge(results, parse(expected), TODAY), ENTRY, score(cases_of(evidence_json(results, ENTRY)))
    ).splitlines()
    assert lines[0] == "## tool: unexpected results"
    assert (
        lines[2] == "4 cases: 1 failed unexpectedly, 1 as expected, 1 skipped; MQS 0 of 1000 (F); rosetta score 33.3 %"
    )
    assert "| F-CONV-001 | 1 | 2 | 0 | 0 | 0 |" in lines
    assert "| F-CONV-002 | 0 | 0 | 1 | 0 | 0 |" in lines
    assert lines[-3] == "- **values**, 1 case: `F-CONV-001/b`: tensor 'a.weight': values: values of 8 elements"
    assert lines[-1] == "Reproduce: `rosetta-ref gate --converter 'tool {src} {dst}' --case F-CONV-001/b --seed 0`"
    fine = markdown(results[:1], judge(results[:1], [], TODAY), ENTRY)
    assert "as expected" in fine
    assert "Reproduce" not in fine


@pytest.mark.parametrize(
    ("results", "expected", "figures"),
    [
        ([passed("g/a"), skipped("g/b")], "", "1 skipped without a pin"),
        ([passed("g/a"), passed("g/b")], "- {pattern: g/*, reason: x}", "2 passed unexpectedly"),
        ([passed("g/a")], "- {pattern: g/*, outcome: Skipped, reason: x}", "1 not skipped as expected"),
        ([passed("g/a")], "- {pattern: h, reason: x}\n- {pattern: i, reason: x}", "2 expectations out of date"),
        ([skipped("g/a")], "- {pattern: g/a, outcome: Skipped, reason: x}", "1 error of the run"),
    ],
)
def test_who_ends_with_1_says_of_what(results: list[Result], expected: str, figures: str) -> None:
    verdict = judge(results, parse(expected), TODAY)
    assert verdict.exit_code > 0
    text = markdown(results, verdict, ENTRY)
    assert f"{figures}, " in text
    assert "0 failed unexpectedly" not in text
    assert "0 failed unexpectedly" in markdown(results, judge([passed("g/a")], [], TODAY), ENTRY)


def test_failures_are_grouped_by_cause_and_the_worst_comes_first() -> None:
    results = [
        failed("g/1", "fused"), failed("g/2", "fused"), failed("g/3", outcome=CRASHED), failed("g/4", outcome=TIMEOUT),
        failed("g/5", "values"), failed("g/6", "values", "fused", diagnosis="q5_0", link="https://x/1"),
        failed("g/7", "values", diagnosis="q5_0", link="https://x/1"), failed("g/8", "lossy-unasked"), failed("g/9"), passed("g/0"),
        skipped("g/10"), failed("g/11", "nan-payload"), failed("g/12", "out-of-range"), failed("g/13", "refused"),
        failed("g/14", "refused"), failed("g/15", "refused"), failed("g/16", "unreadable"),
    ]  # fmt: skip
    found = [(cause.title, [result.case for result in cause.results]) for cause in causes(results)]
    assert found == [
        ("values (q5_0)", ["g/6", "g/7"]),
        ("out-of-range", ["g/12"]),
        ("values", ["g/5"]),
        ("Crashed", ["g/3"]),
        ("Timeout", ["g/4"]),
        ("unreadable", ["g/16"]),
        ("refused", ["g/13", "g/14", "g/15"]),
        ("unstated", ["g/9"]),
        ("fused", ["g/1", "g/2"]),
        ("fused (q5_0)", ["g/6"]),
        ("lossy-unasked", ["g/8"]),
        ("nan-payload", ["g/11"]),
    ]
    second = next(cause for cause in causes(results) if cause.title == "fused (q5_0)")
    assert second.first == "tensor 'a.weight': fused: fused of 8 elements"


def test_names_cannot_break_out_of_a_table() -> None:
    evil = failed("F-CONV-001/a|b\n## c `d`", "values")
    evil.findings[0] = Finding("values", "F-CONV-001", "<img> | \x1b[2J **x**", tensor="a\nb")
    results = [evil, passed("F|X\ny/a")]
    text = markdown(results, judge(results, [], TODAY), ENTRY)
    assert "\x1b" not in text
    assert "\n## c" not in text
    assert "\\<img\\> \\|" in text
    assert "| F\\|X y | 1 |" in text
    shown = printed(results)
    assert "\x1b" not in shown


def printed(results: list[Result], expected: str = "") -> str:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    for part in tables(results, judge(results, parse(expected), TODAY), ENTRY):
        console.print(part)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(shown, str)
    return shown


def test_a_terminal_shows_gates_causes_and_the_line_to_reproduce_last() -> None:
    repro = failed("F-CONV-001/b", "values", diagnosis="q5_0", link="https://x/1", reproduction=Path("re pro/1"))
    lines = printed(
        [passed("F-CONV-001/a"), repro, skipped("F-CONV-002/[c]")], "- {pattern: z, reason: x}"
    ).splitlines()
    shown = "\n".join(lines)
    assert re.search(r"F-CONV-001 +│ +1 │ +1 │", shown)
    assert re.search(r"damage +│ values \(q5_0\) +│ +1 │ F-CONV-001/b", shown)
    assert "https://x/1" in shown
    assert "skipped, and not pinned: F-CONV-002/[c]: never claimed" in shown
    assert "no case is called z" in shown
    figures = "1 failed unexpectedly, 1 skipped without a pin, 1 expectation out of date, 0 as expected"
    assert f"unexpected results: 3 cases: {figures}" in shown
    assert lines[-1] == "reproduce: rosetta-ref replay 're pro/1'"


def test_a_terminal_is_not_flooded_and_no_link_is_cut() -> None:
    link = f"https://x/{'y' * 300}"
    results = [passed("g/a"), failed("g/b", "values", link=link, diagnosis="q")]
    lines = printed([*results, *(skipped(f"g/{n}") for n in range(50))]).splitlines()
    assert sum("not pinned" in line for line in lines) == 20
    assert "and 30 more, in result.json" in lines
    assert sum(line.count("y") for line in lines if "│" in line) == 300


# --- two runs


def test_what_changed_between_two_runs() -> None:
    a, b, c, d, e, f, g, h = (f"F-CONV-001/{letter}" for letter in "abcdefgh")
    old = run(
        passed(a),
        passed(b),
        failed(c, "values"),
        failed(d, "values"),
        skipped(e),
        passed(f),
        failed(g, "nan"),
        skipped(h),
    )
    new = run(passed(a), failed(b, "nan"), passed(c), failed(d, "values"), failed(e, "lost"), skipped(f), failed(g, "values"),
              passed("F-CONV-001/z"))  # fmt: skip
    found = compare(old, new)
    assert {name: [then.case for then in group] for name, group in found.groups()} == {
        "broken": [b, e],
        "skipped": [f],
        "gone": [h],
        "changed": [g],
        "new": ["F-CONV-001/z"],
        "fixed": [c],
    }
    assert found.same == 2
    assert str(found.broken[0]) == f"{b}: Corroborated -> Falsified: nan"
    assert found.notes == []
    other = compare(old, run(passed(a), info=RunInfo(seed=4, version="2", whole=False)))
    assert other.notes == ["seed was 3 and is 4", "whole was True and is False"]


_outcomes = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(OUTCOMES), min_size=1)


@given(_outcomes, _outcomes)
def test_every_case_of_two_runs_is_told_once(then: dict[str, str], now: dict[str, str]) -> None:
    """Against what the words mean, said once more."""
    old, new = ({"cases": [{"case": c, "outcome": o} for c, o in side.items()]} for side in (then, now))
    if not then.keys() & now.keys():
        with pytest.raises(HistoryError, match="no case is in both"):
            compare(old, new)
        return
    found = compare(old, new)
    told = [change.case for _, group in found.groups() for change in group]
    assert len(told) == len(set(told))
    assert len(told) + found.same == len(then.keys() | now.keys())
    bad = (FALSIFIED, CRASHED, TIMEOUT)
    common = then.keys() & now.keys()
    assert {t.case for t in found.fixed} == {c for c in common if now[c] == CORROBORATED != then[c]}
    broken = {c for c in common if now[c] in bad and then[c] in (CORROBORATED, SKIPPED)}
    assert {t.case for t in found.skipped} == {c for c in common if then[c] != SKIPPED == now[c]}
    assert found.worse == any(then[c] == CORROBORATED != now[c] or c in broken for c in common)
    assert {t.case for t in found.broken} == broken


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    paths = tmp_path / "old.json", tmp_path / "new.json"
    for path, second in zip(paths, (passed("g/b"), failed("g/b", "values")), strict=True):
        results = [passed("g/a"), second]
        write_result(path, results, judge(results, [], TODAY), ENTRY, RunInfo())
    return paths


def test_the_command_fails_where_something_broke(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = map(str, files)
    assert main(["compare", old, new]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "broken: g/b: Corroborated -> Falsified: values",
        "BROKEN: 1 broken, 0 skipped, 0 gone, 0 changed, 0 new, 0 fixed, 1 as before",
    ]
    assert main(["compare", new, old]) == 0
    assert "fixed: g/b: Falsified -> Corroborated" in capsys.readouterr().out
    assert main(["compare", old, new, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["broken"][0]["case"] == "g/b"
    assert main(["compare", old, old, "--json"]) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "not JSON"),
        ("[]", "it has no cases"),
        ('{"cases": 1}', "it has no cases"),
        ('{"cases": []}', "format None"),
        ('{"format": 2, "cases": []}', "format 2; this version reads 1"),
        ('{"format": 1, "cases": [{"case": "a", "outcome": "ok"}]}', "without an id or an outcome"),
        ('{"format": 1, "cases": [{"outcome": "Skipped"}]}', "without an id or an outcome"),
        ('{"format": 1, "cases": []}', "no case is in both"),
    ],
)
def test_what_is_no_run(text: str, problem: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = files
    new.write_text(text)
    with pytest.raises(HistoryError, match=problem):
        compare(read(old), read(new))
    assert main(["compare", str(old), str(new)]) == 2
    assert problem in capsys.readouterr().err
    assert main(["compare", str(old), str(old.with_name("none.json"))]) == 2
