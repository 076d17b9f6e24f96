"""The real converters of `converters/`: their entries are well formed, and those that were built here can be talked to.

Nothing is built and nothing downloaded. `ROSETTA_CONVERTERS=FOLDER pytest tests/test_converters.py` runs what
`converters/build.py NAME FOLDER` has made.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
import math
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref import quant
from rosetta_ref.archive import Archive
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.pairs import PAIRS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "converters"
GOLDEN = ROOT / "fixtures" / "golden"
TROPHIES = ROOT / "docs" / "trophies"
OUTCOMES_OF_THE_TABLE = ("Corroborated", "Falsified", "Skipped", "Timeout", "Crashed")
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/entry.toml"))
#: What each kind of glue needs: the program, and the versions of all that it is built with.
GLUE = {
    "Cargo.toml": ("src/main.rs",),
    "go.mod": ("main.go", "go.sum"),
    "crate.txt": ("convert.py",),
    "requirements.txt": ("convert.py",),
}
#: One call that every release here has mastered, by its pair.
SOURCES = {
    "G-A": GOLDEN / "apr-rosetta" / "source" / "llama-f32.gguf",
    "G-G": GOLDEN / "apr-rosetta" / "source" / "llama-f32.gguf",
    "G-S": GOLDEN / "apr-rosetta" / "source" / "llama-f32.gguf",
    "S-G": GOLDEN / "convert-hf" / "llama-smollm-tied" / "hf",
}


def load(name: str) -> dict[str, Any]:
    """The entry of `name`, the only one of its file."""
    document = tomllib.loads((FOLDER / name / "entry.toml").read_text("utf-8"))
    assert list(document) == ["converters"]
    assert list(document["converters"]) == [name]
    entry = document["converters"][name]
    assert isinstance(entry, dict)
    return entry


def make(name: str) -> Entry:
    """The entry as the gate will hold it: lists are tuples there."""
    return Entry(name, **{key: tuple(value) if isinstance(value, list) else value for key, value in load(name).items()})


def sizes(archive: Archive) -> list[int]:
    """The numbers of elements of all tensors."""
    return sorted(math.prod(tensor.shape) for tensor in archive.tensors.values())


def test_the_folder_has_the_converters_of_the_issue() -> None:
    assert set(NAMES) >= {"apr-0.25.0", "apr-0.72.3", "ollama", "mlx-lm", "candle"}


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_an_entry_is_a_field_of_its_kind(name: str) -> None:
    kinds = {
        field.name: list if str(field.type).startswith("tuple") else type(field.default)
        for field in dataclasses.fields(Entry)
        if field.default is not dataclasses.MISSING
    }
    kinds |= {"command": str, "whole_models": bool, "environment": dict, "expectations": str}
    for key, value in load(name).items():
        assert key in kinds, f"{name}: {key} is no field of Entry"
        assert type(value) is kinds[key], f"{name}: {key} is {value!r}"


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_claims_what_exists(name: str) -> None:
    entry = make(name)
    assert entry.pairs
    assert set(entry.pairs) <= {*PAIRS, "G-G"}
    assert entry.types
    assert set(entry.types) | set(entry.quantises) <= set(quant.TYPES)
    assert entry.safetensors_as in ("file", "directory")
    assert set(entry.loses) <= {"lossy-unasked", "special", "sharded", "gguf/sharded", "apr/bf16"}
    assert 0 < entry.time_limit <= 60
    words = shlex.split(entry.command or "")
    assert words[0] == f"{name}-convert"
    assert words[1:3] == ["{src}", "{dst}"]
    assert ("{type}" in words) == bool(entry.quantises)


@pytest.mark.parametrize("name", NAMES)
def test_the_glue_is_there_with_the_versions_it_needs(name: str) -> None:
    (kind,) = (kind for kind in GLUE if (FOLDER / name / kind).exists())
    for part in (*GLUE[kind], "NOTES.md"):
        assert (FOLDER / name / part).stat().st_size > 0
    if kind == "requirements.txt":
        assert all("==" in line for line in (FOLDER / name / kind).read_text("utf-8").splitlines())
    if kind == "crate.txt":
        assert re.fullmatch(r"[\w-]+ \d+\.\d+\.\d+\n", (FOLDER / name / kind).read_text("utf-8"))
    if kind == "Cargo.toml":
        needed = tomllib.loads((FOLDER / name / kind).read_text("utf-8"))["dependencies"]
        versions = [one["version"] if isinstance(one, dict) else one for one in needed.values()]
        assert versions
        assert all(version.startswith("=") for version in versions)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_its_evidence_says(name: str) -> None:
    text = (TROPHIES / f"{name}.md").read_text("utf-8")
    evidence = json.loads(lzma.decompress((TROPHIES / f"{name}.evidence.json.xz").read_bytes()))
    shown = {each["metadata"]["case"]: {each["outcome"], *each["metadata"]["kinds"]} for each in evidence}
    lines = re.findall(r"  - ([\w-]+), (\d+) cases? of ([\w-]+), such as `([^`]+)`", text)
    assert len(lines) == text.count("\n  - ") > 5
    for kind, count, gate, case in lines:
        assert case.startswith(gate)
        assert kind in shown[case]
        assert 0 < int(count) <= sum(kind in kinds for other, kinds in shown.items() if other.startswith(f"{gate}/"))
    outcomes = Counter((each["gate_id"], each["outcome"]) for each in evidence)
    table = re.findall(r"(?m)^\| (F-CONV[\w-]+) \| (.*) \|$", text)
    for gate, counts in table:
        told = [int(count or 0) for count in re.split(r" ?\| ?", counts)]
        assert told == [outcomes[gate, outcome] for outcome in OUTCOMES_OF_THE_TABLE]
    assert {gate for gate, _ in table} == {gate for gate, _ in outcomes}
    assert f"{len(evidence):,} cases in " in text
    assert re.search(rf"\| {len(evidence):,} \|.*\[{re.escape(name)}\]", (TROPHIES / "README.md").read_text("utf-8"))


def test_nothing_built_is_in_the_tree() -> None:
    tree = [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert tree
    assert max(path.stat().st_size for path in tree) < 250_000


@pytest.mark.parametrize("name", NAMES)
def test_a_built_converter_converts_a_tiny_model(name: str, tmp_path: Path) -> None:
    entry = make(name)
    program = Path(os.environ.get("ROSETTA_CONVERTERS", "/nowhere")) / "bin" / f"{name}-convert"
    if not program.exists():
        pytest.skip(f"not built: python converters/build.py {name} FOLDER, and ROSETTA_CONVERTERS=FOLDER")
    pair = next(pair for pair in SOURCES if pair in (entry.pairs or ()))
    source = tmp_path / SOURCES[pair].name
    (shutil.copytree if SOURCES[pair].is_dir() else shutil.copy)(SOURCES[pair], source)
    target = tmp_path / {"A": "out.apr", "G": "out.gguf", "S": "out"}[pair[-1]]
    command = (entry.command or "").format(src=source, dst=target, type="Q8_0")
    run = subprocess.run(
        [str(program), *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        timeout=entry.time_limit,
        env={**os.environ, **entry.environment},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    with open_archive(source) as given, open_archive(target) as made:
        assert len(given.tensors) > 0
        assert len(made.tensors) == len(given.tensors)
        # The oldest release here stores shapes the wrong way round; how many elements each tensor has is right in all.
        assert sizes(made) == sizes(given)
