"""Conversions that are wrong in one known way: `verify` finds each, and names the weight or the number that is to blame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Tensor
from rosetta_ref.compare import compare
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.inference import NumpyEngine
from rosetta_ref.verify import verify
from rosetta_ref.verify.prompts import DEFAULT
from tests.support import llama, tiny
from tests.support.damage import Tensors, edit_json, edit_weights, halves_to_pairs, pairs_to_halves

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
TOKENIZER = GOLDEN / "llama-smollm-tied" / "auto.gguf"
#: Two prompts, and few tokens of an answer: damage of a weight is in every logit. Of all prompts asks the first test.
FEW = {"prompts": ["Name three rivers, 12 x 12 and naïve “quotes”."], "count": 4}
ATTENTION = "model.layers.{}.self_attn.{}_proj.weight"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """By architecture: a GGUF file, and the directory that is rightly made of it."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name in ("llama", "qwen2"):
        source = tiny.build(
            folder / f"{name}.gguf", name, TOKENIZER, bias=True, floats={"rope.freq_base": 50000.0}, seed=7
        )
        convert(source, folder / name, dtype="f32", keep_blocks=False, extra_keys=False)
        made[name] = source, folder / name
    return made


def copied(models: dict[str, tuple[Path, Path]], name: str, folder: Path) -> tuple[Path, Path]:
    source, right = models[name]
    shutil.copytree(right, folder / "hf")
    return source, folder / "hf"


def test_the_right_conversion_is_the_same(models: dict[str, tuple[Path, Path]]) -> None:
    for source, right in models.values():
        report = verify(source, right)
        assert report.same, report.failures
        assert report.claim == "lossless"
        assert report.blame is None
        assert report.counts["prompts"] == report.counts["answers"] == 7
        assert report.counts["positions"] > 700
        assert report.counts["logits"] == report.counts["positions"] * 320


# --- weights


def _k_by_query_heads(tensors: Tensors) -> None:
    for layer in range(tiny.LAYERS):
        name = ATTENTION.format(layer, "k")
        tensors[name] = pairs_to_halves(halves_to_pairs(tensors[name], tiny.KV_HEADS), tiny.HEADS)


def _rows_as_in_gguf(tensors: Tensors) -> None:
    for layer in range(tiny.LAYERS):
        for part, heads in (("q", tiny.HEADS), ("k", tiny.KV_HEADS)):
            name = ATTENTION.format(layer, part)
            tensors[name] = halves_to_pairs(tensors[name], heads)


def _bias_dropped(tensors: Tensors) -> None:
    del tensors["model.layers.1.self_attn.q_proj.bias"]


def _gate_and_up_exchanged(tensors: Tensors) -> None:
    gate, up = (f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up"))
    tensors[gate], tensors[up] = tensors[up], tensors[gate]


def _head_random(tensors: Tensors) -> None:
    embedding = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = np.random.default_rng(0).permutation(embedding)


def _layers_exchanged(tensors: Tensors) -> None:
    a, b = (f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1))
    tensors[a], tensors[b] = tensors[b], tensors[a]


def _nan(tensors: Tensors) -> None:
    tensors["model.layers.0.mlp.down_proj.weight"][3, 4] = np.nan


def _norm_plus_one(tensors: Tensors) -> None:
    tensors["model.layers.1.input_layernorm.weight"] += tensors["model.layers.1.input_layernorm.weight"].dtype.type(1)


