"""What the gate asks of numbers and words, where a member of the zoo has once survived; and what it asks of nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.gate.converter.entry import REFUSED, Entry, Run
from rosetta_ref.gate.findings import FALSIFIED, SKIPPED
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.metadata import compare_keys, judge_metadata
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.malformed.apr import Apr
from rosetta_ref.gate.malformed.broken import edited
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.gate.run.answers import Answers
from rosetta_ref.gate.run.plan import plan
from rosetta_ref.gate.run.session import Session
from rosetta_ref.gate.run.workspace import Workspace


def named(name: str) -> Sample:
    return next(sample for sample in default_samples.default(0) if sample.name == name)


@pytest.fixture(scope="module")
def tied() -> Sample:
    return named("llama-f32-tied")


def kinds(source: Path, target: Path) -> list[str]:
    with look(source) as one, look(target) as other:
        asked = judge_metadata(one, other)
        assert asked.compared
        return [finding.kind for finding in asked.findings]


def changed(path: Path, **keys: Any) -> Path:
    """An APR file with more metadata than a careful writer would write."""
    file = Apr.of(path.read_bytes())
    text = json.dumps(json.loads(file.data[slice(*file.metadata)]) | keys).encode()
    target = path.with_name("changed.apr")
    target.write_bytes(edited(file.data, file.sealed(file.with_metadata(text))))
    return target


@pytest.mark.parametrize("key", [{"hidden_dim": 64}, {"num_hidden_layers": 2}, {"n_head": 8}])
def test_a_key_beside_its_alias_is_a_key_that_stands_twice(key: dict[str, int], tied: Sample, tmp_path: Path) -> None:
    source, target = write.write(tied, "gguf", tmp_path / "gguf"), write.write(tied, "apr", tmp_path / "apr")
    assert kinds(source, target) == []
    assert kinds(source, changed(target, **key)) == ["key-twice"]


@pytest.mark.parametrize(("stated", "found"), [(True, []), (False, ["head-missing"]), (None, ["head-missing"])])
def test_a_head_of_its_own_has_to_be_there(stated: bool | None, found: list[str], tied: Sample, tmp_path: Path) -> None:
    """Where config.json says nothing, a llama has a head of its own (LlamaConfig.tie_word_embeddings of transformers 5.24)."""
    source, target = write.write(tied, "gguf", tmp_path / "gguf"), write.write(tied, "safetensors", tmp_path / "hf")
    config = json.loads((target / "config.json").read_text())
    config["tie_word_embeddings"] = stated
    (target / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    assert kinds(source, target) == found


def test_where_the_head_is_there_nobody_asks(tmp_path: Path) -> None:
    untied = named("llama-f16-scores")
    source, target = write.write(untied, "gguf", tmp_path / "gguf"), write.write(untied, "safetensors", tmp_path / "hf")
    assert json.loads((target / "config.json").read_text())["tie_word_embeddings"] is False
    assert kinds(source, target) == []


def test_how_rows_stand_is_no_key_to_compare(tmp_path: Path) -> None:
    """The rows themselves are judged, by what the number says of them."""
    halves = named("apr-halves")
    paths = [
        write.write(one, "apr", tmp_path / str(n))
        for n, one in enumerate((halves, replace(halves, halves_in_apr=False)))
    ]
    with look(paths[0]) as one, look(paths[1]) as other:
        assert (one.archive.metadata["rope_type"], other.archive.metadata["rope_type"]) == (2, 0)
        assert compare_keys(one, other).findings == []


class Refuses:
    """A converter that claims all, and refuses all."""

    entry = Entry("refuses", pairs=PAIRS, architectures=("llama",))

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        return Run(REFUSED, 1, stderr="it is big-endian")


def test_a_big_endian_file_may_be_refused(tmp_path: Path) -> None:
    big, little = named("big-endian"), named("apr-halves")
    with Workspace(tmp_path) as work:
        answers = Answers(Session(Refuses(), {"big-endian": big, "apr-halves": little}, work))
        for sample, outcome in ((big, SKIPPED), (little, FALSIFIED)):
            found = [answers.answer(case) for case in plan(Refuses.entry, [sample])]
            assert {result.outcome for result in found} == {outcome}
            assert all("it is big-endian" in result.reason for result in found)
