"""Files that the gate is given by strangers: entries, expectations, evidence, results. Whatever they hold, the error is a declared one,
names the file, comes soon, and is short.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref import foreign
from rosetta_ref.cli import main
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.fields import FIELDS
from rosetta_ref.gate.converter.named import EntryError, entry_of, read_entries
from rosetta_ref.gate.report import expectations, history, score
from rosetta_ref.gate.report.conditions import Condition, ConditionError
from rosetta_ref.gate.report.expectations import ExpectationError
from rosetta_ref.gate.report.verdict import judge

#: Values of every type, in TOML.
TOML = ("5", "-1", "1" + "0" * 400, "1.5", "nan", "inf", '""', '"x"', '"\\u0000"', "true", "[]", "[1]", "[[]]", '["a", 1]', "{}",
        "{a = 1}", "{a = [[1]]}", "1979-05-27", "07:32:00", '"' + "9" * 400 + 'GB"')  # fmt: skip
JSON: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    "",
    "x",
    "\x1b[2J",
    [],
    [1],
    [[]],
    [{}],
    {},
    {"a": [1]},
    ["x", 1],
)
READERS: tuple[tuple[str, Callable[[Path], object], type[RosettaError]], ...] = (
    ("rosetta.toml", read_entries, EntryError),
    ("pyproject.toml", read_entries, EntryError),
    ("expected.yaml", expectations.load, ExpectationError),
    ("evidence.json", score.read, score.EvidenceError),
    ("result.json", history.read, history.HistoryError),
)
#: Bytes that are none of it.
RAW = {
    "not UTF-8": b"\xff\xfe\x00", "a NUL": b"a = '\0'", "deep": b"[" * 100_000, "deep objects": b'{"a":' * 100_000,
    "deep TOML": b"a = " + b"[" * 50_000, "a chain": b"a." * 300_000 + b"a = 1", "half a surrogate": b'["\\ud800"]',
    "aliases": b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "a tag": b"!!python/object/apply:os.system ['true']",
    "digits": b"9" * 100_000, "a key twice": b'{"a": 1, "a": 2}', "a key of a list": b"? [a]\n: b\n", "a wrong date": b"- 2027-99-99",
}  # fmt: skip


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < 10


def refused(read: Callable[[Path], object], path: Path, kind: type[RosettaError]) -> None:
    """It is read, or refused by that error, which names the file in a short line."""
    said: RosettaError | None = None
    try:
        read(path)
    except kind as error:
        said = error
    assert said is None or (str(said.file) == str(path) and len(str(said)) < 10_000 and "\n" not in str(said)), said


@pytest.mark.parametrize(("name", "read", "kind"), READERS)
def test_bytes_that_are_none(
    name: str, read: Callable[[Path], object], kind: type[RosettaError], tmp_path: Path
) -> None:
    for data in RAW.values():
        (tmp_path / name).write_bytes(data)
        refused(read, tmp_path / name, kind)


@pytest.mark.parametrize(("name", "read", "kind"), READERS)
def test_what_is_no_file(name: str, read: Callable[[Path], object], kind: type[RosettaError], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(kind, match="no regular file"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(name)
    with pytest.raises(kind):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(kind):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(kind, match="allowed"):
        read(tmp_path / name)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_any_type(field: str, tmp_path: Path) -> None:
    path = tmp_path / "rosetta.toml"
    other = "" if field in ("command", "function") else "command = 'true {src} {dst}'\n"
    for value in TOML:
        path.write_text(f"[converters.mine]\n{other}{field} = {value}\n")
        refused(read_entries, path, EntryError)
    for place in ("converters", "converters.mine", "other"):
        for value in TOML:
            path.write_text(f"{place} = {value}\n")
            refused(read_entries, path, EntryError)


def test_entries_without_end(tmp_path: Path) -> None:
    path = tmp_path / "rosetta.toml"
    path.write_text("".join(f"[converters.n{i}]\ncommand='a {{src}} {{dst}}'\n" for i in range(2000)))
    with pytest.raises(EntryError, match="2,000 entries"):
        read_entries(path)
    path.write_text(f"[converters.{'n' * 500_000}]\ncommand='a {{src}} {{dst}}'\n")
    with pytest.raises(EntryError, match="a name has at most"):
        read_entries(path)
    path.write_text(f"[converters.n]\n{'k' * 500_000} = 1\n")
    refused(read_entries, path, EntryError)
    path.write_text(
        "[converters.n]\ncommand='a {src} {dst}'\nloses = [" + ",".join(f'"{i}"' for i in range(100_000)) + "]\n"
    )
    with pytest.raises(EntryError, match="are allowed"):
        read_entries(path)
    with pytest.raises(RosettaError) as error:
        entry_of("x" * 1_000_000, {f"n{i}": entry_of("a {src} {dst}", {}) for i in range(1000)})
    assert len(str(error.value)) < 10_000


YAML = (
    "5",
    "null",
    "true",
    "1.5",
    ".nan",
    "''",
    "x",
    "[]",
    "[1]",
    "[[a]]",
    "{}",
    "{a: 1}",
    "2027-01-31",
    "'" + "x" * 5000 + "'",
)


@pytest.mark.parametrize(
    "field", ["pattern", "outcome", "kinds", "reason", "issue", "strict", "when", "expires", "other"]
)
def test_an_expectation_of_any_type(field: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.yaml"
    for value in YAML:
        given = {"pattern": "a", "reason": "b", field: value}
        path.write_text("- " + "\n  ".join(f"{key}: {each}" for key, each in given.items()) + "\n")
        refused(expectations.load, path, ExpectationError)


@pytest.mark.parametrize(
    "text",
    ["version < " + "9" * 5000, "version < 1" + ".1" * 400, "a" * 900, "a == b and " * 80 + "a == b", "((((", "a == 'b", "or or", "a < " + "." * 900],
)  # fmt: skip
def test_a_condition_of_any_length(text: str) -> None:
    try:
        Condition.parse(text).holds({"version": "9" * 30, "a": "b"})
    except ConditionError as error:
        assert len(str(error)) < 5000  # noqa: PT017 (either is right)


@pytest.mark.parametrize(
    "pattern", ["*a" * 400 + "b", "[" * 900, "[!" * 400, "[a-" * 300, "?*" * 400 + "x", "[]" * 400, "[z-a]*"]
)
def test_a_pattern_takes_no_longer_than_others(pattern: str) -> None:
    (made,) = expectations.parse(json.dumps([{"pattern": pattern, "reason": "x"}]))
    assert not any(made.matches("F-CONV-001/" + "a" * 200 + str(number)) for number in range(500))


def test_patterns_without_end(tmp_path: Path) -> None:
    with pytest.raises(ExpectationError, match="are allowed"):
        expectations.parse(json.dumps([{"pattern": [f"*{i}" for i in range(30_000)], "reason": "x"}]))
    with pytest.raises(ExpectationError, match="are allowed"):
        expectations.parse(json.dumps([{"pattern": "*" * 100_000, "reason": "x"}]))
    made = expectations.parse(json.dumps([{"pattern": [f"case {i}" for i in range(30_000)], "reason": "x"}]))
    assert judge([], made, expectations.datetime.date(2026, 1, 1)).unmatched


def test_evidence_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    plain = {
        "gate_id": "F-CONV-001",
        "outcome": "Corroborated",
        "metadata": {"compared": {"compared": 1}, "kinds": ["a"]},
    }
    places = [
        ("gate_id",),
        ("outcome",),
        ("metadata",),
        ("metadata", "compared"),
        ("metadata", "kinds"),
        ("metadata", "compared", "compared"),
    ]
    for place, value in itertools.product(places, JSON):
        made = json.loads(json.dumps(plain))
        inner = made
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        for whole in ([made], {"evidence": [made]}, made):
            path.write_text(json.dumps(whole))
            refused(
                lambda path: score.score(score.read(path)).to_json(), path, score.EvidenceError
            ) if whole != [] else None
            assert main(["score", str(path), "--quiet"]) in (0, 1, 2)
    path.write_text(json.dumps([{"gate_id": "x" * 20_000_000, "outcome": "Crashed"}]))
    refused(score.read, path, score.EvidenceError)


def test_a_result_of_any_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {
        "format": 1,
        "converter": {"name": "a"},
        "seed": 0,
        "cases": [{"case": "c", "outcome": "Falsified", "findings": [{"kind": "values"}]}],
    }
    good = tmp_path / "good.json"
    good.write_text(json.dumps(plain))
    bad = tmp_path / "bad.json"
    places = [("format",), ("converter",), ("converter", "name"), ("seed",), ("cases",), ("cases", 0), ("cases", 0, "case"),
              ("cases", 0, "outcome"), ("cases", 0, "findings"), ("cases", 0, "findings", 0), ("cases", 0, "findings", 0, "kind"),
              ("cases", 0, "reason")]  # fmt: skip
    for place, value in itertools.product(places, JSON):
        made: Any = json.loads(json.dumps(plain))
        inner = made
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        bad.write_text(json.dumps(made))
        assert main(["compare", str(good), str(bad)]) in (0, 1, 2)
        assert main(["compare", str(bad), str(good), "--json"]) in (0, 1, 2)
    capsys.readouterr()
    made = {**plain, "cases": [{"case": "c", "outcome": "Crashed", "reason": "x" * 20_000_000}]}
    bad.write_text(json.dumps(made))
    assert main(["compare", str(good), str(bad)]) in (0, 1)
    assert len(capsys.readouterr().out) < 20_000


@pytest.mark.parametrize(
    "text", ["a: " + ":".join(["59"] * 100_000), "a: 0x" + "f" * 5000, "? 0x" + "f" * 5000 + "\n: 1", "- 0b" + "1" * 99]
)
def test_numbers_of_yaml_are_numbers(text: str) -> None:
    """Sixtieths take PyYAML quadratic time, and whole numbers of any size have no words: Python refuses to print them."""
    began = time.process_time()
    with pytest.raises(foreign.YamlError, match="number"):
        foreign.yaml_of(text)
    assert time.process_time() - began < 1
    assert foreign.yaml_of("[12, 0x1F, 1.5, -3, 1_000, .inf]") == [12, 31, 1.5, -3, 1000, float("inf")]


@pytest.mark.parametrize("text", ["a = 0x" + "f" * 5000, "[a]\nb = [1, {c = 0b" + "1" * 70 + "}]"])
def test_numbers_of_toml_are_numbers(text: str) -> None:
    with pytest.raises(foreign.TomlError, match="64 bits"):
        foreign.toml_of(text.encode())
    assert foreign.toml_of(b"a = 0xffffffff") == {"a": 0xFFFFFFFF}
