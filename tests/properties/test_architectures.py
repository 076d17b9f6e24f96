"""Laws of names, numbers, heads and types between the formats: what is refused, by which name, and what comes back."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.architectures.config import metadata_of_config, text_config
from rosetta_ref.architectures.heads import permuted
from rosetta_ref.architectures.names import ARCHITECTURES, architecture_of_config
from rosetta_ref.architectures.rotary import rope_of
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import apr, gguf
from rosetta_ref.quant import TYPES
from rosetta_ref.recode import encoded

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"


def refused(source: Path, target: Path, **options: Any) -> RosettaError:
    """Converting is refused, and leaves nothing."""
    __tracebackhide__ = True
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(source, target, **options)
    assert not target.exists()
    return caught.value


def changed(folder: Path, name: str, changes: dict[str, Any]) -> Path:
    """A golden directory whose config.json says something else; a key of `...` is taken out."""
    copy = Path(shutil.copytree(GOLDEN / name / "hf", folder / "hf"))
    config = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return copy


# --- config.json

WHOLE = (
    "num_hidden_layers", "max_position_embeddings", "hidden_size", "intermediate_size", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size",
)  # fmt: skip
NOT_WHOLE = [True, 4.5, 64.0, "64", -8, 0, 2**32, 10**40, [64], {"a": 64}, math.nan, math.inf]
NOT_REAL = [True, "1e-5", -1.0, math.nan, math.inf, 10**400, 1e300, 1e-320, [1.0], {}]


@pytest.mark.parametrize("key", WHOLE)
def test_a_size_is_a_whole_number(key: str, tmp_path: Path) -> None:
    for i, value in enumerate(NOT_WHOLE):
        error = refused(changed(tmp_path / str(i), "llama-spm", {key: value}), tmp_path / "m.gguf")
        assert (type(error).__name__, error.file) == ("WholeNumberError", "config.json")
        assert f"{key} is " in error.problem


@pytest.mark.parametrize("key", ["rms_norm_eps", "rope_theta", "partial_rotary_factor"])
def test_a_real_number_is_one(key: str, tmp_path: Path) -> None:
    for i, value in enumerate(NOT_REAL):
        error = refused(changed(tmp_path / str(i), "llama-spm", {key: value}), tmp_path / "m.gguf")
        assert (type(error).__name__, error.file) == ("RealNumberError", "config.json")
        assert f"{key} is " in error.problem


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
ROPE: dict[str, tuple[str, str, Any]] = {
    "no object": ("RopeObjectError", "rope_parameters", "yarn"),
    "parameters by layer": ("PerLayerRopeError", "full_attention", {"full_attention": YARN, "sliding_attention": YARN}),
    "unknown kind": ("UnknownRopeError", "dynamic", {"rope_type": "dynamic", "factor": 2.0}),
    "kind that is no text": ("UnknownRopeError", "rope_type", {"rope_type": ["yarn"]}),
    "factor without a kind": ("RopeParameterError", "factor is 2.0", {"factor": 2.0}),
    "linear without a factor": ("MissingRopeParameterError", "factor", {"type": "linear"}),
    "yarn without a factor": ("MissingRopeParameterError", "factor", YARN | {"factor": None}),
    "llama3 without a band": ("MissingRopeParameterError", "low_freq_factor", LLAMA3 | {"low_freq_factor": None}),
    "llama3 with a band of nothing": ("RopeBandError", "low_freq_factor", LLAMA3 | {"low_freq_factor": 4}),
    "factor that is a text": ("RealNumberError", "factor", YARN | {"factor": "4.0"}),
    "factor 0": ("RealNumberError", "factor", YARN | {"factor": 0}),
    "original length that is a float": ("WholeNumberError", "original", YARN | {"original_max_position_embeddings": 4.5}),
    "mscale": ("RopeParameterError", "mscale", YARN | {"mscale": 0.707}),
    "mscale_all_dim": ("RopeParameterError", "mscale_all_dim", YARN | {"mscale_all_dim": 1.0}),
    "truncate": ("RopeParameterError", "truncate", YARN | {"truncate": False}),
    "unknown parameter": ("RopeParameterError", "mrope_section", {"rope_type": "default", "mrope_section": [2, 1, 1]}),
    "two spellings that differ": ("RopeConflictError", "attention_factor", YARN | {"attention_factor": 1.5, "attn_factor": 2}),
    "partial": ("PartialRotaryError", "0.5", {"rope_type": "default", "partial_rotary_factor": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("what", ROPE)
def test_a_rope_that_gguf_cannot_say_is_refused(what: str, tmp_path: Path) -> None:
    name, word, rope = ROPE[what]
    error = refused(changed(tmp_path, "llama-yarn", {"rope_parameters": rope}), tmp_path / "m.gguf")
    assert (type(error).__name__, error.file) == (name, "config.json")
    assert word in error.problem


CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "activation": ("ActivationError", "llama-spm", {"hidden_act": "gelu"}),
    "partial rotary": ("PartialRotaryError", "llama-spm", {"partial_rotary_factor": 0.25}),
    "flag": ("FlagError", "llama-spm", {"tie_word_embeddings": "false"}),
    "theta said twice": ("RopeConflictError", "llama-spm", {"rope_theta": 500.0}),
    "scaling said twice": ("RopeConflictError", "llama-spm", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    "heads that do not split the hidden size": (
        "UnevenHeadsError", "llama-spm", {"num_attention_heads": 6, "head_dim": None},
    ),
    "groups of unequal size": ("UnevenGroupsError", "llama-spm", {"num_key_value_heads": 3}),
    "heads of odd size": ("OddHeadError", "llama-spm", {"head_dim": 7}),
    "key heads that divide the rows": ("TensorRowsError", "llama-spm", {"num_key_value_heads": 4}),
    "query heads that divide the rows": ("TensorRowsError", "llama-spm", {"num_attention_heads": 4}),
    "feed-forward size": ("TensorRowsError", "llama-spm", {"intermediate_size": 64}),
    "a layer too few": ("LayerCountError", "qwen2-tied-sharded", {"num_hidden_layers": 1}),
    "a layer too many": ("LayerCountError", "qwen2-tied-sharded", {"num_hidden_layers": 3}),
    "llama3 in qwen2": ("UnknownRopeError", "qwen2-tied-sharded", {"rope_parameters": LLAMA3}),
    "a number is missing": ("ConfigError", "llama-spm", {"intermediate_size": ...}),
    "id that is a text": ("ConfigTokenIdError", "llama-spm", {"eos_token_id": "2"}),
    "architectures": ("UnknownArchitectureError", "llama-spm", {"architectures": "LlamaForCausalLM"}),
}  # fmt: skip


@pytest.mark.parametrize("what", CONFIGS)
def test_a_configuration_of_another_model_is_refused(what: str, tmp_path: Path) -> None:
    name, directory, changes = CONFIGS[what]
    error = refused(changed(tmp_path, directory, changes), tmp_path / "m.gguf")
    assert type(error).__name__ == name
    assert error.file is not None


def test_what_only_looks_odd_is_converted(tmp_path: Path) -> None:
    neutral = {
        "rope_theta": None, "rope_scaling": {}, "partial_rotary_factor": 1, "hidden_act": "swish", "eos_token_id": [2, 3],
        "pad_token_id": -1, "rms_norm_eps": 0, "vocab_size": None, "head_dim": None,
    }  # fmt: skip
    rosetta_ref.convert(changed(tmp_path, "llama-spm", neutral), tmp_path / "m.gguf")


GROUPS: dict[str, tuple[dict[str, Any], int]] = {
    "llama": ({"architectures": ["LlamaForCausalLM"]}, 64),
    "mistral": ({"architectures": ["MistralForCausalLM"]}, 8),
    "mistral by its type": ({"model_type": "mistral"}, 8),
    "mistral, null": ({"architectures": ["MistralForCausalLM"], "num_key_value_heads": None}, 64),
    "qwen2": ({"architectures": ["Qwen2ForCausalLM"]}, 32),
    "qwen2, null": ({"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": None}, 64),
    "qwen3": ({"architectures": ["Qwen3ForCausalLM"]}, 32),
    "gemma3": ({"architectures": ["Gemma3ForCausalLM"], "query_pre_attn_scalar": 128, "head_dim": 128}, 4),
}  # fmt: skip


@pytest.mark.parametrize("what", GROUPS)
def test_heads_of_k_are_those_of_the_class_where_nobody_says(what: str) -> None:
    """What the configuration classes of transformers take for num_key_value_heads."""
    said, expected = GROUPS[what]
    sizes = {"num_hidden_layers": 1, "max_position_embeddings": 8, "hidden_size": 64, "intermediate_size": 8}
    config = {**sizes, "num_attention_heads": 64, "head_dim": 128, **said}
    model = architecture_of_config(config)
    config = text_config(config, model)
    made = metadata_of_config(config, model, rope_of(config, model))
    assert made[f"{model.name}.attention.head_count_kv"].plain() == expected


@pytest.mark.parametrize(
    ("said", "key"),
    [("extrapolation_factor", "ext"), ("ext_factor", "ext"), ("attention_factor", "attn"), ("attn_factor", "attn")],
)
def test_yarn_parameters_have_keys(said: str, key: str, tmp_path: Path) -> None:
    source = changed(tmp_path, "llama-yarn", {"rope_parameters": YARN | {said: 0.5, "beta_fast": 16, "beta_slow": 2.0}})
    rosetta_ref.convert(source, tmp_path / "m.gguf", extra_keys=False)
    with gguf.read(tmp_path / "m.gguf") as archive:
        found = {name: value.plain() for name, value in archive.metadata.items() if "rope.scaling.yarn" in name}
    prefix = "llama.rope.scaling.yarn_"
    assert found == {f"{prefix}{key}_factor": 0.5, f"{prefix}beta_fast": 16.0, f"{prefix}beta_slow": 2.0}
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "back", keep_blocks=False)
    rope = json.loads((tmp_path / "back" / "config.json").read_text())["rope_parameters"]
    name = {"ext": "extrapolation_factor", "attn": "attention_factor"}[key]
    assert (rope[name], rope["beta_fast"], rope["beta_slow"]) == (0.5, 16.0, 2.0)


# --- GGUF metadata


def described(folder: Path, name: str, changes: dict[str, Value], *, renamed: dict[str, str] | None = None) -> Path:
    """A golden file with other keys, or with tensors under other names."""
    folder.mkdir(exist_ok=True)
    with gguf.read(GOLDEN / name / "auto.gguf") as base:
        names = {old: (renamed or {}).get(old, old) for old in base.tensors}
        tensors = {
            new: Tensor(new, t.type, t.shape, t.source)
            for new, t in zip(names.values(), base.tensors.values(), strict=True)
        }
        gguf.write(Archive("gguf", base.metadata | changes, tensors), folder / "m.gguf", lenient=True)
    return folder / "m.gguf"


def real(value: float) -> Value:
    return Value.scalar(Kind.F32, value)


def number(value: int) -> Value:
    return Value.scalar(Kind.U32, value)


KEYS: dict[str, tuple[str, str, Value]] = {
    "layers": ("WholeNumberError", "block_count", Value.scalar(Kind.STRING, "2")),
    "layers, true": ("WholeNumberError", "block_count", Value.scalar(Kind.BOOL, 1)),
    "heads by layer": ("LayersDifferError", "attention.head_count", Value.array(Kind.U32, [8, 4])),
    "heads, 0": ("WholeNumberError", "attention.head_count", number(0)),
    "heads that divide the rows": ("TensorShapeError", "attention.head_count_kv", number(4)),
    "layer too few": ("LayerCountError", "block_count", number(1)),
    "key length": ("WholeNumberError", "attention.key_length", real(math.nan)),
    "value length": ("ValueLengthError", "attention.value_length", number(16)),
    "part of a head": ("PartialRotaryError", "rope.dimension_count", number(4)),
    "epsilon": ("RealNumberError", "attention.layer_norm_rms_epsilon", real(math.inf)),
    "theta": ("RealNumberError", "rope.freq_base", Value.scalar(Kind.STRING, "1e4")),
    "factor": ("RealNumberError", "rope.scaling.factor", real(-4.0)),
    "kind": ("UnknownRopeError", "rope.scaling.type", Value.scalar(Kind.STRING, "longrope")),
    "kind, a list": ("UnknownRopeError", "rope.scaling.type", Value.array(Kind.STRING, ["yarn"])),
    "original length": ("WholeNumberError", "rope.scaling.original_context_length", real(1.5)),
    "attention factor": ("RopeParameterError", "rope.scaling.attn_factor", real(1.25)),
    "log multiplier": ("RopeParameterError", "rope.scaling.yarn_log_multiplier", real(0.1)),
}


@pytest.mark.parametrize("what", KEYS)
def test_keys_that_a_directory_cannot_say_are_refused(what: str, tmp_path: Path) -> None:
    name, key, value = KEYS[what]
    error = refused(described(tmp_path, "llama-yarn", {f"llama.{key}": value}), tmp_path / "hf")
    assert type(error).__name__ == name
    assert error.file is not None


@pytest.mark.parametrize(
    "factors", [[1, 1, 1], [1, 1, 1, 1, 1], [], [1, 1, 8, math.nan], [1, 1, 8, math.inf], [1, 1, 8, 0], [1, -1, 8, 8]]
)
def test_rope_factors_are_finite_and_positive_and_one_for_each_pair(factors: list[float], tmp_path: Path) -> None:
    with gguf.read(GOLDEN / "llama3-rope-bias" / "auto.gguf") as base:
        made = np.array(factors, np.float32)
        tensors = base.tensors | {"rope_freqs.weight": Tensor.of("rope_freqs.weight", TYPES["F32"], made.shape, made)}
        gguf.write(Archive("gguf", base.metadata, tensors), tmp_path / "m.gguf", lenient=True)
    error = refused(tmp_path / "m.gguf", tmp_path / "hf", lenient=True)
    assert (type(error).__name__, error.tensor) == ("RopeFactorValuesError", "rope_freqs.weight")


# --- names

ODD_LAYERS = ["00", "01", "+1", " 1", "1_0", "٣", "１", "", "-1", "9" * 5000]


@pytest.mark.parametrize("layer", ODD_LAYERS)
def test_a_layer_has_one_spelling(layer: str) -> None:
    for architecture in ARCHITECTURES.values():
        with pytest.raises(RosettaError, match="no such tensor"):
            architecture.to_hf(f"blk.{layer}.attn_q.weight")
        with pytest.raises(RosettaError, match="no such tensor"):
            architecture.to_gguf(f"model.layers.{layer}.self_attn.q_proj.weight")


def test_a_name_ends_where_it_ends() -> None:
    for name in ("blk.0.attn_q.weight\n", "output.weight\n", "\noutput.weight"):
        with pytest.raises(RosettaError):
            ARCHITECTURES["llama"].to_hf(name)
    with pytest.raises(RosettaError):
        ARCHITECTURES["llama"].to_gguf("lm_head.weight\n")


@given(st.data())
def test_names_come_back(data: st.DataObject) -> None:
    """What is mapped at all is mapped one to one."""
    architecture = data.draw(st.sampled_from(list(ARCHITECTURES.values())))
    digits = st.text(st.sampled_from("0123456789٣١+ _\n"), max_size=4)
    part = st.sampled_from([role.gguf for role in (*architecture.layer, *architecture.once)])
    prefix = digits.map(lambda layer: f"blk.{layer}.") | st.just("")
    end = st.sampled_from([".weight", ".bias", ".weight\n", ""])
    name = data.draw(st.builds(lambda a, b, c: a + b + c, prefix, part, end))
    with contextlib.suppress(RosettaError):
        assert architecture.to_gguf(architecture.to_hf(name)) == name


@pytest.mark.parametrize("odd", ["blk.00.ffn_up.weight", "blk.٠.ffn_up.weight", "blk.0.ffn_up.weight\n"])
def test_a_tensor_does_not_take_the_place_of_another(odd: str, tmp_path: Path) -> None:
    source = described(tmp_path, "llama-spm", {}, renamed={"blk.1.ffn_up.weight": odd})
    error = refused(source, tmp_path / "hf")
    assert (type(error).__name__, error.tensor) == ("UnmappedTensorError", odd)


def test_a_stray_tensor_does_not_take_the_place_of_a_kept_one(tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / "llama-yarn" / "auto.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    record = json.loads(path.read_bytes())
    up, down = (record["tensors"][f"blk.0.ffn_{part}.weight"] for part in ("up", "gate"))
    up["name"] = down["name"]  # so that the weights of up belong to no record
    path.write_text(json.dumps(record))
    assert type(refused(tmp_path / "hf", tmp_path / "m.gguf")).__name__ == "NameClashError"


# --- heads


@given(
    kind=st.sampled_from(["AprQ8", "AprQ4", "Q8_0", "F32", "BF16"]),
    heads=st.integers(1, 4),
    half=st.integers(1, 4),
    width=st.sampled_from([1, 3, 31, 32, 33, 64]),
    inverse=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rows_move_whole_whatever_the_type(
    kind: str, heads: int, half: int, width: int, inverse: bool, seed: int
) -> None:
    width = 64 if kind == "Q8_0" else width
    rows = 2 * heads * half
    values = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    encode = TYPES[kind].encode
    assert encode is not None
    stored = Tensor.of(
        "q", TYPES[kind], (rows, width), np.frombuffer(np.ascontiguousarray(encode(values)).tobytes(), np.uint8)
    )
    split = (heads, half, 2, width) if inverse else (heads, 2, half, width)
    expected = stored.values().reshape(split).swapaxes(1, 2).reshape(rows, width)
    moved = permuted(stored, heads, inverse=inverse)
    assert moved.nbytes == moved.type.nbytes(moved.shape)
    assert np.array_equal(moved.values(), expected)
    whole_blocks = kind != "AprQ8" and width % TYPES[kind].elements == 0
    assert moved.type.name == (kind if whole_blocks else "F32")


# --- encoding


@given(kind=st.sampled_from(["AprQ8", "AprQ4"]), shape=st.tuples(st.integers(0, 9), st.integers(1, 70)), data=st.data())
def test_any_span_of_an_encoded_tensor_is_that_of_the_whole(
    kind: str, shape: tuple[int, int], data: st.DataObject
) -> None:
    values = np.random.default_rng(shape[1]).standard_normal(shape).astype(np.float32)
    values.flat[:: shape[1] + 1] = data.draw(st.sampled_from([0.0, -7.0, np.nan]))
    encode = TYPES[kind].encode
    assert encode is not None
    expected = np.ascontiguousarray(encode(values)).tobytes()
    made = encoded(Tensor.of("t", TYPES["F32"], shape, values), kind)
    assert made.nbytes == len(expected)
    assert made.data.tobytes() == expected
    start = data.draw(st.integers(0, made.nbytes))
    stop = data.draw(st.integers(start, made.nbytes))
    assert made.source.read(start, stop).tobytes() == expected[start:stop]
    made.source.release(start, stop)


@pytest.mark.parametrize("kind", ["AprQ8", "AprQ4"])
def test_apr_types_are_types_to_encode_to(kind: str, tmp_path: Path) -> None:
    """Matrices take the type whatever the length of their rows (8 and 96 here); 1-D tensors keep theirs."""
    rosetta_ref.convert(GOLDEN / "llama-spm" / "auto.gguf", tmp_path / "m.apr", type=kind.lower())
    encode = TYPES[kind].encode
    assert encode is not None
    with apr.read(tmp_path / "m.apr") as made, gguf.read(GOLDEN / "llama-spm" / "auto.gguf") as source:
        found = {name: (t.type.name, t.data.tobytes()) for name, t in made.tensors.items()}
        expected = {
            name: (kind, np.ascontiguousarray(encode(t.values())).tobytes()) if len(t.shape) > 1 else (t.type.name, t.data.tobytes())
            for name, t in source.tensors.items()
        }  # fmt: skip
    assert len(found) >= 20
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "target"), [("aprq8", "m.gguf"), ("aprq4", "m.gguf"), ("i8", "m.apr"), ("u8", "m.gguf")]
)
def test_a_type_without_a_place_is_refused(kind: str, target: str, tmp_path: Path) -> None:
    error = refused(GOLDEN / "llama-spm" / "hf", tmp_path / target, type=kind)
    assert type(error).__name__ == "OptionError"
    assert kind in error.problem.lower()
