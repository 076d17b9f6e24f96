"""The checks of the gate as objects: a new one is one file, which planning, judging and reporting find by themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.formats import safetensors
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Result
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.report import files
from rosetta_ref.gate.report.files import RunInfo
from rosetta_ref.gate.report.verdict import RunVerdict
from rosetta_ref.gate.run import checks
from rosetta_ref.gate.run.checks import CHECKS
from rosetta_ref.gate.run.checks.check import Check, Subject
from rosetta_ref.gate.run.engine import run

#: A whole new check: the tensors of an output stand in the order of its source.
ORDER = '''
from rosetta_ref.gate.judge.question import Case
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.run.checks.check import Check, Group


class Order(Check):
    """The tensors of the output stand in the order of the source."""

    group, order = Group.PAIR, 9
    unit = "tensors"

    def plan(self, subject, pair):
        id_ = f"F-CONV-ORDER-001/{letters(pair)}/{subject.sample.name}"
        yield Case(id_, "F-CONV-ORDER-001", self.name, subject.sample.name, pair)

    def judge(self, result, question, judgements):
        with look(question.source) as source, look(question.target) as target:
            before, after = list(source.tensors), list(target.tensors)
        result.expected, result.compared = len(before), len(after)
        if before != after:
            result.findings.append(Finding("invented", result.gate, "they stand in another order"))


CHECK = Order()
'''


class Reference:
    """The reference, on one pair; `backwards`, with the tensors of the output in the other order."""

    entry = Entry("right", function="none:none", pairs=("G-S",), architectures=("llama",), safetensors_as="file")

    def __init__(self, *, backwards: bool = False) -> None:
        self._backwards = backwards

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        reference(src, dst)
        if self._backwards:
            with safetensors.read(dst) as archive:
                made = replace(archive, tensors=dict(reversed(archive.tensors.items())))
                safetensors.write(made, dst.with_name("turned"))
            dst.with_name("turned").replace(dst)
        return Run(ACCEPTED, 0)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Check]:
    """The checks, one more among them."""
    (tmp_path / "order.py").write_text(ORDER)
    monkeypatch.setattr(checks, "__path__", [*checks.__path__, str(tmp_path)])
    monkeypatch.setattr(
        cache, "are_replaced", lambda: True
    )  # judged here: a process of its own knows nothing of this folder
    before = dict(CHECKS)
    try:
        found = checks._found()
        CHECKS.clear()
        CHECKS.update(found)
        yield CHECKS["order"]
    finally:
        CHECKS.clear()
        CHECKS.update(before)
        sys.modules.pop("rosetta_ref.gate.run.checks.order", None)


def sample() -> Sample:
    return build("llama-f32", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)


def test_a_new_check_is_one_file(order: Check, tmp_path: Path) -> None:
    assert [*CHECKS][:6] == ["claims", "tensors", "count", "names", "metadata", "order"]
    only = ["F-CONV-[CO]*/G-S/llama-f32"]
    right, found = (run(Reference(backwards=turned), samples=[sample()], only=only) for turned in (False, True))
    assert [result.outcome for result in right] == [CORROBORATED, CORROBORATED]
    assert [(result.case, result.outcome) for result in found] == [
        ("F-CONV-CARD-001/G-S/llama-f32", CORROBORATED),
        ("F-CONV-ORDER-001/G-S/llama-f32", FALSIFIED),
    ]
    assert found[1].expected == len(sample().model.tensors)
    made = files.result_json(found, RunVerdict(), Reference.entry, RunInfo(0, "default", seconds=1.0, whole=False))
    assert made["gates"]["F-CONV-ORDER-001"][FALSIFIED] == 1
    files.write_evidence(tmp_path / "evidence.json", found, Reference.entry)
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    assert {one["gate_id"] for one in evidence} == {"F-CONV-CARD-001", "F-CONV-ORDER-001"}


def test_a_module_that_is_no_check_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stray.py").write_text('"""No check."""\n')
    monkeypatch.setattr(checks, "__path__", [*checks.__path__, str(tmp_path)])
    with pytest.raises(AttributeError, match=r"checks\.stray' has no attribute 'CHECK'"):
        checks._found()
    sys.modules.pop("rosetta_ref.gate.run.checks.stray", None)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_is(name: str) -> None:
    check = CHECKS[name]
    assert check.name == name
    assert type(check).__doc__
    assert type(check).__doc__ != Check.__doc__
    assert check.unit in {"elements", "tensors", "names", "keys", "bytes", "positions", "refusals", "pairs"}
    expects = check.expected
    planned = [case for pair in PAIRS_OF_ALL for case in check.plan(THOROUGH, pair)]
    planned += check.plan_once(replace(Reference.entry, pairs=("G-A",)))
    assert planned or name == "refusals"
    assert {case.what for case in planned} <= {name}
    assert all(expects(case, sample()) > 0 for case in planned if case.sample)


ALL = replace(Reference.entry, pairs=None, quantises=("Q8_0",))
THOROUGH = Subject(
    ALL, replace(sample(), name="llama-f32-tied", labels={"output_norm.weight": "f32/rough"}), thorough=True, twice=True
)  # fmt: skip
PAIRS_OF_ALL = [pair for group in sorted({check.group for check in CHECKS.values()}) for pair in THOROUGH.pairs(group)]


def test_only_the_first_leg_has_to_be_claimed() -> None:
    subject = Subject(replace(ALL, pairs=("G-A",)), sample())
    assert subject.is_asked(("gguf", "apr"))
    assert subject.is_asked(("gguf", "apr", "safetensors"))
    assert not subject.is_asked(("apr", "gguf"))
    assert not Subject(ALL, replace(sample(), formats=("apr",))).is_asked(("gguf", "apr"))


def test_an_output_is_blamed_where_it_is_wrong() -> None:
    """Failures are reduced from the conversion that a result blames."""
    chain = next(case for case in CHECKS["round_trips"].plan(THOROUGH, ("gguf", "apr")))
    result = Result(chain.id, chain.gate, FALSIFIED)
    assert CHECKS["round_trips"].wrong_steps(chain, result.findings) == ()
    assert CHECKS["two_ways"].wrong_steps(chain, []) == ()
    assert CHECKS["names"].wrong_steps(chain, []) == chain.steps
