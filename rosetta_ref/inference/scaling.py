"""How rope's frequencies are stretched for a longer context, read from each format in that format's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.inference.architecture import NoForwardPassError
from rosetta_ref.inference.keys import Keys, ParameterError

DEFAULT_THETA = 10000.0
_LOCAL = "rope_local_base_freq"
_ORIGINAL, _PARTIAL = "original_max_position_embeddings", "partial_rotary_factor"


@dataclass(frozen=True)
class Scaling:
    """How rope's frequencies are stretched: linear, yarn or llama3, with the parameters of that kind in config.json's words."""

    kind: str
    factor: float
    original: int = 0
    low: float = 0
    high: float = 0
    extrapolation: float = 1
    attention: float | None = None
    beta_fast: float = 32
    beta_slow: float = 1


def of_gguf(keys: Keys) -> Scaling | None:
    """As llama.cpp reads the keys: a factor without a type is linear, a factor of 0 is 1."""
    kind = keys.get("rope.scaling.type")
    if keys.real("rope.scaling.attn_factor", 1.0) != 1:
        raise NoForwardPassError(f"{keys.prefix}rope.scaling.attn_factor is {keys.get('rope.scaling.attn_factor')}")
    factor = keys.real("rope.scaling.factor", keys.get("rope.scale_linear") or 1.0) or 1.0
    if kind == "none" or (kind in (None, "linear") and factor == 1):
        return None
    if kind in (None, "linear"):
        return Scaling("linear", factor)
    if kind != "yarn":
        raise NoForwardPassError(f"{keys.prefix}rope.scaling.type is {shown(kind)}")
    return Scaling(
        "yarn",
        factor,
        original=keys.original("rope.scaling.original_context_length", "context_length", keys),
        extrapolation=keys.real("rope.scaling.yarn_ext_factor", 1.0),
        attention=keys.real_if_any("rope.scaling.yarn_attn_factor"),
        beta_fast=keys.real("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=keys.real("rope.scaling.yarn_beta_slow", 1.0),
    )


def ropes_of_config(config: Keys) -> tuple[Keys, Keys]:
    """The keys of rope in config.json, as transformers 5 spells them (`rope_parameters`) or as those before (`rope_scaling`).

    First for the layers that see everything, then for those that slide: the same keys, but for a configuration class with a base
    of their own (`rope_local_base_freq`), whose scaling is that of the first alone. Raises ParameterError and NoForwardPassError.
    """
    stretched, rope = (_mapping(key, config.values.get(key)) for key in ("rope_scaling", "rope_parameters"))
    bare = {key: value for key, value in config.values.items() if key in ("rope_theta", _ORIGINAL, _PARTIAL)}
    silence = {"rope_theta": config.silence.get("rope_theta", DEFAULT_THETA)}
    if _LOCAL not in config.silence:
        both = _whole_heads(Keys(bare | stretched | rope, silence=silence))
        return both, both
    everything, sliding = (_mapping(key, rope.get(key)) for key in ("full_attention", "sliding_attention"))
    local = {"rope_theta": config.get(_LOCAL)}
    return (
        _whole_heads(Keys(bare | everything | stretched, silence=silence)),
        _whole_heads(Keys(local | sliding)),
    )


def _mapping(key: str, stated: Any) -> dict[str, Any]:
    if not isinstance(stated or {}, dict):
        raise ParameterError(f"{key} is {shown(stated)}")
    return stated or {}


def _whole_heads(rope: Keys) -> Keys:
    if rope.real(_PARTIAL, 1.0) != 1:
        raise NoForwardPassError(f"{_PARTIAL} is {shown(rope.get(_PARTIAL))}")
    return rope


def of_config(rope: Keys, config: Keys) -> Scaling | None:
    """From the keys of rope, and from config.json for the whole context."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    factor = rope.real("factor")
    if kind == "linear":
        return Scaling("linear", factor)
    if kind == "llama3":
        low, high = rope.real("low_freq_factor"), rope.real("high_freq_factor")
        return Scaling("llama3", factor, rope.whole(_ORIGINAL), low, high)
    if kind != "yarn":
        raise NoForwardPassError(f"rope_type is {shown(kind)}")
    return Scaling(
        "yarn",
        factor,
        original=rope.original(_ORIGINAL, "max_position_embeddings", config),
        extrapolation=rope.real("extrapolation_factor", 1.0),
        attention=rope.real_if_any("attention_factor"),
        beta_fast=rope.real("beta_fast", 32.0),
        beta_slow=rope.real("beta_slow", 1.0),
    )
