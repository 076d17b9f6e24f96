"""Names that files of other projects hold: old ones are read with a warning, new ones are said to be new, and files are rewritten."""

from __future__ import annotations

import json
import lzma
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref import cli
from rosetta_ref.gate import names
from rosetta_ref.gate.converter.named import read_entries
from rosetta_ref.gate.kinds import KINDS
from rosetta_ref.gate.names import OldNameWarning, Renamed
from rosetta_ref.gate.report import expectations, history
from rosetta_ref.gate.report.draft import draft
from rosetta_ref.gate.report.expectations import ExpectationError, parse
from rosetta_ref.gate.report.files import FORMAT
from rosetta_ref.gate.report.history import HistoryError
from rosetta_ref.gate.report.migrate import migrate, rewritten
from rosetta_ref.gate.report.score import cases_of, score
from rosetta_ref.reduce.search.failure import Fingerprint
from rosetta_ref.version import __version__
from tests.support.results import failed

ROOT = Path(__file__).parents[1]
#: The five files of `converters/` as they were when names had no version yet. They are not to be changed.
FIRST = sorted((Path(__file__).parent / "support" / "first_names").glob("*.yaml"))
OLD, NEW = "truncated and flushed", "truncated-and-flushed"


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample, a gate and a field of entries that were called otherwise before."""
    cases = (Renamed("llama-old", "llama-new", 2, "9"), Renamed("F-CONV-OLD-001", "F-CONV-META-001", 2, "9"))
    monkeypatch.setattr(names, "CASES", cases)
    monkeypatch.setattr(names, "FIELDS", (Renamed("forgets", "loses", 2, "9"),))


# What was written before names had a version


@pytest.mark.parametrize(
    "path",
    [*FIRST, *sorted((ROOT / "converters").glob("*/expectations.yaml"))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_the_expectations_of_the_first_version_are_read(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", OldNameWarning)
        found = expectations.load(path)
    assert len(found) > 10 or path not in FIRST
    assert {kind for each in found for kind in each.kinds or ()} <= KINDS.keys()
    assert sum(text.startswith("- pattern:") for text in path.read_text("utf-8").splitlines()) == len(found)


def test_all_five_are_there() -> None:
    assert len(FIRST) == 5
    assert "names:" not in "".join(path.read_text("utf-8") for path in FIRST)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "trophies").glob("*.evidence.json.xz")), ids=lambda path: path.name
)
def test_the_evidence_of_the_first_version_is_read(path: Path) -> None:
    found = cases_of(json.loads(lzma.decompress(path.read_bytes())))
    kinds = {kind for each in found for kind in each.kinds}
    assert kinds or not any(each.outcome == "Falsified" for each in found)
    assert kinds <= KINDS.keys()
    assert score(found).raw >= 0


# Old names


def test_an_old_kind_is_read_with_a_warning() -> None:
    with pytest.warns(OldNameWarning, match=f"entry 1: kinds: '{OLD}' is called '{NEW}' now"):
        (found,) = parse(f"- {{pattern: a, reason: b, kinds: [values, {OLD}]}}")
    assert found.kinds == {"values", NEW}
    with pytest.warns(OldNameWarning):
        (found,) = parse(f"- names: 1\n- {{pattern: a, reason: b, kinds: [{OLD}]}}")
    assert found.kinds == {NEW}


def test_who_uses_the_new_names_uses_no_old_one() -> None:
    assert parse(f"- names: 2\n- {{pattern: a, reason: b, kinds: [{NEW}]}}")[0].kinds == {NEW}
    with pytest.raises(ExpectationError, match=f"unknown kind '{OLD}'") as error:
        parse(f"- names: 2\n- {{pattern: a, reason: b, kinds: [{OLD}]}}")
    assert NEW in str(error.value.hint)


@pytest.mark.parametrize("version", ["0", "3", "two", "true", "[2]", "2.0"])
def test_a_version_of_names_that_is_not_known(version: str) -> None:
    with pytest.raises(ExpectationError, match="no version of the names; this program knows 1 to 2"):
        parse(f"- names: {version}\n- {{pattern: a, reason: b}}")


def test_names_come_first() -> None:
    with pytest.raises(ExpectationError, match="entry 2: 'names' is unknown"):
        parse("- {pattern: a, reason: b}\n- names: 2\n")
    assert parse("- names: 2\n") == []


@pytest.mark.usefixtures("renamed")
def test_old_cases_and_fields_are_read_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(OldNameWarning, match="'llama-old' is called 'llama-new' now"):
        (found,) = parse("- {pattern: F-CONV-001/llama-old/*, reason: b}")
    assert found.patterns == ("F-CONV-001/llama-new/*",)
    assert parse("- {pattern: F-CONV-001/llama-older/*, reason: b}")[0].patterns == ("F-CONV-001/llama-older/*",)
    path = tmp_path / "rosetta.toml"
    path.write_text('[converters.mine]\ncommand = "a {src} {dst}"\nforgets = ["truncated and flushed"]\n')
    with pytest.warns(OldNameWarning) as told:
        assert read_entries(path)["mine"].loses == (NEW,)
    assert {str(each.message).partition(" is called")[0].rpartition(": ")[2] for each in told} == {
        "'forgets'",
        f"'{OLD}'",
    }


CHAIN = (Renamed("b", "c", 3, "8"), Renamed("a", "b", 2, "7"), Renamed("x", "y", 3, "8"), Renamed("y", "z", 3, "8"))


@pytest.mark.parametrize(
    ("word", "said", "today", "until"),
    [
        ("a", 1, "c", "7"), ("b", 1, "c", "8"), ("b", 2, "c", "8"), ("a", 2, "a", None), ("b", 3, "b", None), ("c", 1, "c", None),
        ("x", 2, "y", "8"), ("y", 2, "z", "8"),
    ],
)  # fmt: skip
def test_what_was_renamed_twice_is_followed_to_todays_name(
    word: str, said: int, today: str, until: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, whatever the order of the rows; of one version's renames only one holds."""
    monkeypatch.setattr(names, "KINDS", CHAIN)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert names.kind(word, names=said) == today
    words = [f"'{word}' is called '{today}' now, and the old name is read until version {until}"] if until else []
    assert [str(each.message).partition(";")[0] for each in told] == words


