"""The gate's judge on the inputs of the zoo alone: what shows a bug is falsified, what hides it is not; and what bad judges say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import cache as judgements_module
from rosetta_ref.gate.judge import tensors as judging_module
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import UnreadableError, look
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.gate.run.answers import Answers
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.session import Session
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.adapter import control, converter
from rosetta_ref.zoo.inputs import blind, smallest
from rosetta_ref.zoo.member import is_model
from rosetta_ref.zoo.trial.canary import CANARY
from rosetta_ref.zoo.trial.comparators import judging
from rosetta_ref.zoo.trial.verifiers import VERIFIERS, Verifier

RUNNING = [member for member in MEMBERS.values() if member.waiting_for is None]
EACH = pytest.mark.parametrize("member", RUNNING, ids=lambda member: member.id)
LETTING = [verifier for verifier in VERIFIERS.values() if verifier.lets_through is not None]
#: Findings as the judge has them: kind, tensor and words.
Found = set[tuple[str, str | None, str]]


def found(source: Path, target: Path, under_test: Converter, asked: str | None) -> Found:
    """Everything that the judge finds wrong with a conversion. It compared something, or what it looks at cannot be read."""
    try:
        with look(source) as before, look(target) as after:
            judged, words = (
                judge(before, after, asked=asked, loses=under_test.entry.loses),
                judge_metadata(before, after),
            )
            assert sum(judged.elements.values()) or judged.findings
            return {(finding.kind, finding.tensor, finding.detail) for finding in (*judged.findings, *words.findings)}
    except UnreadableError as error:
        return {("unreadable", None, str(error))}


def of_both(member: Member, source: Path, pair: str, folder: Path) -> tuple[Found, Found | None]:
    """What is found in the member's output, and in the reference's; None where the reference refuses."""
    made: list[Found | None] = []
    for name, under_test in (("wrong", converter(member)), ("right", control(member))):
        target = folder / f"{name}-{pair}"
        target = target if pair[-1] == "S" and is_model(source) else target.with_suffix(f".{LETTERS[pair[-1]]}")
        run = under_test.convert(source, target)
        assert run.accepted or name == "right", run.stderr
        made.append(found(source, target, under_test, member.asks) if run.accepted else None)
    wrong, right = made
    assert wrong is not None
    return wrong, right


def pairs_from(member: Member, source: Path) -> list[str]:
    try:
        kind = sniff(source)
    except RosettaError:
        return [member.pairs[0]]
    return [pair for pair in member.pairs if LETTERS[pair[0]] == kind and pair != "G-G"]


@EACH
def test_the_smallest_input_alone_is_enough_for_the_judge(member: Member, tmp_path: Path) -> None:
    source = smallest(member.id, tmp_path)
    wrong, right = of_both(member, source, member.pairs[0], tmp_path)
    assert wrong
    assert right is None or wrong - right


@EACH
def test_under_the_judge_the_bug_lives_on_the_blind_input_alone(member: Member, tmp_path: Path) -> None:
    """So it is the gate's inputs that kill the member, and a gate of blind inputs would kill nobody."""
    source = blind(member.id, tmp_path)
    if source is None:
        assert member.blind in ("-", "none")
        return
    pairs = pairs_from(member, source)
    assert pairs
    for pair in pairs:
        wrong, right = of_both(member, source, pair, tmp_path)
        assert wrong == right


# Bad verifiers in the judge's place


def answered(under_test: Converter, source: Path, pair: str, folder: Path) -> list[Result]:
    """The cases of one file as it is, on one pair, that are about tensors."""
    steps = tuple(LETTERS[letter] for letter in pair.split("-"))
    with look(source) as view, Workspace(folder) as work:
        model = replace(view.archive, tensors={name: seen.tensor for name, seen in view.tensors.items()})
        labels = {name: f"{tensor.type.name.lower()}/{name}" for name, tensor in model.tensors.items()}
        sample = Sample("given", model, labels, None, steps[:1], path=source)
        answers = Answers(Session(under_test, {"given": sample}, work))
        cases = [case for case in plan(under_test.entry, [sample]) if case.what == "tensors" and case.steps == steps]
        made = [answers.answer(case) for case in cases]
    assert made
    assert all(result.expected for result in made)
    return made


def outcomes(*args: Any) -> set[str]:
    return {result.outcome for result in answered(*args)}


@pytest.mark.parametrize("verifier", LETTING, ids=lambda verifier: verifier.id)
def test_a_gate_with_a_bad_verifier_lets_a_member_through(verifier: Verifier, tmp_path: Path) -> None:
    member = MEMBERS[verifier.lets_through]
    source, pair = smallest(member.id, tmp_path), member.pairs[0]
    assert outcomes(control(member), source, pair, tmp_path) == {CORROBORATED}
    assert FALSIFIED in outcomes(converter(member), source, pair, tmp_path)
    with judging(verifier):
        assert outcomes(converter(member), source, pair, tmp_path) == {CORROBORATED}
    assert judgements_module.judge is judging_module.judge


def test_a_gate_that_cries_wolf_falsifies_the_reference(tmp_path: Path) -> None:
    zeros, numbers = CANARY.hidden_by(tmp_path / "zeros"), CANARY.shown_by(tmp_path / "numbers")
    right = control(CANARY)
    assert outcomes(right, zeros, "G-A", tmp_path) == outcomes(right, numbers, "G-A", tmp_path) == {CORROBORATED}
    with judging(VERIFIERS["cries-wolf"]):
        assert outcomes(right, zeros, "G-A", tmp_path) == {FALSIFIED}
        assert outcomes(right, numbers, "G-A", tmp_path) == {CORROBORATED}


def test_who_compared_nothing_and_says_so_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count is the engine's to check, whoever compares."""

    def nothing(*args: Any, **named: Any) -> judging_module.Judged:
        judged = judging_module.judge(*args, **named)
        return judging_module.Judged(expected=judged.expected)

    monkeypatch.setattr(judgements_module, "judge", nothing)
    (result,) = answered(control(CANARY), CANARY.shown_by(tmp_path), "G-A", tmp_path)
    assert (result.outcome, [finding.kind for finding in result.findings]) == (FALSIFIED, ["nothing-compared"])
