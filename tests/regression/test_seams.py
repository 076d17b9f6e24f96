"""What may be replaced is declared: every seam is there as it says, is used, and nothing is replaced but by a seam."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import rosetta_ref
from rosetta_ref.quant import TYPES, block
from rosetta_ref.zoo import MEMBERS, seams
from rosetta_ref.zoo.seams import SEAMS, Seam, SeamError, fits, replaced

HOUSE = Path(rosetta_ref.__file__).parent
#: Who replaces parts.
MAKERS = [*(HOUSE / "zoo").rglob("*.py"), *(HOUSE / "diagnosis").rglob("*.py")]


def signature(part: object) -> str:
    """As it is declared: how a part is called, or the type of what is no function."""
    return str(inspect.signature(part)).replace("'", "") if callable(part) else type(part).__name__


def stands_there(seam: Seam) -> str:
    """The signature of what stands at a seam; of an attribute of each object, what its class says of it."""
    if not seam.each:
        return signature(seam.right)
    if seam.place is block.BlockType:
        protocol = {"decode": block.Decoder, "encode": block.Encoder}[seam.name]
        return signature(protocol.__call__).replace("(self, ", "(")
    return str(seam.place.__annotations__[seam.name]).partition("[")[0]


@pytest.mark.parametrize("name", SEAMS)
def test_a_seam_is_there_as_it_is_declared(name: str) -> None:
    seam = SEAMS[name]
    assert not seam.name.startswith("_")
    assert seam.name in vars(seam.place) or seam.name in seam.place.__annotations__
    assert stands_there(seam) == seam.signature


@pytest.mark.parametrize("name", SEAMS)
def test_a_seam_is_used(name: str) -> None:
    using = [path for path in MAKERS if re.search(rf"\bseams\.{name}\b", path.read_text())]
    assert using, "a seam that nobody uses promises what nobody needs"


def test_no_place_is_two_seams() -> None:
    places = [(seam.module, seam.name) for seam in SEAMS.values()]
    assert len({*places}) == len(places)


def replacing_otherwise(tree: ast.AST) -> Iterator[str]:
    """What puts something in another's place, or reaches into a package past its public names."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rosetta_ref"):
            for one in node.names:
                modules[one.asname or one.name] = node.module
                if one.name.startswith("_"):
                    yield f"{node.lineno}: imports {one.name}"
    for node in ast.walk(tree):
        name = node.func if isinstance(node, ast.Call) else None
        if isinstance(name, ast.Name) and name.id in ("setattr", "delattr", "Part"):
            yield f"{node.lineno}: {name.id}"
        if isinstance(name, ast.Attribute) and name.attr in ("__setattr__", "patch"):
            yield f"{node.lineno}: {name.attr}"
        inner = node.value if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr) else None
        if isinstance(inner, ast.Name) and inner.id in modules:
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", MAKERS, ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_nothing_is_replaced_but_by_a_seam(path: Path) -> None:
    if path != HOUSE / "zoo/seams.py":
        assert not [*replacing_otherwise(ast.parse(path.read_text()))]


def test_the_search_sees_what_it_looks_for() -> None:
    code = "from rosetta_ref.formats import gguf\nsetattr(gguf, 'read', 1)\ngguf._x\nobject.__setattr__(gguf, 'a', 1)\n"
    code += "from rosetta_ref.quant.block import _FIELD\n"
    assert len([*replacing_otherwise(ast.parse(code))]) == 4


@pytest.mark.parametrize("member", [one for one in MEMBERS.values() if one.waiting_for is None], ids=lambda one: one.id)
def test_every_part_of_a_member_fits_its_seam(member: object) -> None:
    parts = member.broken.parts  # type: ignore[attr-defined]
    assert parts
    for part in parts:
        declared = Seam(part.seam.module, part.seam.name, part.seam.signature, part.seam.each)
        assert declared in SEAMS.values()
        assert fits(part.seam.right, part.wrong)


@pytest.mark.parametrize(
    "wrong", [lambda rows: rows, lambda rows, heads: rows, lambda rows, heads, inverse: rows, lambda **_: 0, 5]
)
def test_what_cannot_be_called_so_is_refused(wrong: object) -> None:
    with pytest.raises(SeamError, match="row_order"):
        seams.ROW_ORDER.by(wrong)


def test_a_table_is_no_function_and_a_number_no_table() -> None:
    for seam, wrong in ((seams.APR_CODES, len), (seams.APR_CODES, 5), (seams.APR_ROW_MAJOR, {})):
        with pytest.raises(SeamError):
            seam.by(wrong)


def test_a_part_is_in_its_place_until_it_is_closed() -> None:
    right = seams.ROW_ORDER.right
    with replaced(seams.ROW_ORDER.by(lambda rows, heads, *, inverse=False: rows)):
        assert import_module("rosetta_ref.architectures.heads").row_order(5, 1) == 5
    assert seams.ROW_ORDER.right is right
    kind = TYPES["F32"]
    plain = kind.decode
    with replaced(seams.DECODE.of(kind).by(lambda blocks, out=None: blocks)):
        assert kind.decode is not plain
    assert kind.decode is plain
