"""CONTRIBUTING.md: the files that it names are there, as many as it says, and an architecture needs no other ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
#: How many files of the package each thing may need.
MOST = {
    "a block type / Carried only": 3,
    "a block type / With a codec, and asked about by the gate": 5,
    "an architecture / Without new operations": 3,
    "a gate case / A new check": 2,
    "a gate case / More cases for a check that there is": 1,
    "a zoo member / A member": 2,
    "a container / Converted from and to": 7,
    "a container / And judged by the gate": 10,
}
#: What stands for a name in the document, and names that there are: of each path there has to be a file by one of them.
NAMES = {"NAME": ("qwen3", "order", "names", "gguf"), "FAMILY": ("fewbits",), "CLASS": ("rows",)}
EXAMPLE = "qwen3"


def sections() -> dict[str, tuple[int, list[str]]]:
    """Of each list of files what it is about: how many there are said to be, and which."""
    made = {}
    for part in re.split(r"(?m)^## How to add ", TEXT)[1:]:
        what = part.partition("\n")[0]
        for table in re.split(r"(?m)^### ", part)[1:]:
            heading = re.fullmatch(r"(.+): (\d+) files?", table.partition("\n")[0])
            assert heading, table
            made[f"{what} / {heading[1]}"] = int(heading[2]), re.findall(r"(?m)^\| `(\S+)` \|", table)
    return made


def spelled(path: str) -> list[Path]:
    """A path with names in the place of what stands for them."""
    for word, names in NAMES.items():
        if re.search(rf"\b{word}\b", path):
            return [ROOT / re.sub(rf"\b{word}\b", name, path) for name in names]
    return [ROOT / path]


@pytest.mark.parametrize("what", MOST)
def test_the_files_are_there_and_no_more_than_it_says(what: str) -> None:
    count, paths = sections()[what]
    print(f"{what}: {len(paths)} of at most {MOST[what]}")
    assert len(paths) == count <= MOST[what]
    assert all(path.startswith("rosetta_ref/") for path in paths)
    assert [path for path in paths if not any(found.is_file() for found in spelled(path))] == []


def test_it_is_about_all_five() -> None:
    assert sections().keys() == MOST.keys()


def test_what_it_names_besides_is_there() -> None:
    """Files outside the package, and those in prose."""
    named: list[str] = re.findall(r"`((?:rosetta_ref|tests|docs|fixtures)/[^\s`]+)`", TEXT)
    assert len(named) > 30
    missing = [path for path in named if not any(found.exists() for found in spelled(path))]
    assert missing == []


#: What `benchmarks/rounding.py --write` writes.
MEASURED = {"rounding.json"}


def test_an_architecture_is_named_in_its_own_files_alone() -> None:
    """Its models and tests apart. Others of the package ask the records, and know no names; a table is measured by a command."""
    _, paths = sections()["an architecture / Without new operations"]
    word = re.compile(rf"\b{EXAMPLE}\b", re.IGNORECASE)
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "rosetta_ref").rglob("*")
        if path.suffix in {".py", ".json", ".yaml", ".toml"} and path.name not in MEASURED
        if word.search(path.read_text("utf-8"))
    ]
    print(f"{EXAMPLE} is named in {len(found)} files of the package: {', '.join(sorted(found))}")
    assert sorted(found) == sorted(path.replace("NAME", EXAMPLE) for path in paths)


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("a block type", "quant/table.py"),
        ("a zoo member", "zoo/members/rows.py"),
        ("a container", "formats/registry.py"),
    ],
)
def test_an_example_is_a_part_of_the_package(what: str, where: str) -> None:
    shown = re.findall(r"(?m)^    (\S.*|    .*)$", TEXT.partition(f"## How to add {what}\n")[2].partition("###")[0])
    there = {line.strip().rstrip(",") for line in (ROOT / "rosetta_ref" / where).read_text("utf-8").splitlines()}
    assert shown
    assert [line for line in shown if line.strip().rstrip(",") not in there] == []


def test_the_check_in_it_is_one() -> None:
    """The example is the one that `test_gate_checks` runs."""
    from tests.test_gate_checks import ORDER

    shown = TEXT.partition("    class Order(Check):")[2].partition("###")[0]
    lines = [line.removeprefix("    ") for line in shown.splitlines() if line.strip()]
    theirs = [line for line in ORDER.partition("class Order(Check):")[2].splitlines() if line.strip()]
    assert lines == theirs
