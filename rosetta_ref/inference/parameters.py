"""The numbers that a forward pass needs, read from each format in that format's own words.

What stands in a file is taken as it stands: GGUF's keys as llama.cpp reads them, config.json as transformers does, APR's own keys.
Real numbers are rounded to float32 wherever they come from, since that is what every loader computes with (and what GGUF
stores): config.json's 1e-5 and GGUF's are then the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import foreign
from rosetta_ref.architectures.aprender_json import from_entries
from rosetta_ref.architectures.aprender_keys import PLACES
from rosetta_ref.architectures.checked import LARGEST, shown
from rosetta_ref.archive import Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.metadata import lookup

ADJACENT, HALVES = "adjacent pairs", "split halves"
#: Which elements of a head rope turns against each other: in GGUF by architecture, in Hugging Face always the halves.
GGUF_PAIRING = {"llama": ADJACENT, "qwen2": HALVES}
#: What config.json and APR files call the architectures of `GGUF_PAIRING`.
FAMILIES = {
    "llama": "llama", "mistral": "llama", "smollm": "llama", "smollm2": "llama", "llama2": "llama", "llama3": "llama",
    "llamaforcausallm": "llama", "mistralforcausallm": "llama", "qwen2": "qwen2", "qwen2.5": "qwen2",
    "qwen2forcausallm": "qwen2",
}  # fmt: skip
#: APR's key for the typed GGUF metadata, and the rows that its rope_type means.
_GGUF_IN_APR = "rosetta.gguf_metadata"
_ROPE_TYPES = {0: ADJACENT, 2: HALVES}
_DEFAULT_THETA, _DEFAULT_EPSILON = 10000.0, 1e-6
_LARGEST_REAL = float(np.finfo(np.float32).max)
_ORIGINAL, _PARTIAL = "original_max_position_embeddings", "partial_rotary_factor"


class ParameterError(RosettaError):
    """A forward pass needs every number of the model, each of a kind that can be computed with."""


class ConflictingParameterError(RosettaError):
    """A file that says a number twice says the same number twice."""


class NoForwardPassError(RosettaError):
    """Only models of a known architecture, dense ones with SiLU, are computed."""


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


@dataclass(frozen=True)
class Parameters:
    """`groups` is the number of key and value heads, `head` the elements of a head, `inner` the feed-forward size."""

    architecture: str
    layers: int
    width: int
    inner: int
    heads: int
    groups: int
    head: int
    epsilon: float
    theta: float
    pairing: str
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.heads % self.groups or self.head % 2:
            raise ParameterError(f"{self.heads} heads on {self.groups}, of {self.head} elements")
        if not self.theta > 0:
            raise ParameterError(f"the base of rope is {self.theta}")

    @property
    def queries(self) -> int:
        """Rows of q."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Rows of k, and of v."""
        return self.groups * self.head


