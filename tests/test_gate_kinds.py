"""The table of kinds: nothing else can be found, every row is found by something, and who writes a kind is told of a typo."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.converter.loses import INPUTS, excuse, word
from rosetta_ref.gate.converter.named import EntryError, read_entries
from rosetta_ref.gate.findings import Finding, Result
from rosetta_ref.gate.gates import GATES, SAFE
from rosetta_ref.gate.judge.question import of_json, to_json
from rosetta_ref.gate.kinds import KINDS, About, Severity, UnknownKindError, kind_of, named
from rosetta_ref.gate.report.expectations import ExpectationError, parse
from rosetta_ref.gate.run.engine import Engine, samples_for
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from tests.support.results import failed

ROOT = Path(__file__).parents[1] / "rosetta_ref"
#: Where findings come from, and what becomes one: flaws of files, verdicts on tensors, failures of `verify`.
EMITTERS = ("gate/judge", "gate/run", "reduce/search", "verify")
#: What makes one, and the place of its kind among the arguments.
CALLS = {"Finding": 0, "Flaw": 0, "Verdict": 1, "Broken": 1, "wrong": 0, "verdict": 1, "fail": 0}
#: Failures of `verify` that the gate leaves out (`silent`), or has no engine for (`engines`).
NOT_OF_THE_GATE = {"answers-silent", "answers-engines"}


# The table


def emitted() -> dict[str, set[str]]:
    """Every kind that stands in the source as a text, where something is found, with the modules."""
    found: dict[str, set[str]] = {}
    for folder in EMITTERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            constants = {
                node.targets[0].id: node.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for text in _kinds_in(tree, constants):
                found.setdefault(f"answers-{text}" if folder == "verify" else text, set()).add(
                    str(path.relative_to(ROOT))
                )
    return found


def _kinds_in(tree: ast.AST, constants: dict[str, ast.expr]) -> Iterator[str]:
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        for target, value in _assignments(node):
            assigned.setdefault(target, []).append(value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = CALLS.get(name)
        given = [word.value for word in node.keywords if word.arg == "kind"]
        given += node.args[place : place + 1] if place is not None and not given else []
        for value in given:
            yield from _texts(value, assigned, constants)


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Assign):
        return
    (target,) = node.targets[:1]
    if isinstance(target, ast.Name):
        yield target.id, node.value
    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        yield from (
            (one.id, value)
            for one, value in zip(target.elts, node.value.elts, strict=True)
            if isinstance(one, ast.Name)
        )


def _texts(
    value: ast.expr, assigned: dict[str, list[ast.expr]], constants: dict[str, ast.expr], deep: int = 2
) -> Iterator[str]:
    """The texts that an expression may be: of both branches, of a table, of a name that is given a text before."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        for branch in (value.body, value.orelse):
            yield from _texts(branch, assigned, constants, deep)
    elif isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        table = constants.get(value.value.id)
        yield from (each.value for each in getattr(table, "elts", ()) if isinstance(each, ast.Constant))
    elif isinstance(value, ast.Name) and deep:
        for given in assigned.get(value.id, ()):
            yield from _texts(given, assigned, constants, deep - 1)


#: Kinds that are no text where they are found: ways to round, in a table; how a run ended, in the words of a run; and the kind
#: that stands for a result without findings.
ELSEWHERE = {
    "truncated": "gate/judge/narrow.py", "flushed": "gate/judge/narrow.py", "truncated-and-flushed": "gate/judge/narrow.py",
    "crashed": "gate/converter/entry.py", "timeout": "gate/converter/entry.py", "unstated": "gate/kinds.py",
    "metadata-unreadable": "gate/judge/view.py",
}  # fmt: skip


def test_every_kind_that_is_found_is_a_row_and_every_row_is_found() -> None:
    found = emitted()
    assert found.keys() - KINDS.keys() - NOT_OF_THE_GATE == set()
    for kind, module in ELSEWHERE.items():
        assert f'"{kind}"' in (ROOT / module).read_text("utf-8")
    assert KINDS.keys() - found.keys() - ELSEWHERE.keys() == set()
    assert ELSEWHERE.keys() & found.keys() == set()
    assert len(found) > 60


