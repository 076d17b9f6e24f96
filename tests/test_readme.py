"""What the documents promise: the README's two commands, the table of types, and who wrote each golden file."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_readme_opens_with_the_two_commands() -> None:
    head, block = README.split("```", 2)[:2]
    assert len(head.splitlines()) <= 8
    assert block.removeprefix("sh\n").strip().splitlines() == [
        "pip install . && rosetta-ref demo",
        "pip install -e '.[test]' && pytest -n auto",
    ]


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "-e '.[test]' && pytest -n auto" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_extra_that_the_readme_names_exists() -> None:
    named = {extra for match in re.findall(r"\.\[([\w,]+)\]", README) for extra in match.split(",")}
    assert named
    assert named <= PROJECT["optional-dependencies"].keys()


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def manifest() -> dict[str, tuple[str, str]]:
    lines = (ROOT / "fixtures" / "MANIFEST.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]
    return {name: (writer, digest) for name, writer, digest in rows}


def test_manifest_names_every_golden_file() -> None:
    documents = {"README.md", "SHA256SUMS", "MANIFEST.md"}
    folder = ROOT / "fixtures" / "golden"
    found = {f"golden/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file()}
    found = {name for name in found if Path(name).name not in documents}
    assert len(found) > 50
    assert found == {name for name in manifest() if name.startswith("golden/")}


@pytest.mark.parametrize("name", manifest())
def test_golden_file_is_the_one_that_was_written(name: str) -> None:
    writer, digest = manifest()[name]
    assert writer
    assert hashlib.sha256((ROOT / "fixtures" / name).read_bytes()).hexdigest() == digest
