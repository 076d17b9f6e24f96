"""Models of every architecture become smaller by their records: sizes are read, cut and stated, and llama.cpp loads what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.judge.view import look
from rosetta_ref.reduce.passes.resize import resize
from rosetta_ref.reduce.search.input import read
from rosetta_ref.reduce.search.input import write as write_given
from rosetta_ref.reduce.search.sizes import Sizes, config_of, model_of, place_of, sizes_of
from tests.support.llama import Model

OLD = Sizes(layers=2, tokens=0, width=96, inner=160, heads=8, groups=2, head=16)
NEW = Sizes(layers=1, tokens=0, width=48, inner=32, heads=4, groups=1, head=16)


@pytest.mark.parametrize("face", ["gguf", "safetensors", "apr"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_cut(name: str, face: str, tmp_path: Path) -> None:
    free = bool(MODELS[name].head_keys)
    old, new = (OLD, NEW) if free else (replace(OLD, width=128), replace(NEW, width=64))
    spec = Spec(name, 8, 2, 16, 160, stream=96 if free else 0, tied=True)
    sample = build("m", spec, [("F32", "index-coded")], 0)
    given = read(write.write(sample, face, tmp_path / "given"))
    assert model_of(given).name == name
    tokens = len(sample.model.metadata["tokenizer.ggml.tokens"].data)
    assert sizes_of(given) == replace(old, tokens=tokens)
    made = resize(given, replace(old, tokens=tokens), replace(new, tokens=tokens))
    assert sizes_of(made) == replace(new, tokens=tokens)
    for tensor in made.tensors.values():
        place = place_of(tensor, MODELS[name])
        assert place is not None
        assert tensor.shape == replace(new, tokens=tokens).shape(place.letters)
    assert len(made.tensors) == 1 + 1 + sum(1 + (role.biased == "always") for role in MODELS[name].layer)
    path = write_given(made, tmp_path / "made")
    with look(path) as view:
        stated = {row.gguf: value for row, value in view.numbers.items()}
    wanted = {"block_count": 1, "embedding_length": new.width, "attention.head_count": 4, "feed_forward_length": 32}
    assert wanted.items() <= stated.items()
    assert stated.get("attention.key_length", 16) == 16
    if face == "gguf":
        with Model(path) as model:
            assert model.vocab_size == tokens


def test_what_is_computed_from_sizes_follows_them(tmp_path: Path) -> None:
    """Of gemma3 the kinds of the layers, and what attention is scaled by."""
    sample = build("m", Spec("gemma3", 8, 2, 16, 160, layers=12, stream=96, tied=True), [("F32", "index-coded")], 0)
    given = read(write.write(sample, "safetensors", tmp_path))
    config, old = config_of(given), sizes_of(given)
    assert [place for place, kind in enumerate(config["layer_types"]) if kind == "full_attention"] == [5, 11]
    assert config["query_pre_attn_scalar"] == 16
    assert old is not None
    config = config_of(resize(given, old, replace(old, layers=6, head=8)))
    assert [place for place, kind in enumerate(config["layer_types"]) if kind == "full_attention"] == [5]
    assert (config["num_hidden_layers"], config["head_dim"], config["query_pre_attn_scalar"]) == (6, 8, 8)