#: architecture, edit, the roles of which one must be named first, the kinds of failure that must be among those found.
WEIGHTS: dict[str, tuple[str, Callable[[Tensors], None], set[str], set[str]]] = {
    "k heads permuted by the query's head count": (
        "llama", _k_by_query_heads, {"blk.0.attn_k.weight", "blk.1.attn_k.weight"}, {"logits"},
    ),
    "rope pairing swapped": (
        "llama", _rows_as_in_gguf, {f"blk.{i}.attn_{p}.weight" for i in (0, 1) for p in "qk"}, {"logits"},
    ),
    "bias dropped": ("qwen2", _bias_dropped, {"blk.1.attn_q.bias"}, {"logits"}),
    "gate and up exchanged": (
        "llama", _gate_and_up_exchanged, {"blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"}, {"logits"},
    ),
    "tied head random": ("llama", _head_random, {"output.weight"}, {"logits", "top1", "text"}),
    "layers exchanged": ("qwen2", _layers_exchanged, {"blk.0.ffn_down.weight", "blk.1.ffn_down.weight"}, {"logits"}),
    "one NaN": ("llama", _nan, {"blk.0.ffn_down.weight"}, {"nan"}),
    "norm plus one": ("qwen2", _norm_plus_one, {"blk.1.attn_norm.weight"}, {"logits"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_wrong_weight_is_named(name: str, models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    architecture, edit, blamed, kinds = WEIGHTS[name]
    source, target = copied(models, architecture, tmp_path)
    edit_weights(target, edit)
    if "lm_head" in (target / "model.safetensors").read_bytes()[:10000].decode("latin-1"):
        edit_json(target / "config.json", lambda config: config.update(tie_word_embeddings=False))
    report = verify(source, target, **FEW)
    assert not report.same
    assert kinds <= {failure.kind for failure in report.failures}
    assert report.blame is not None
    assert report.blame.suspects[0].role in blamed
    assert {suspect.role for suspect in report.blame.suspects} == blamed
    assert report.blame.together is not None
    assert report.blame.together > 0.999999
    if len(blamed) == 1:
        assert str(report.blame.suspects[0]).endswith("alone explains 100.0 % of the difference")


@pytest.mark.parametrize("target", ["m.apr", "copy.gguf"])
def test_one_block_with_its_scale_doubled(target: str, tmp_path: Path) -> None:
    tiny.build(tmp_path / "m.gguf", "llama", TOKENIZER, tied=False, seed=3)
    source, broken = tmp_path / "q8_0.gguf", tmp_path / target
    llama.quantize(tmp_path / "m.gguf", source, "Q8_0")
    if target == "m.apr":
        convert(source, tmp_path / "right.apr")
    module, right = (apr, tmp_path / "right.apr") if target == "m.apr" else (gguf, source)
    with module.read(right) as archive:
        stored = archive.tensors["blk.1.ffn_up.weight"]
        kind = stored.type
        blocks = kind.blocks(stored.data).copy()
        blocks["d"][17] *= 2
        tensors = archive.tensors | {stored.name: Tensor.of(stored.name, kind, stored.shape, blocks)}
        module.write(replace(archive, tensors=tensors, parts=()), broken)
    report = verify(source, broken)
    assert {failure.kind for failure in report.failures} >= {"logits"}
    assert report.blame is not None
    assert report.blame.first == "blk.1.ffn_up"
    assert [suspect.role for suspect in report.blame.suspects] == ["blk.1.ffn_up.weight"]
    assert report.blame.together == 1.0


# --- numbers


def _epsilon(config: dict) -> None:
    assert config["rms_norm_eps"] == 1e-6
    config["rms_norm_eps"] = 1e-5


def _no_theta(config: dict) -> None:
    for place in (config, config["rope_parameters"]):
        assert place.pop("rope_theta") == 50000.0


def _linear(config: dict) -> None:
    config["rope_parameters"] |= {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(("edit", "number"), [(_epsilon, "epsilon"), (_no_theta, "theta"), (_linear, "scaling")])
def test_a_wrong_number_is_named(
    edit: Callable[[dict], None], number: str, models: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    source, target = copied(models, "llama", tmp_path)
    edit_json(target / "config.json", edit)
    report = verify(source, target, **FEW)
    assert {"numbers", "logits"} <= {failure.kind for failure in report.failures}
    assert report.blame is not None
    assert report.blame.suspects[0].role == number
    assert report.blame.suspects[0].explains is not None
    assert report.blame.suspects[0].explains > 0.999999


def test_layers_that_are_not_there(models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    source, target = copied(models, "llama", tmp_path)
    edit_json(target / "config.json", lambda config: config.update(num_hidden_layers=1))
    edit_weights(target, lambda t: [t.pop(name) for name in list(t) if ".layers.1." in name])
    report = verify(source, target, **FEW)
    assert "numbers" in {failure.kind for failure in report.failures}
    assert report.blame is not None
    assert report.blame.lines()[-1] == "layers: 2 became 1"


def test_apr_with_another_row_order(models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    """rope_type says how rows stand: a file that says halves of rows that are pairs computes another model."""
    source, _ = models["llama"]
    convert(source, tmp_path / "right.apr")
    with apr.read(tmp_path / "right.apr") as archive:
        assert archive.metadata["rope_type"] == 0
        apr.write(replace(archive, metadata=archive.metadata | {"rope_type": 2}, parts=()), tmp_path / "m.apr")
    report = verify(source, tmp_path / "m.apr")
    assert "logits" in {failure.kind for failure in report.failures}
    assert report.blame is not None
    assert {suspect.role.split(".")[2] for suspect in report.blame.suspects} == {"attn_q", "attn_k"}
    assert verify(source, tmp_path / "right.apr").same


# --- words


def _exchange(tokenizer: dict) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.get)[-2:]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def _lose_a_merge(tokenizer: dict) -> None:
    del tokenizer["model"]["merges"][-1]


@pytest.mark.parametrize(
    ("edit", "kinds"), [(_exchange, {"vocabulary", "tokens"}), (_lose_a_merge, {"tokens"})], ids=["exchange", "merge"]
)
def test_a_wrong_tokenizer_is_found(
    edit: Callable[[dict], None], kinds: set[str], models: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    source, target = copied(models, "qwen2", tmp_path)
    edit_json(target / "tokenizer.json", edit)
    report = verify(source, target, **FEW)
    assert kinds <= {failure.kind for failure in report.failures}
    assert "logits" not in {failure.kind for failure in report.failures}, "the same tokens give the same logits"


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_a_lost_file_is_found(name: str, tmp_path: Path) -> None:
    source = GOLDEN / "llama-yarn" / "auto.gguf"
    convert(source, tmp_path / "hf", keep_blocks=False)
    edit_json(tmp_path / "hf" / "tokenizer_config.json", lambda config: config.pop("chat_template", None))
    (tmp_path / "hf" / name).unlink(missing_ok=True)
    report = verify(source, tmp_path / "hf", **FEW)
    assert {failure.kind for failure in report.failures} >= {"vocabulary"}


# --- what inference cannot see


def unread(path: Path) -> int:
    """A token that no prompt has, nor any answer."""
    with NumpyEngine(path, precise=True) as engine:
        prompts = [prompt.ids(engine) for prompt in DEFAULT]
        answers = engine.generate(prompts, 32)
    return min(set(range(320)) - {token for row in prompts + answers for token in row})


def test_inference_does_not_see_what_no_prompt_reads(models: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    """A row of an embedding that is not tied, of a token that is not asked for: only the tensor gates see it."""
    source = tiny.build(tmp_path / "m.gguf", "llama", TOKENIZER, tied=False, seed=7)
    convert(source, tmp_path / "right", dtype="f32", keep_blocks=False)
    shutil.copytree(tmp_path / "right", tmp_path / "hf")
    token = unread(source)
    edit_weights(tmp_path / "hf", lambda tensors: tensors["model.embed_tokens.weight"][token].fill(1e9))
    edit_json(tmp_path / "hf" / "generation_config.json", lambda config: config.update(temperature=3.0))
    assert verify(source, tmp_path / "hf", **FEW).same
    with safetensors.read(tmp_path / "right") as a, safetensors.read(tmp_path / "hf") as b:
        (found,) = compare(a, b).differences
    assert found.tensor == "model.embed_tokens.weight"
    assert found.index == (token, 0)
    assert json.loads((tmp_path / "hf" / "generation_config.json").read_text())["temperature"] == 3.0