def test_a_row_says_what_it_is() -> None:
    for kind in KINDS.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.name)
        assert kind.says[0].islower() or kind.says.startswith(("NaN", "q, k"))
        assert not kind.says.endswith(".")
        assert kind.means.endswith(".")
        assert not kind.right.endswith(".")
    assert len({kind.says for kind in KINDS.values()}) == len(KINDS)
    assert set.union(*(set(named(about)) for about in About)) == KINDS.keys()


def test_what_nobody_notices_comes_first() -> None:
    def rank(name: str) -> int:
        return kind_of(name).severity.rank

    assert [severity.rank for severity in Severity] == list(range(len(Severity)))
    assert rank("values") == rank("out-of-range") == rank("rows-permuted") == rank("number-wrong") == 0
    assert rank("out-of-range") < rank("nan-payload")
    assert rank("values") < rank("crashed") < rank("refused")
    assert rank("unreadable") < rank("refused") < rank("lossy-unasked")


def test_the_gates_are_those_of_cases() -> None:
    reference = bundled.entry("reference")
    assert {case.gate for case in plan(reference, samples_for(reference, 0))} | {SAFE} == GATES.keys()
    page = (ROOT.parent / "docs" / "gate.md").read_text("utf-8")
    assert set(re.findall(r"^\| (F-CONV-[\w-]+) \|", page, re.MULTILINE)) == GATES.keys()


# A finding


def test_a_finding_of_an_unknown_kind_cannot_be_made() -> None:
    with pytest.raises(UnknownKindError, match="unknown kind 'rows-permutted'") as error:
        Finding("rows-permutted", "F-CONV-001", "x")
    assert error.value.hint == "Did you mean 'rows-permuted'?"
    with pytest.raises(UnknownKindError):
        replace(Finding("values", "F-CONV-001", "x"), kind="a\n::error::b")
    for name in KINDS:
        assert Finding(name, "F-CONV-001", "x").kind == name


def test_nor_is_it_read_from_another_process() -> None:
    text = to_json(failed("F-CONV-001/a", "values"))
    assert of_json(text).findings[0].kind == "values"
    with pytest.raises(UnknownKindError, match="valuez"):
        of_json(text.replace('"kind": "values"', '"kind": "valuez"'))


# Words that people write


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("value", "Did you mean 'values'?"),
        ("row-permuted", "'rows-permuted'"),
        ("top1", "'answers-top1'"),
        ("??", "docs/kinds.md"),
    ],
)
def test_a_typo_in_expectations_is_an_error(kind: str, hint: str) -> None:
    with pytest.raises(ExpectationError, match=r"entry 2: kinds: unknown kind") as error:
        parse(f"- {{pattern: a, reason: b}}\n- {{pattern: a, reason: b, kinds: [values, '{kind}']}}")
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lossy-unaskt", "Did you mean 'lossy-unasked'"),
        ("F-CONV-META-01", "Did you mean 'F-CONV-META-001'"),
        ("META", "Did you mean 'F-CONV-META-001'"),
        ("specials", "Did you mean 'special'"),
        ("apr/bf17", "Did you mean 'apr/bf16'"),
        ("gguf/sharded/x", "unknown word"),
        ("touched", "'touched' is never excused"),
        ("refused", "'refused' is never excused"),
        ("", "a text is wanted"),
        ("alignment-0", "unknown word"),
    ],
)
def test_a_typo_in_loses_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rosetta.toml"
    path.write_text(f'[converters.mine]\ncommand = "a {{src}} {{dst}}"\nloses = ["values", {json.dumps(text)}]\n')
    with pytest.raises(EntryError, match=r"converters\.mine\.loses") as error:
        read_entries(path)
    assert message in str(error.value)


def test_loses_takes_kinds_gates_and_inputs() -> None:
    excusable = [name for name, kind in KINDS.items() if kind.excusable]
    assert len(excusable) > 50
    for text in (*excusable, *GATES, *INPUTS, "alignment-64"):
        assert word(text) == text
    assert word("APR/BF16") == "apr/bf16"


# What they excuse


def result(*kinds: str, compared: int = 8, gate: str = "F-CONV-001", outcome: str = "Falsified") -> Result:
    made = failed(f"{gate}/a", *kinds, outcome=outcome)
    made.compared, made.reason = compared, "as it was"
    return made