def test_a_failure_of_a_folder_has_todays_name() -> None:
    values = {"gate": "F-CONV-001", "kind": OLD, "subject": "", "cause": [], "type": None}
    with pytest.warns(OldNameWarning):
        assert Fingerprint.of_json(values).kind == NEW


def test_every_rename_leads_to_a_name_and_will_end() -> None:
    def version(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))[:2]

    for row in (*names.KINDS, *names.CASES, *names.FIELDS):
        assert row.old != row.new
        assert 1 < row.names <= names.VERSION
        assert version(row.dropped) > version(__version__), f"{row.old!r} is read no longer: remove the row"
    assert all(row.new in KINDS and row.old not in KINDS for row in names.KINDS)


def test_a_draft_says_which_names_it_uses() -> None:
    made = draft([failed("F-CONV-001/a", "values")])
    assert made.startswith("- names: 2\n- pattern: ")
    again = draft([failed("F-CONV-001/a", "values"), failed("F-CONV-001/b", "nan")], made)
    assert again.startswith(made)
    assert again.count("names:") == 1
    old = "- {pattern: F-CONV-001/a, reason: b}\n"
    assert draft([failed("F-CONV-001/b", "nan")], old).startswith(old)


# Files that are rewritten

BEFORE = """\
# What is known.
---
- pattern: "F-CONV-001/llama-old/*" # the first ones
  kinds: [values, 'truncated and flushed']   # both
  reason: truncated and flushed

# Others
- pattern:
    - F-CONV-OLD-001/G-S/llama-old
    - F-CONV-001/llama-older/*
  kinds:
    - truncated and flushed # here as well
    - truncated
  reason: >-
    llama-old is
    what it is
"""
AFTER = """\
# What is known.
---
- names: 2
- pattern: "F-CONV-001/llama-new/*" # the first ones
  kinds: [values, "truncated-and-flushed"]   # both
  reason: truncated and flushed

# Others
- pattern:
    - F-CONV-META-001/G-S/llama-new
    - F-CONV-001/llama-older/*
  kinds:
    - truncated-and-flushed # here as well
    - truncated
  reason: >-
    llama-old is
    what it is
"""


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_expectations_are_rewritten_and_nothing_else_in_them(
    end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_bytes(BEFORE.replace("\n", end).encode())
    assert cli.main(["gate", "--migrate", str(path)]) == 0
    assert path.read_bytes().decode() == AFTER.replace("\n", end)
    assert "rewritten" in capsys.readouterr().out
    assert not migrate(path)
    assert cli.main(["gate", "--migrate", str(path)]) == 0
    assert path.read_bytes().decode() == AFTER.replace("\n", end)
    assert [each.name for each in tmp_path.iterdir()] == ["expectations.yaml"]


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "- names: 1 # old\n- {pattern: llama-old, reason: b}\n",
            "- names: 2 # old\n- {pattern: llama-new, reason: b}\n",
        ),
        ("  - {pattern: [llama-old, x], reason: b}\n", "  - names: 2\n  - {pattern: [llama-new, x], reason: b}\n"),
        ("-   pattern: x\n    reason: b", "-   names: 2\n-   pattern: x\n    reason: b"),
        ("-\n  pattern: llama-old\n  reason: b\n", "- names: 2\n-\n  pattern: llama-new\n  reason: b\n"),
        ("- # it\n  {pattern: x, reason: b}\n", "- names: 2\n- # it\n  {pattern: x, reason: b}\n"),
        ("\ufeff- {pattern: llama-old, reason: b}\n", "\ufeff- names: 2\n- {pattern: llama-new, reason: b}\n"),
        ("\ufeff  -\n   pattern: x\n   reason: b\n", "\ufeff  - names: 2\n  -\n   pattern: x\n   reason: b\n"),
        ("# nothing\n", "# nothing\n"),
        ("[]\n", "[]\n"),
        ("- names: 2\n", "- names: 2\n"),
        ("- {pattern: é/llama-old, reason: 漢字}\n", "- names: 2\n- {pattern: é/llama-new, reason: 漢字}\n"),
    ],
)
def test_layouts_that_are_rewritten(before: str, after: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldNameWarning)
        assert rewritten(before) == after
        assert rewritten(after) == after


