"""What the judge once got wrong, each thing in the smallest file that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.gate.judge import values
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.view import look
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo.files import model, model_in


def findings(source: Path, target: Path) -> list[tuple[str, str]]:
    with look(source) as before, look(target) as after:
        asked = judge_metadata(before, after)
    assert asked.compared > 0
    return [(finding.kind, finding.detail) for finding in asked.findings]


@pytest.mark.parametrize(
    ("tied", "said", "expected"),
    # The last: transformers 5.24 ties no two matrices that differ (modeling_utils.py, tie_weights).
    [(True, True, None), (False, False, None), (True, False, "head-missing"), (False, True, None)],
)
def test_a_head_that_is_not_what_the_configuration_says(
    tied: bool, said: bool, expected: str | None, tmp_path: Path
) -> None:
    source = model_in("gguf", tied=tied)(tmp_path)
    convert(source, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["tie_word_embeddings"] is tied
    (tmp_path / "out/config.json").write_text(json.dumps(config | {"tie_word_embeddings": said}))
    assert [kind for kind, _ in findings(source, tmp_path / "out")] == ([expected] if expected else [])


def test_a_head_that_a_tied_directory_does_not_store_is_ignored(tmp_path: Path) -> None:
    source = model_in("gguf", tied=False)(tmp_path)
    convert(source, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    (tmp_path / "out/config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    file = tmp_path / "out/model.safetensors"
    with safetensors.read(file) as stored:
        kept = {name: tensor for name, tensor in stored.tensors.items() if name != "lm_head.weight"}
        safetensors.write(Archive("safetensors", dict(stored.metadata), kept), tmp_path / "less.safetensors")
    (tmp_path / "less.safetensors").replace(file)
    assert "head-ignored" in [kind for kind, _ in findings(source, tmp_path / "out")]


def test_an_architecture_that_nobody_here_knows_is_not_lost(tmp_path: Path) -> None:
    made = model("llama")
    keys = {key.replace("llama.", "gemma."): value for key, value in made.metadata.items()}
    keys["general.architecture"] = Value.scalar(Kind.STRING, "gemma")
    gguf.write(Archive("gguf", keys, made.tensors), tmp_path / "source.gguf")
    for architecture in ("gemma", "gemma2"):
        known = {"architecture": architecture, "model_type": architecture}
        apr.write(Archive("apr", known, made.tensors), tmp_path / f"{architecture}.apr")
    kinds = [
        {kind for kind, _ in findings(tmp_path / "source.gguf", tmp_path / f"{n}.apr")} for n in ("gemma", "gemma2")
    ]
    assert "architecture" not in kinds[0]
    assert "architecture" in kinds[1]


def test_tensors_that_are_no_model_need_no_configuration(tmp_path: Path) -> None:
    one = Tensor.of("a", TYPES["F32"], (2,), np.ones(2, np.float32))
    named = {"general.architecture": Value.scalar(Kind.STRING, "none")}
    gguf.write(Archive("gguf", named, {"a": one}), tmp_path / "source.gguf")
    convert(tmp_path / "source.gguf", tmp_path / "out.safetensors", keep_names=True)
    with look(tmp_path / "source.gguf") as before, look(tmp_path / "out.safetensors") as after:
        assert judge_metadata(before, after).findings == []


@pytest.mark.parametrize(("alias", "wrong"), [(None, False), ("model.num_heads", True), ("n_head", True)])
def test_a_number_that_stands_twice(alias: str | None, wrong: bool, tmp_path: Path) -> None:
    """In a file that somebody else wrote: an alias that is null counts, too."""
    source = model_in("gguf")(tmp_path)
    convert(source, tmp_path / "out.apr", extra_keys=False)
    with look(source) as before, look(tmp_path / "out.apr") as after:
        if alias is not None:
            after.archive.metadata[alias] = None
        found = [finding for finding in judge_metadata(before, after).findings if finding.kind == "key-twice"]
    assert [f"'num_heads' and '{alias}'" in finding.detail for finding in found] == ([True] if wrong else [])


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([1.0, 1.0, 0.0, 0.0], "truncated-and-flushed"),
        ([1.0, 1.0, 0.0, 6.0e-8], "values"),
        ([1.0009765625, 1.0, 0.0, 0.0], "values"),
    ],
)
def test_truncated_is_said_of_all_elements_or_not(found: list[float], kind: str) -> None:
    """Not of one that was cut among others that were rounded."""
    source = Tensor.of("a", TYPES["F32"], (4,), np.array([1.0009, 1.0008, 6.0e-5, 6.0e-8], np.float32))
    target = Tensor.of("a", TYPES["F16"], (4,), np.array(found, np.float16))
    assert values.judge(source, target).kind == kind