@pytest.mark.parametrize(
    ("made", "loses", "outcome", "left"),
    [
        (result("values"), ("values",), "Corroborated", []),
        (result("values", "nan"), ("values",), "Falsified", ["nan"]),
        (result("values", "nan"), ("values", "nan"), "Corroborated", []),
        (result("lost", compared=3), ("lost",), "Skipped", []),
        (result("values"), ("nan",), "Falsified", ["values"]),
        (result("values"), ("special", "sharded"), "Falsified", ["values"]),
        (result("values", "touched"), ("F-CONV-001",), "Skipped", []),
        (result("values"), ("F-CONV-002",), "Falsified", ["values"]),
        (result("number-lost", gate="F-CONV-META-001"), ("F-CONV-META-001",), "Skipped", []),
        (result("number-lost", gate="F-CONV-RT-001"), ("F-CONV-META-001",), "Falsified", ["number-lost"]),
        (result("touched"), ("touched",), "Falsified", ["touched"]),
        (result(), ("F-CONV-001",), "Skipped", []),
        (result(), ("values",), "Falsified", []),
        (result("values", outcome="Crashed"), ("values", "F-CONV-001"), "Crashed", ["values"]),
        (result(outcome="Timeout"), ("F-CONV-001",), "Timeout", []),
    ],
)
def test_what_is_not_promised_is_excused_and_nothing_else(
    made: Result, loses: tuple[str, ...], outcome: str, left: list[str]
) -> None:
    before = [finding.kind for finding in made.findings]
    found = excuse(made, loses)
    assert (found.outcome, [finding.kind for finding in found.findings]) == (outcome, left)
    gone = [kind for kind in before if kind not in left]
    assert found.notes == dict.fromkeys(gone, 1)
    if gone and not left:
        assert all(kind in found.reason for kind in gone) or found.gate in found.reason
    elif not gone and outcome != "Skipped":
        assert found.reason == "as it was"


@pytest.mark.parametrize(
    ("loses", "outcome"),
    [
        ((), "Falsified"),
        (("number-wrong",), "Corroborated"),
        (("F-CONV-META-001",), "Skipped"),
        (("number-lost",), "Falsified"),
    ],
)
def test_the_gate_keeps_what_an_entry_does_not_promise(loses: tuple[str, ...], outcome: str) -> None:
    """A converter that forgets rope_theta, in the gate: what is wrong with it is the metadata alone."""
    under_test = converter(MEMBERS["rope-theta-forgotten"])
    under_test.entry = replace(under_test.entry, loses=loses)
    samples = [each for each in samples_for(under_test.entry, 0) if each.name == "llama-f32-tied"]
    with Workspace() as work:
        engine = Engine.of(under_test, work, 0, samples, ["F-CONV-META-001/G-S/*", "F-CONV-NAME-001/G-S/*"])
        found = {each.gate: each for each in engine.answers(engine.cases)}
    assert found["F-CONV-META-001"].outcome == outcome
    assert found["F-CONV-NAME-001"].outcome == "Corroborated"
    if loses and outcome != "Falsified":
        assert loses[0] in found["F-CONV-META-001"].reason


def test_the_reducer_does_not_follow_what_is_excused(tmp_path: Path) -> None:
    from rosetta_ref.gate.inputs import write
    from rosetta_ref.gate.inputs.default import default
    from rosetta_ref.reduce.search.candidate import Oracle

    class Empty:
        entry = Entry("empty", function="none:none", loses=("F-CONV-META-001",))

        def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
            MEMBERS["rope-theta-forgotten"].convert(src, dst)
            return Run(ACCEPTED, 0)

    (sample,) = [each for each in default(0, types=["F32"], whole_models=True) if each.name == "llama-f32-tied"]
    source = write.write(sample, "gguf", tmp_path / "given")
    with Workspace() as work:
        promised = Empty()
        assert Oracle(promised, "safetensors", work).look(source).findings == []
        promised.entry = replace(promised.entry, loses=())
        assert {each.kind for each in Oracle(promised, "safetensors", work).look(source).findings} == {"number-wrong"}
