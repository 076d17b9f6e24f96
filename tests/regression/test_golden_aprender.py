"""The files of aprender 0.25.0, judged: every defect that their README lists is found and named, and what is right is not accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.diagnosis import diagnose
from rosetta_ref.gate.judge.metadata import Asked, judge_metadata
from rosetta_ref.gate.judge.tensors import CARD, NAME, Judged, judge
from rosetta_ref.gate.judge.view import look

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "apr-rosetta"
FILES = ("llama-f32", "llama-mix", "llama-q4km", "qwen2-f32", "qwen2-q4km")
EACH = pytest.mark.parametrize("name", FILES)
ATTENTION = ("blk.0.attn_k.weight", "blk.0.attn_v.weight")
#: Matrices that are not square, so that a shape that was not reversed shows.
OBLONG = {
    name: {"token_embd.weight", *ATTENTION, *(() if name.endswith("q4km") else ("output.weight",))} for name in FILES
}


def paths(name: str) -> tuple[Path, Path]:
    return GOLDEN / "source" / f"{name}.gguf", GOLDEN / "aprender-0.25.0" / f"{name}.apr"


def judged(name: str) -> tuple[Judged, Asked]:
    source, target = paths(name)
    with look(source) as before, look(target) as after:
        return judge(before, after), judge_metadata(before, after)


def kinds(found: Judged) -> dict[str, set[str]]:
    made: dict[str, set[str]] = {}
    for finding in found.findings:
        made.setdefault(finding.kind, set()).add(finding.tensor)
    return made


@EACH
def test_what_is_wrong_with_tensors(name: str) -> None:
    found, _ = judged(name)
    interleaved = "blk.0.attn_v.weight"  # Q5_0, whose lanes are not in order
    mixed = {"label": {"blk.0.ffn_down.weight"}, "values": {interleaved}} if name == "llama-mix" else {}
    assert kinds(found) == {"shape-not-reversed": OBLONG[name]} | mixed
    assert found.expected.keys() == found.elements.keys()
    for finding in found.findings:
        if finding.kind == "shape-not-reversed":
            differ = (name, finding.tensor) == ("llama-mix", interleaved)
            assert ("something else is wrong as well" in finding.detail) is differ
        assert finding.gate not in (CARD, NAME)


@EACH
def test_what_is_right_is_not_accused(name: str) -> None:
    found, _ = judged(name)
    accused = {finding.tensor for finding in found.findings}
    assert found.by_tensor.keys() == found.expected.keys() - accused
    expected = dict.fromkeys(found.by_tensor, "carried")
    if name == "llama-mix":
        expected |= {"blk.0.ffn_gate.weight": "decoded", "blk.0.attn_output.weight": "decoded"}
        types = {part: found.types[f"blk.0.{part}.weight"] for part in ("attn_q", "attn_output", "ffn_gate", "ffn_up")}
        assert types == {
            "attn_q": ("Q4_K", "Q4_K"),
            "attn_output": ("Q8_0", "F32"),
            "ffn_gate": ("Q4_0", "F32"),
            "ffn_up": ("F16", "F16"),
        }
    if name.endswith("q4km"):
        assert {found.types[tensor] for tensor in expected} >= {("Q4_K", "Q4_K"), ("Q6_K", "Q6_K")}
    assert found.by_tensor == expected
    assert len(expected) >= 7


@EACH
def test_a_shape_that_was_not_reversed_is_no_wrong_label(name: str) -> None:
    """Rows of Q4_K and Q6_K that are no whole blocks that way round: codes 12 and 14 are right."""
    found, _ = judged(name)
    for finding in found.findings:
        same = finding.source_type == finding.target_type
        assert same or (finding.source_type, finding.target_type) in {("Q8_0", "F32"), ("Q5_0", "F32"), ("Q5_K", "F32")}


@EACH
def test_what_is_wrong_with_the_words(name: str) -> None:
    """The sources have no scores and no chat template that could get lost."""
    _, asked = judged(name)
    assert asked.compared > 0
    said = sorted((finding.kind, finding.detail) for finding in asked.findings)
    assert [kind for kind, _ in said] == ["key-twice", "words-lost", "words-lost"]
    assert "9 numbers" in said[0][1]
    assert "'num_heads' and 'model.num_heads'" in said[0][1]
    assert [detail.split(":")[0] for _, detail in said[1:]] == ["pre-tokenizer", "token types"]


#: The causes of wrong tensors, and the tensors.
CAUSES = {name: {("shape-not-reversed",): OBLONG[name]} for name in FILES} | {
    "llama-mix": {
        ("shape-not-reversed",): {"token_embd.weight", "output.weight", "blk.0.attn_k.weight"},
        ("shape-not-reversed", "q5_0-interleaved"): {"blk.0.attn_v.weight"},
        ("raw-blocks-labelled-f32",): {"blk.0.ffn_down.weight"},
    }
}


@pytest.mark.parametrize(
    ("name", "whole"),
    # In parts is how large files are diagnosed: one of these in every run, and two whole ones.
    [
        pytest.param(
            name, 4 << 20, id=f"{name}-whole", marks=[] if name in ("llama-mix", "qwen2-q4km") else pytest.mark.slow
        )
        for name in FILES
    ]
    + [
        pytest.param(name, 0, id=f"{name}-in-parts", marks=[] if name == "llama-mix" else pytest.mark.slow)
        for name in FILES
    ],
)
def test_every_defect_has_its_name(name: str, whole: int) -> None:
    found = diagnose(*paths(name), whole=whole)
    assert all(one.known for one in found)
    assert {one.ids: set(one.tensors) for one in found if one.tensors} == CAUSES[name]
    assert {one.ids: len(one.facts) for one in found if one.facts} == {
        ("tokenizer-words-only",): 2,
        ("numbers-under-two-keys",): 1,
    }
    links = {cause.id: cause.link for one in found for cause in one.causes}
    assert links["shape-not-reversed"] == "https://github.com/paiml/aprender/issues/155"
    if name == "llama-mix":
        assert links["q5_0-interleaved"] == "https://github.com/paiml/aprender/pull/1621"
        assert links["raw-blocks-labelled-f32"] == "https://github.com/paiml/aprender/issues/177"
