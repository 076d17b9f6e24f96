"""config.json <-> the `{architecture}.*` keys of GGUF, in the order and types that convert_hf_to_gguf writes.

One table drives both directions for what is a plain number on both sides; rope and heads have functions of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures.names import Architecture
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError


class ConfigError(RosettaError):
    """config.json is a JSON object with the numbers that describe the model."""


class MissingKeyError(RosettaError):
    """GGUF metadata has the keys that describe the model."""


class UnknownRopeError(RosettaError):
    """A rope scaling is one of: none, linear, yarn, llama3."""


#: GGUF key (after `{architecture}.`), its kind, config.json's key.
NUMBERS = (
    ("block_count", Kind.U32, "num_hidden_layers"),
    ("context_length", Kind.U32, "max_position_embeddings"),
    ("embedding_length", Kind.U32, "hidden_size"),
    ("feed_forward_length", Kind.U32, "intermediate_size"),
    ("attention.head_count", Kind.U32, "num_attention_heads"),
    ("attention.head_count_kv", Kind.U32, "num_key_value_heads"),
)
_YARN = (
    ("rope.scaling.yarn_ext_factor", "ext_factor"),
    ("rope.scaling.yarn_attn_factor", "attention_factor"),
    ("rope.scaling.yarn_beta_fast", "beta_fast"),
    ("rope.scaling.yarn_beta_slow", "beta_slow"),
)
EPSILON = "attention.layer_norm_rms_epsilon"


def parse_config(files: Mapping[str, bytes], name: str = "config.json") -> dict[str, Any]:
    """A JSON file as a dictionary; empty where an optional one is absent. Raises ConfigError."""
    if name not in files:
        if name == "config.json":
            raise ConfigError("there is no config.json", hint="--keep-names carries tensors as stored.")
        return {}
    try:
        config = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}", file=name) from error
    if not isinstance(config, dict):
        raise ConfigError(f"{name} is not a JSON object", file=name)
    return config


def rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rope parameters in one form: `rope_theta`, `rope_type` and the parameters of that type.

    Both spellings are read: `rope_parameters` of transformers 5, `rope_theta` with `rope_scaling` of those before.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    theta = scaling.get("rope_theta") or config.get("rope_theta") or 10000.0
    if kind not in ("default", "linear", "yarn", "llama3"):
        raise UnknownRopeError(f"rope_type {kind!r}")
    return {**scaling, "rope_type": kind, "rope_theta": theta}


def head_dim_of(config: Mapping[str, Any]) -> int:
    """Elements of a head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def metadata_of_config(config: Mapping[str, Any], architecture: Architecture) -> dict[str, Value]:
    """The `{architecture}.*` keys, up to the file type. Raises ConfigError or UnknownRopeError."""
    arch, made = architecture.name, {}
    filled = {
        "num_key_value_heads": config.get("num_attention_heads"),
        **{k: v for k, v in config.items() if v is not None},
    }
    for key, kind, theirs in NUMBERS:
        number = filled.get(theirs)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 32:
            raise ConfigError(f"{theirs} is {number!r}", file="config.json")
        made[f"{arch}.{key}"] = Value.scalar(kind, number)
    rope = rope_of(config)
    made |= _rope_keys(rope, arch)
    made[f"{arch}.rope.freq_base"] = Value.scalar(Kind.F32, float(rope["rope_theta"]))
    made[f"{arch}.{EPSILON}"] = Value.scalar(Kind.F32, float(config.get("rms_norm_eps", 1e-6)))
    if config.get("head_dim"):
        made[f"{arch}.attention.key_length"] = Value.scalar(Kind.U32, config["head_dim"])
        made[f"{arch}.attention.value_length"] = Value.scalar(Kind.U32, config["head_dim"])
    return made