def test_a_list_in_brackets_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_text("[{pattern: a, reason: b}]\n")
    assert cli.main(["gate", "--migrate", str(path), "--quiet"]) == 2
    assert path.read_text() == "[{pattern: a, reason: b}]\n"


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.stem)
def test_real_expectations_are_rewritten(path: Path, tmp_path: Path) -> None:
    """They have none of the old names, so one line is added to each."""
    copy = tmp_path / "expectations.yaml"
    copy.write_bytes(path.read_bytes())
    assert migrate(copy)
    lines = copy.read_text("utf-8").splitlines()
    lines.remove("- names: 2")
    assert lines == path.read_text("utf-8").splitlines()
    assert expectations.load(copy) == expectations.load(path)


ENTRIES = '''\
# forgets = ["truncated and flushed"]
[{0}converters.forgets]
command = "forgets 'truncated and flushed' {{src}} {{dst}}"
forgets = ["special", 'truncated and flushed', # truncated and flushed
  "truncated and flushed"]
[{0}converters.b]
function = "m:truncated"
"forgets" = ["truncated\\u0020and flushed"]
environment = {{ forgets = "truncated and flushed", A = """
and "truncated and flushed"
""" }}
'''


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(("name", "prefix"), [("rosetta.toml", ""), ("pyproject.toml", "tool.rosetta-ref.")])
def test_entries_are_rewritten_and_nothing_else_in_them(
    name: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    before = ENTRIES.format(prefix)
    path.write_text(before)
    with pytest.warns(OldNameWarning):
        meant = read_entries(path)
    assert cli.main(["gate", "--migrate", str(path)]) == 0
    assert "rewritten" in capsys.readouterr().out
    after = before.replace("\nforgets = [", "\nloses = [").replace('"forgets" =', '"loses" =')
    after = after.replace("'truncated and flushed', #", '"truncated-and-flushed", #')
    after = after.replace('  "truncated and flushed"]', '  "truncated-and-flushed"]')
    after = after.replace('"truncated\\u0020and flushed"', '"truncated-and-flushed"')
    assert path.read_text() == after
    with warnings.catch_warnings():
        warnings.simplefilter("error", OldNameWarning)
        assert read_entries(path) == meant
    assert not migrate(path)


def test_entries_with_a_name_that_cannot_be_found_are_left(tmp_path: Path) -> None:
    path = tmp_path / "rosetta.toml"
    text = '[converters]\na = { command = "a {src} {dst}", loses = ["""truncated and flushed"""] }\n'
    path.write_text(text)
    assert cli.main(["gate", "--migrate", str(path)]) == 2
    assert path.read_text() == text


def first_result() -> dict[str, Any]:
    """A result.json as it was before names had a version."""
    finding = {"kind": OLD, "gate": "F-CONV-OLD-001", "detail": "8 of 8", "tensor": "a", "count": 8}
    case = {
        "case": "F-CONV-OLD-001/G-S/llama-old",
        "gate": "F-CONV-META-001",
        "outcome": "Falsified",
        "reason": OLD,
        "findings": [finding],
    }
    passed = {"case": "F-CONV-001/x", "gate": "F-CONV-001", "outcome": "Corroborated", "findings": []}
    return {
        "format": FORMAT,
        "converter": {"name": "mine", "loses": [OLD, "special"]},
        "verdict": {
            "word": "unexpected", "failures": ["F-CONV-001/llama-old"], "unmatched": [{"pattern": "llama-old/*", "reason": "llama-old"}],
            "stale": [{"patterns": ["a/llama-old"], "kind": OLD, "reason": OLD}], "errors": [OLD],
        },
        "cases": [case, passed],
    }  # fmt: skip


@pytest.mark.usefixtures("renamed")
def test_a_result_is_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(first_result()))
    assert cli.main(["gate", "--migrate", str(path)]) == 0
    made = json.loads(path.read_text())
    assert made["names"] == 2
    assert [case["case"] for case in made["cases"]] == ["F-CONV-META-001/G-S/llama-new", "F-CONV-001/x"]
    assert made["cases"][0]["findings"][0]["kind"] == NEW
    assert made["cases"][0]["reason"] == OLD
    assert made["converter"]["loses"] == [NEW, "special"]
    assert made["verdict"]["failures"] == ["F-CONV-001/llama-new"]
    assert made["verdict"]["unmatched"] == [{"pattern": "llama-new/*", "reason": "llama-old"}]
    assert made["verdict"]["stale"] == [{"patterns": ["a/llama-new"], "kind": NEW, "reason": OLD}]
    assert made["verdict"]["errors"] == [OLD]
    assert not migrate(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OldNameWarning)
        assert history.read(path) == made


