"""docs/gate.md: its commands run, its tables say what the code says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.fields import FIELDS
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.findings import OUTCOMES
from rosetta_ref.gate.report.expectations import parse
from rosetta_ref.gate.run.engine import samples_for
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.refusals import SAFE
from tests.support.served import programs

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "gate.md").read_text("utf-8")
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first row begins with that."""
    table = DOCUMENT.partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def field_table() -> str:
    """What the guide says of the fields."""
    lines = ["| field | |", "|---|---|"]
    for name, field in FIELDS.items():
        lines.append(f"| `{name}` | {field.help} |")
    return "\n".join(lines)


def test_fields_are_those_of_the_code() -> None:
    assert field_table() in DOCUMENT, field_table()


def test_gates_are_those_that_are_asked() -> None:
    entry = bundled.entry("reference")
    asked = {case.gate for case in plan(entry, samples_for(entry, 0))} | {SAFE}
    assert {row[0] for row in rows("gate")} == asked
    assert {row[0] for row in rows("outcome")} == set(OUTCOMES)


def test_files_in_it_are_what_the_gate_takes() -> None:
    (entry,) = [tomllib.loads(text)["converters"]["apr"] for text in blocks("toml")]
    assert {FIELDS[name].read(value) is not None for name, value in entry.items()} == {True}
    workflow, expected = (
        [text for text in blocks("yaml") if "jobs:" in text],
        [text for text in blocks("yaml") if "pattern:" in text],
    )
    assert len(parse(expected[0])) == 2
    used = next(
        step for step in yaml.safe_load(workflow[0])["jobs"]["gate"]["steps"] if "rosetta-ref" in step.get("uses", "")
    )
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    assert used["with"].keys() <= action["inputs"].keys()
    named = re.findall(r"`([\w-]+)`", DOCUMENT.partition("Its inputs are")[2].partition("[examples")[0])
    assert set(named) == action["inputs"].keys()


def test_links_lead_somewhere() -> None:
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", DOCUMENT) if not (ROOT / "docs" / link).exists()] == []


REFERENCE = Function(Entry("reference", function=f"{ROOT}/rosetta_ref/gate/adapters/reference.py:convert"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A folder with what the guide asks for, and the environment in which its commands are run there."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    (tmp_path / "rosetta.toml").write_text(blocks("toml")[0])
    shutil.copy(DEMO, tmp_path / "SmolLM2-135M.Q4_K_M.gguf")
    with programs(tmp_path, "apr rosetta convert", REFERENCE) as environment:
        yield environment


def commands() -> list[str]:
    return [line for text in blocks("sh") for line in text.splitlines() if line and not line.startswith("pip install")]


def narrowed(command: str, case: str) -> str:
    """The same about a few cases; of all of them with as many processes as the suite may have, else in one."""
    if command.startswith("pytest"):
        return (
            f"{command.replace('-n auto', '-n 2' if case == '*' else '-n 0')} -p no:cacheprovider --gate-case '{case}'"
        )
    return f"{command} --case '{case}'" if command.startswith("rosetta-ref gate") else command


def run_all(place: Mapping[str, str], case: str) -> None:
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", narrowed(command, case)],
            cwd=place["PWD"],
            env=place,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-2000:])
        if "smoke" in command:
            found = re.findall(r"^  ([AGS]-[AGS]) +works", done.stdout, re.MULTILINE)
            assert len(found) == 6, done.stdout
    folder = Path(place["PWD"])
    assert {path.name for path in (folder / "gate").iterdir()} == {"result.json", "evidence.json", "summary.md"}
    assert (folder / "expectations.yaml").exists()


def test_commands_run(place: Mapping[str, str]) -> None:
    assert [shlex.split(command)[:2] for command in commands()].count(["rosetta-ref", "gate"]) == 4
    run_all(place, "F-CONV-META-001/G-A/*t*")


@pytest.mark.slow
def test_commands_run_with_all_cases(place: Mapping[str, str]) -> None:
    run_all(place, "*")
