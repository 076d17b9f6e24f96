"""What keeps the house cheap to grow: who has to know which formats there are."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import rosetta_ref
from rosetta_ref import gate
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import registry
from rosetta_ref.gate import pairs
from rosetta_ref.quant import TYPES

HOUSE = Path(rosetta_ref.__file__).parent
#: Comparisons with the name of a format outside `formats/`: 89 before there were rows.
MOST = 25


def is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in registry.FORMATS


def names_a_format(node: ast.expr) -> bool:
    """The name itself, or a literal tuple, list or set with such a name in it."""
    held = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(is_name(one) for one in held)


def comparisons(tree: ast.AST) -> Iterator[int]:
    """The lines of a module that compare something with the name of a format: each operand counts, and each pattern of a match."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (node.lineno for side in (node.left, *node.comparators) if names_a_format(side))
        elif isinstance(node, ast.MatchValue) and names_a_format(node.value):
            yield node.lineno


def test_few_places_compare_the_names_of_formats(capsys: pytest.CaptureFixture[str]) -> None:
    found = Counter[str]()
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        if not name.startswith("formats/"):
            found[name] += len(list(comparisons(ast.parse(path.read_text()))))
    with capsys.disabled():
        print(f"\n{found.total()} comparisons with the name of a format outside formats/, {MOST} at most")
    assert found.total() <= MOST, "ask the row of formats/registry.py: " + str({k: n for k, n in found.items() if n})


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('kind == "gguf"', 1),
        ('kind != "apr" or "safetensors" == kind', 2),
        ('kind in ("gguf", "apr")', 1),
        ('kind in {"apr"}', 1),
        ('"gguf" in formats', 1),
        ('match kind:\n    case "gguf" | "apr":\n        pass', 2),
        ('name == "gguf file"', 0),
        ('rows["gguf"]', 0),
    ],
)
def test_comparisons_are_counted(code: str, count: int) -> None:
    assert len(list(comparisons(ast.parse(code)))) == count


@pytest.mark.parametrize("name", registry.FORMATS)
def test_a_row_reads_what_it_writes(name: str, tmp_path: Path) -> None:
    row = registry.of(name)
    tensor = Tensor.of("t", TYPES["F32"], (2,), bytes(8))
    path = tmp_path / f"model{row.suffix}"
    row.write(Archive(name, {}, {"t": tensor}), path, lenient=True, progress=lambda count: None)
    assert path.read_bytes().startswith(row.magic)
    with row.read(path, lenient=True, shapes="row-major") as archive:
        assert archive.format == name
        assert archive.tensors["t"].data.tobytes() == bytes(8)


def test_rows_do_not_contradict_each_other() -> None:
    rows = registry.CONTAINERS.values()
    for what in ("name", "letter", "title", "suffix", "magic"):
        said = [getattr(row, what) for row in rows]
        assert len({*said}) == len(said), what
    assert [row.name for row in rows if row.has_companions] == ["safetensors"]
    assert registry.of("gguf").holds(TYPES["Q4_K"])
    assert not registry.of("apr").holds(TYPES["Q5_K"])
    assert not registry.of("safetensors").holds(TYPES["Q4_K"])


def test_gates_are_numbered_by_pairs_that_stay() -> None:
    assert pairs.PAIRS == ("G-A", "A-G", "G-S", "S-G", "A-S", "S-A")


#: Rooms of `architectures` that the forward pass may use: texts and keys as they stand, and tokenizers, which llama.cpp judges.
SHARED = {"checked", "aprender_json", "aprender_keys", "tokenizer", "typed_json"}


def test_whatever_the_converter_knows_of_architectures_is_forbidden_to_the_forward_pass() -> None:
    """A new module is forbidden, or stands above with a reason."""
    settings = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text("utf-8"))
    contracts = {one["name"]: one for one in settings["tool"]["importlinter"]["contracts"]}
    forbidden = contracts["The judge does not use what it judges"]["forbidden_modules"]
    there = {path.stem for path in (HOUSE / "architectures").iterdir() if path.stem.strip("_") == path.stem}
    there -= {"__pycache__"}
    assert {name.removeprefix("rosetta_ref.architectures.") for name in forbidden} == there - SHARED
    assert there >= SHARED


def test_the_gate_has_few_rooms() -> None:
    """At its top at most 15 modules and packages; data files, `expectations/` and its own `__init__` aside."""
    top = Path(gate.__path__[0])
    rooms = {path.name for path in top.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {
        "__init__.py"
    }
    print(f"{len(rooms)} at the top of the gate")
    assert 10 < len(rooms) <= 15, sorted(rooms)