@pytest.mark.usefixtures("renamed")
def test_an_old_run_and_a_new_one_are_compared_by_todays_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(first_result()))
    new.write_text(json.dumps(first_result()))
    migrate(new)
    assert cli.main(["compare", str(old), str(new)]) == 0
    captured = capsys.readouterr()
    assert "2 as before" in captured.out
    assert f"warning: {old}: '{OLD}' is called '{NEW}' now" in captured.err


@pytest.mark.parametrize("names_", [0, 3, "2", True, None])
def test_a_result_of_other_names_is_refused(names_: Any, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(first_result() | {"names": names_}))
    with pytest.raises(HistoryError, match="this version knows 1 to 2"):
        history.read(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "[]"), ("a.json", "{"), ("a.yaml", "a: b"), ("a.toml", "a = 1"), ("a.yaml", "- {pattern: a}")],
)
def test_other_files_are_left_as_they_are(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert cli.main(["gate", "--migrate", str(path)]) == 2
    assert path.read_text() == text
    assert str(path) in capsys.readouterr().err
    assert cli.main(["gate", "--migrate", str(tmp_path / "nothing.yaml")]) == 2


def test_a_file_is_rewritten_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_text("- {pattern: a, reason: b}\n")

    def full(self: Path, text: str, **_: object) -> int:
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main(["gate", "--migrate", str(path)]) == 2
    assert path.read_text() == "- {pattern: a, reason: b}\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("- {pattern: a, reason: b}\n")
    link = tmp_path / "expectations.yaml"
    link.symlink_to("real.yaml")
    assert migrate(link)
    assert link.is_symlink()
    assert (tmp_path / "real.yaml").read_text().startswith("- names: 2\n")