class _Numbers:
    """A mapping asked for numbers; each refusal names the key. Where a key is null, it is as if it were absent."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self.values, self.prefix = values, prefix

    def get(self, key: str) -> Any:
        value = self.values.get(self.prefix + key)
        return value.plain() if isinstance(value, Value) else value

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.get(key)
        value = default if value is None else value
        if type(value) is not int or not 0 < value <= LARGEST:
            raise ParameterError(f"{self.prefix}{key} is {shown(value)}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        value: Any = self.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not abs(value) <= _LARGEST_REAL:  # NaN is no more than anything
            raise ParameterError(f"{self.prefix}{key} is {shown(value)}")
        return float(np.float32(value))

    def real_if_any(self, key: str) -> float | None:
        return None if self.get(key) is None else self.real(key)

    def original(self, key: str, other: str, elsewhere: _Numbers) -> int:
        """The context before it was stretched; where it is 0 or absent, the whole one."""
        stated = self.get(key)
        return elsewhere.whole(other) if stated is None or stated == 0 else self.whole(key)


def _known(name: Any) -> str:
    found = FAMILIES.get(name.lower()) if isinstance(name, str) else None
    if found is None:
        raise NoForwardPassError(f"the architecture is {shown(name)}")
    return found


def of_gguf(metadata: Mapping[str, Value]) -> Parameters:
    """From GGUF's keys."""
    stated = metadata.get("general.architecture")
    name = stated.plain() if stated is not None else None
    if not isinstance(name, str) or name not in GGUF_PAIRING:
        raise NoForwardPassError(f"general.architecture is {shown(name)}")
    keys = _Numbers(metadata, f"{name}.")
    if keys.get("expert_count"):
        raise NoForwardPassError(f"{name}.expert_count is {shown(keys.get('expert_count'))}")
    width, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
    head = keys.whole("attention.key_length", width // heads)
    for key in ("rope.dimension_count", "attention.value_length"):
        if keys.whole(key, head) != head:
            raise NoForwardPassError(f"{name}.{key} is {keys.get(key)}, and a head has {head} elements")
    return Parameters(
        architecture=name,
        layers=keys.whole("block_count"),
        width=width,
        inner=keys.whole("feed_forward_length"),
        heads=heads,
        groups=keys.whole("attention.head_count_kv", heads),
        head=head,
        epsilon=keys.real("attention.layer_norm_rms_epsilon"),
        theta=keys.real("rope.freq_base", _DEFAULT_THETA),
        pairing=GGUF_PAIRING[name],
        scaling=_gguf_scaling(keys),
    )


def _gguf_scaling(keys: _Numbers) -> Scaling | None:
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


def of_config(config: Mapping[str, Any]) -> Parameters:
    """From config.json, in the spelling of transformers 5 (`rope_parameters`) or of those before (`rope_scaling`)."""
    stated = config.get("architectures") or [config.get("model_type")]
    if not isinstance(stated, list):
        raise ParameterError(f"architectures is {shown(stated)}")
    name = _known(stated[0])
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        raise NoForwardPassError(f"hidden_act is {shown(config['hidden_act'])}")
    numbers = _Numbers(config)
    width, heads = numbers.whole("hidden_size"), numbers.whole("num_attention_heads")
    rope = {key: value for key, value in config.items() if key in ("rope_theta", _ORIGINAL, _PARTIAL)}
    for key in ("rope_scaling", "rope_parameters"):
        stretched = config.get(key) or {}
        if not isinstance(stretched, dict):
            raise ParameterError(f"{key} is {shown(stretched)}")
        rope |= stretched
    if _Numbers(rope).real(_PARTIAL, 1.0) != 1:
        raise NoForwardPassError(f"{_PARTIAL} is {shown(rope[_PARTIAL])}")
    return Parameters(
        architecture=name,
        layers=numbers.whole("num_hidden_layers"),
        width=width,
        inner=numbers.whole("intermediate_size"),
        heads=heads,
        groups=numbers.whole("num_key_value_heads", heads),
        head=numbers.whole("head_dim", width // heads),
        epsilon=numbers.real("rms_norm_eps", _DEFAULT_EPSILON),
        theta=_Numbers(rope).real("rope_theta", _DEFAULT_THETA),
        pairing=HALVES,
        scaling=_config_scaling(_Numbers(rope), numbers),
    )


def _config_scaling(rope: _Numbers, config: _Numbers) -> Scaling | None:
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


def gguf_metadata_of_apr(metadata: Mapping[str, Any]) -> dict[str, Value] | None:
    """The GGUF metadata that an APR file carries; None for a file that carries none."""
    return from_entries(metadata[_GGUF_IN_APR], metadata, PLACES) if _GGUF_IN_APR in metadata else None


def of_apr(metadata: Mapping[str, Any]) -> Parameters:
    """From APR's own keys, which are what aprender computes with; rope scaling, which they have none for, from GGUF's.

    Raises ConflictingParameterError where GGUF metadata is carried and says otherwise: two readers of such a file would
    compute two models.
    """
    own = {key: value for key in _APR_KEYS if (value := lookup(metadata, key)) is not None}
    named = (metadata.get("architecture"), metadata.get("hf_model_type"), metadata.get("model_type"))
    name = _known(next((word for word in named if word), None))
    if lookup(metadata, "num_experts"):
        raise NoForwardPassError(f"num_experts is {shown(lookup(metadata, 'num_experts'))}")
    numbers = _Numbers(own)
    width, heads = numbers.whole("hidden_size"), numbers.whole("num_heads")
    stated = own.get("rope_type", 0 if name == "llama" else 2)
    if type(stated) is not int or stated not in _ROPE_TYPES:
        raise NoForwardPassError(f"rope_type is {shown(stated)}")
    carried = gguf_metadata_of_apr(metadata)
    found = Parameters(
        architecture=name,
        layers=numbers.whole("num_layers"),
        width=width,
        inner=numbers.whole("intermediate_size"),
        heads=heads,
        groups=numbers.whole("num_kv_heads", heads),
        head=numbers.whole("head_dim", width // heads),
        epsilon=numbers.real("rms_norm_eps"),
        theta=numbers.real("rope_theta", _DEFAULT_THETA),
        pairing=_ROPE_TYPES[stated],
        scaling=None if carried is None else _gguf_scaling(_Numbers(carried, f"{name}.")),
    )
    if carried is not None:
        _require_agreement(found, of_gguf(carried))
    return found


_APR_KEYS = (
    "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "intermediate_size", "rms_norm_eps",
    "rope_theta", "rope_type",
)  # fmt: skip


def _require_agreement(own: Parameters, carried: Parameters) -> None:
    """But for the pairing: which rows stand in the file is for APR's own rope_type to say."""
    for what, value in vars(own).items():
        other = getattr(carried, what)
        if what != "pairing" and value != other:
            raise ConflictingParameterError(f"{what}: APR's own keys say {value}, {_GGUF_IN_APR} says {other}")


def parse_json(data: bytes, name: str, path: Path | None = None) -> dict[str, Any]:
    """The JSON object in a file of a model, as loaders read it: NaN is let pass. Raises ForeignTextError."""
    return foreign.json_object(data, file=name if path is None else path, what=name, constants=True)
