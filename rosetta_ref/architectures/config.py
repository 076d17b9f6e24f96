"""config.json <-> the `{architecture}.*` keys of GGUF, in the order and types that convert_hf_to_gguf writes.

One table drives both directions for what is a plain number on both sides; rope has a module of its own (`rotary`), and
`checked` sees to it that a number is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import (
    Keys,
    MissingKeyError,
    grouped,
    head_size,
    real,
    shown,
    whole,
)
from rosetta_ref.architectures.names import Architecture
from rosetta_ref.architectures.rotary import Rope, UnknownRopeError, keys_of_rope, scaling_of, theta_of
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import ForeignTextError, json_object

_FILE = "config.json"


class ConfigError(RosettaError):
    """config.json is a JSON object with the numbers that describe the model."""


class ActivationError(RosettaError):
    """The activation of the feed-forward layers is SiLU, which is what llama.cpp computes in these architectures."""


#: GGUF key (after `{architecture}.`), its kind, config.json's key.
NUMBERS = (
    ("block_count", Kind.U32, "num_hidden_layers"),
    ("context_length", Kind.U32, "max_position_embeddings"),
    ("embedding_length", Kind.U32, "hidden_size"),
    ("feed_forward_length", Kind.U32, "intermediate_size"),
    ("attention.head_count", Kind.U32, "num_attention_heads"),
    ("attention.head_count_kv", Kind.U32, "num_key_value_heads"),
)
EPSILON = "attention.layer_norm_rms_epsilon"


#: How Hugging Face spells SiLU.
_SILU = ("silu", "swish")
_DEFAULT_EPSILON = 1e-6


def parse_config(files: Mapping[str, bytes]) -> dict[str, Any]:
    """config.json as a dictionary. Raises ConfigError."""
    if _FILE not in files:
        raise ConfigError(f"there is no {_FILE}", hint="--keep-names carries tensors as stored.")
    try:  # as transformers reads it: Python's Infinity is a number, of equal keys the last one counts
        return json_object(files[_FILE], file=_FILE, constants=True, twice=True)
    except ForeignTextError as error:
        raise ConfigError(error.problem, file=_FILE, offset=error.offset) from error


def head_dim_of(config: Mapping[str, Any]) -> int:
    """Elements of a head. Raises WholeNumberError, UnevenHeadsError or OddHeadError."""
    stated = config.get("head_dim")
    if stated is not None:
        whole(stated, "head_dim", file=_FILE)
    try:
        return head_size(stated, _needed(config, "hidden_size"), _needed(config, "num_attention_heads"))
    except RosettaError as error:
        raise error.at(file=_FILE) from None


def _needed(config: Mapping[str, Any], key: str) -> int:
    if config.get(key) is None:
        raise ConfigError(f"{key} is missing", file=_FILE)
    return whole(config[key], key, file=_FILE)


def metadata_of_config(config: Mapping[str, Any], architecture: Architecture, rope: Rope) -> dict[str, Value]:
    """The `{architecture}.*` keys, up to the file type; `rope` is what `rope_of` reads of the same config.

    Raises ConfigError, ActivationError, UnknownRopeError, and the errors of `checked`.
    """
    arch, made = architecture.name, {}
    numbers = dict(config)
    if config.get("num_key_value_heads") is None:
        numbers["num_key_value_heads"] = config.get("num_attention_heads")
    for key, kind, theirs in NUMBERS:
        made[f"{arch}.{key}"] = Value.scalar(kind, _needed(numbers, theirs))
    head_dim = head_dim_of(config)
    try:
        grouped(numbers["num_attention_heads"], numbers["num_key_value_heads"])
    except RosettaError as error:
        raise error.at(file=_FILE) from None
    _refuse_other_models(config, architecture, rope)
    made |= keys_of_rope(rope, arch)
    made[f"{arch}.rope.freq_base"] = Value.scalar(Kind.F32, rope.theta)
    epsilon = config.get("rms_norm_eps")
    epsilon = _DEFAULT_EPSILON if epsilon is None else real(epsilon, "rms_norm_eps", file=_FILE, zero=True)
    made[f"{arch}.{EPSILON}"] = Value.scalar(Kind.F32, epsilon)
    if config.get("head_dim") is not None:
        made[f"{arch}.attention.key_length"] = Value.scalar(Kind.U32, head_dim)
        made[f"{arch}.attention.value_length"] = Value.scalar(Kind.U32, head_dim)
    return made


def _refuse_other_models(config: Mapping[str, Any], architecture: Architecture, rope: Rope) -> None:
    """What Hugging Face computes and GGUF has no way to say."""
    activation = config.get("hidden_act")
    if activation is not None and activation not in _SILU:
        raise ActivationError(f"hidden_act is {shown(activation)}", file=_FILE)
    if rope.kind == "llama3" and not architecture.has_rope_freqs:
        raise UnknownRopeError(f"rope_type llama3, and {architecture.name} has no tensor for it", file=_FILE)


def config_of_metadata(
    metadata: Mapping[str, Value], architecture: Architecture, rope_freqs: dict[str, Any] | None
) -> dict[str, Any]:
    """config.json for transformers and mlx-lm, but for what only the tensors tell.

    `rope_freqs` holds the llama3 parameters where the model has that tensor. Raises MissingKeyError, UnknownRopeError, and
    the errors of `checked` and `rotary`.
    """
    keys = Keys(metadata, architecture.name)
    config: dict[str, Any] = {"architectures": [architecture.classes[0]], "model_type": architecture.model_types[0]}
    for key, _, theirs in NUMBERS:
        config[theirs] = keys.heads[1] if theirs == "num_key_value_heads" else keys.need(key)
    config["head_dim"] = keys.head_dim
    epsilon = keys.real(EPSILON, zero=True)
    if epsilon is None:
        raise MissingKeyError(f"{keys.name(EPSILON)} is missing")
    theta, scaling = theta_of(keys), scaling_of(keys, rope_freqs)
    config |= {
        "rms_norm_eps": epsilon,
        "hidden_act": "silu",
        "rope_theta": theta,
        "rope_scaling": {"type": scaling["rope_type"], **scaling} if scaling else None,
        "rope_parameters": {"rope_theta": theta, "rope_type": "default", **(scaling or {})},
        "use_cache": True,
    }
    return config
