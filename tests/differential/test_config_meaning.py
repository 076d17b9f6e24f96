"""What config.json and GGUF's keys mean, by two outside judges: llama.cpp for GGUF, a float64 forward pass for a directory.

A directory that is converted computes the same on both sides; a file that llama.cpp takes means the same as a directory; and what
llama.cpp does not load is refused here by name, not converted.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import rosetta_ref
from rosetta_ref import RosettaError
from tests.support import llama, tiny
from tests.support.forward import Directory

TOKENIZER = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf" / "llama-smollm-tied" / "auto.gguf"
TOKENS = [1, 5, 9, 33, 2, 60, 7, 48, 10, 41, 45, 46, 47, 48, 49, 50] * 3
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 10000.0}
DIRECTORIES: dict[str, dict[str, Any]] = {
    "plain": LLAMA,
    "swish": LLAMA | {"hidden_act": "swish"},
    "hidden size that is no whole number of heads": LLAMA | {"num_attention_heads": 6, "head_dim": 16},
    "as many key heads as query heads": LLAMA | {"num_key_value_heads": None},
    "theta outside": LLAMA | {"rope_theta": 500.0},
    "theta inside": LLAMA | {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
    "linear": LLAMA | {"rope_scaling": {"type": "linear", "factor": 3}},
    "linear in qwen2": QWEN2 | {"rope_scaling": {"type": "linear", "factor": 3}},
    "said twice": LLAMA | {"rope_scaling": {"type": "linear", "factor": 3}, "rope_parameters": {"rope_type": "linear", "factor": 3.0}},
    "yarn": LLAMA | {"rope_parameters": YARN | {"original_max_position_embeddings": 32}},
    "yarn, original length outside": LLAMA | {"rope_parameters": YARN, "original_max_position_embeddings": 32},
    "yarn without an original length": LLAMA | {"rope_parameters": YARN, "max_position_embeddings": 64},
    "yarn with what is neutral": LLAMA | {"rope_parameters": YARN | {
        "original_max_position_embeddings": 32, "mscale": 1.0, "mscale_all_dim": 0, "truncate": True, "attention_factor": None,
        "partial_rotary_factor": 1.0, "finetuned": True,
    }},
    "yarn in qwen2": QWEN2 | {"rope_scaling": YARN | {"original_max_position_embeddings": 32}, "rope_theta": 10000.0},
    "llama3": LLAMA | {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 64}},
    "llama3, original length outside": LLAMA | {"rope_parameters": LLAMA3, "original_max_position_embeddings": 64},
}  # fmt: skip


def directory(folder: Path, said: dict[str, Any]) -> Path:
    """A random model of two layers without a tokenizer, as config.json says it."""
    config = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": "silu",
        "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "vocab_size": 64,
        "tie_word_embeddings": False,
    } | said  # fmt: skip
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or 64 // heads
    groups = config["num_key_value_heads"] or heads
    random = np.random.default_rng(7)
    tensors: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int) -> None:
        values = random.standard_normal(shape, np.float32)
        tensors[name] = 1 + values / 8 if len(shape) == 1 else values / np.float32(math.sqrt(shape[-1]))

    add("model.embed_tokens.weight", 64, 64)
    add("lm_head.weight", 64, 64)
    add("model.norm.weight", 64)
    for layer in range(2):
        name = f"model.layers.{layer}"
        for part, rows in (("q", heads * size), ("k", groups * size), ("v", groups * size)):
            add(f"{name}.self_attn.{part}_proj.weight", rows, 64)
            if said["model_type"] == "qwen2":
                add(f"{name}.self_attn.{part}_proj.bias", rows)
        add(f"{name}.self_attn.o_proj.weight", 64, heads * size)
        add(f"{name}.mlp.gate_proj.weight", 96, 64)
        add(f"{name}.mlp.up_proj.weight", 96, 64)
        add(f"{name}.mlp.down_proj.weight", 64, 96)
        add(f"{name}.input_layernorm.weight", 64)
        add(f"{name}.post_attention_layernorm.weight", 64)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def assert_same_logits(*, found: np.ndarray, expected: np.ndarray) -> None:
    __tracebackhide__ = True
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("what", DIRECTORIES)
def test_a_directory_means_the_same_to_llama_cpp(what: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", DIRECTORIES[what])
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert_same_logits(found=llama.logits(tmp_path / "m.gguf", TOKENS), expected=Directory(source).logits(TOKENS))
    # and the way back, without what was remembered of the directory
    rosetta_ref.convert(source, tmp_path / "plain.gguf", extra_keys=False)
    rosetta_ref.convert(tmp_path / "plain.gguf", tmp_path / "back", keep_blocks=False)
    assert_same_logits(found=Directory(tmp_path / "back").logits(TOKENS), expected=Directory(source).logits(TOKENS))


def test_the_scalings_differ(tmp_path: Path) -> None:
    """That the cases above mean different things, so that one cannot pass for another."""
    kinds = ("plain", "linear", "yarn", "yarn without an original length", "llama3", "theta outside")
    found = [Directory(directory(tmp_path / kind, DIRECTORIES[kind])).logits(TOKENS) for kind in kinds]
    for i, one in enumerate(found):
        assert all(np.abs(one - other).max() > 1e-2 for other in found[:i])


FILES: dict[str, dict[str, Any]] = {
    "a factor without a type": {"floats": {"rope.scaling.factor": 4.0}},
    "the key of old files": {"floats": {"rope.scale_linear": 4.0}},
    "both keys": {"floats": {"rope.scaling.factor": 4.0, "rope.scale_linear": 2.0}},
    "linear by the key of old files": {"strings": {"rope.scaling.type": "linear"}, "floats": {"rope.scale_linear": 4.0}},
    "type none": {"strings": {"rope.scaling.type": "none"}, "floats": {"rope.scaling.factor": 4.0}},
    "linear by 0": {"strings": {"rope.scaling.type": "linear"}, "floats": {"rope.scaling.factor": 0.0}},
    "yarn without an original length": {"strings": {"rope.scaling.type": "yarn"}, "floats": {"rope.scaling.factor": 4.0}},
    "yarn with an original length of 0": {
        "strings": {"rope.scaling.type": "yarn"}, "floats": {"rope.scaling.factor": 4.0},
        "ints": {"rope.scaling.original_context_length": 0},
    },
    "yarn without a factor": {"strings": {"rope.scaling.type": "yarn"}},
    "yarn with an original length": {
        "strings": {"rope.scaling.type": "yarn"}, "floats": {"rope.scaling.factor": 4.0, "rope.scaling.attn_factor": 1.0},
        "ints": {"rope.scaling.original_context_length": 64},
    },
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_file_means_the_same_as_the_directory_made_of_it(what: str, tmp_path: Path) -> None:
    source = tiny.build(tmp_path / "m.gguf", "llama", TOKENIZER, **FILES[what])
    rosetta_ref.convert(source, tmp_path / "hf", keep_blocks=False, dtype="f32")
    llama.quantize(source, tmp_path / "f32.gguf", "F32")  # with BF16 weights llama.cpp rounds activations too
    expected = llama.logits(tmp_path / "f32.gguf", TOKENS * 2)
    assert_same_logits(found=Directory(tmp_path / "hf").logits(TOKENS * 2), expected=expected)


NOT_LOADED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a part of a head is turned": ("llama", "PartialRotaryError", {"ints": {"rope.dimension_count": 8}}),
    "longer heads of v": (
        "llama", "ValueLengthError", {"ints": {"attention.key_length": 16, "attention.value_length": 32}},
    ),
    "longer heads of k": ("llama", "ValueLengthError", {"ints": {"attention.key_length": 32}}),
    "factors that qwen2 has no tensor for": ("qwen2", "UnmappedTensorError", {"bias": True, "rope_freqs": np.ones(8)}),
    "too few factors": ("llama", "RopeFactorValuesError", {"rope_freqs": np.ones(7)}),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_LOADED)
def test_what_llama_cpp_does_not_load_is_refused_by_name(what: str, tmp_path: Path) -> None:
    architecture, name, changes = NOT_LOADED[what]
    source = tiny.build(tmp_path / "m.gguf", architecture, TOKENIZER, **changes)
    with pytest.raises(llama.LlamaError):
        llama.Model(source)
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(source, tmp_path / "hf")
    assert type(caught.value).__name__ == name
    assert not (tmp_path / "hf").exists()


def test_a_factor_that_only_llama_cpp_knows_is_refused(tmp_path: Path) -> None:
    plain = tiny.build(tmp_path / "plain.gguf", "llama", TOKENIZER)
    source = tiny.build(tmp_path / "m.gguf", "llama", TOKENIZER, floats={"rope.scaling.attn_factor": 1.25})
    assert np.abs(llama.logits(source, TOKENS) - llama.logits(plain, TOKENS)).max() > 1e-2  # it does change the model
    with pytest.raises(RosettaError, match=r"rope\.scaling\.attn_factor"):
        rosetta_ref.convert(source, tmp_path / "hf")


def test_factors_and_a_scaling_at_once_are_refused(tmp_path: Path) -> None:
    freqs = np.array([1, 1, 1, 8, 8, 8, 8, 8], np.float32)
    both = tiny.build(tmp_path / "m.gguf", "llama", TOKENIZER, rope_freqs=freqs, floats={"rope.scaling.factor": 2.0})
    one = tiny.build(tmp_path / "one.gguf", "llama", TOKENIZER, rope_freqs=freqs)
    assert np.abs(llama.logits(both, TOKENS) - llama.logits(one, TOKENS)).max() > 1e-2
    with pytest.raises(RosettaError, match="linear scaling by 2"):
        rosetta_ref.convert(both, tmp_path / "hf")