def _rope_keys(rope: Mapping[str, Any], arch: str) -> dict[str, Value]:
    """Linear and YaRN are keys; llama3 is the tensor rope_freqs."""
    if rope["rope_type"] not in ("linear", "yarn"):
        return {}
    made = {
        f"{arch}.rope.scaling.type": Value.scalar(Kind.STRING, rope["rope_type"]),
        f"{arch}.rope.scaling.factor": Value.scalar(Kind.F32, float(rope["factor"])),
    }
    if rope["rope_type"] == "yarn":
        original = rope.get("original_max_position_embeddings")
        if original:
            made[f"{arch}.rope.scaling.original_context_length"] = Value.scalar(Kind.U32, int(original))
        for key, theirs in _YARN:
            if rope.get(theirs) is not None:
                made[f"{arch}.{key}"] = Value.scalar(Kind.F32, float(rope[theirs]))
    return made


class Keys:
    """GGUF metadata of one architecture, asked by the short names of its keys."""

    def __init__(self, metadata: Mapping[str, Value], architecture: str) -> None:
        self.metadata, self.architecture = metadata, architecture

    def get(self, key: str, default: Any = None) -> Any:
        """The plain value of `{architecture}.key`; floats as the shortest decimal that names them."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if value is None:
            return default
        return float(str(np.float32(value.data))) if value.kind is Kind.F32 else value.plain()

    def need(self, key: str) -> int:
        """A whole number that must be there. Raises MissingKeyError."""
        value = self.get(key)
        if not isinstance(value, int):
            raise MissingKeyError(f"{self.architecture}.{key} is {'missing' if value is None else value!r}")
        return value

    @property
    def heads(self) -> tuple[int, int]:
        """The number of heads of q, and of k and v."""
        heads = self.need("attention.head_count")
        return heads, self.need("attention.head_count_kv") if self.get("attention.head_count_kv") is not None else heads

    @property
    def head_dim(self) -> int:
        """Elements of a head."""
        return int(self.get("attention.key_length") or self.need("embedding_length") // self.heads[0])


def config_of_metadata(
    metadata: Mapping[str, Value], architecture: Architecture, rope_freqs: dict[str, Any] | None
) -> dict[str, Any]:
    """config.json for transformers and mlx-lm, but for what only the tensors tell.

    `rope_freqs` holds the llama3 parameters where the model has that tensor. Raises MissingKeyError, UnknownRopeError.
    """
    keys = Keys(metadata, architecture.name)
    config: dict[str, Any] = {"architectures": [architecture.classes[0]], "model_type": architecture.model_types[0]}
    for key, _, theirs in NUMBERS:
        config[theirs] = keys.heads[1] if theirs == "num_key_value_heads" else keys.need(key)
    config["head_dim"] = keys.head_dim
    epsilon = keys.get(EPSILON)
    if epsilon is None:
        raise MissingKeyError(f"{architecture.name}.{EPSILON} is missing")
    theta = keys.get("rope.freq_base", 10000.0)
    scaling = rope_freqs or _scaling_of(keys)
    config |= {
        "rms_norm_eps": epsilon,
        "hidden_act": "silu",
        "rope_theta": theta,
        "rope_scaling": {"type": scaling["rope_type"], **scaling} if scaling else None,
        "rope_parameters": {"rope_theta": theta, "rope_type": "default", **(scaling or {})},
        "use_cache": True,
    }
    return config


def _scaling_of(keys: Keys) -> dict[str, Any] | None:
    kind = keys.get("rope.scaling.type", "none")
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise UnknownRopeError(f"{keys.architecture}.rope.scaling.type is {kind!r}")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": keys.get("rope.scaling.factor", 1.0)}
    if kind == "yarn":
        original = keys.get("rope.scaling.original_context_length")
        scaling["original_max_position_embeddings"] = original or round(keys.need("context_length") / scaling["factor"])
        scaling |= {theirs: keys.get(key) for key, theirs in _YARN if keys.get(key) is not None}
    return scaling
