"""Rope and its scaling: parameters in config.json, keys of GGUF (linear, YaRN) or a tensor (llama3, see `rope`).

What GGUF has a key for is mapped; a parameter that it has none for is refused, unless it says what holds without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosetta_ref.architectures.checked import Keys, PartialRotaryError, real, shown, whole
from rosetta_ref.architectures.record import Model
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError

_FILE = "config.json"
_ORIGINAL = "original_max_position_embeddings"
_THETA = 10000.0
_BASE, _LOCAL = "rope.freq_base", "rope.freq_base_swa"
_KINDS_OF_LAYERS = ("full_attention", "sliding_attention")
#: Kind of scaling: the parameters it needs, those it may have.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "yarn": (("factor",), (_ORIGINAL, "extrapolation_factor", "attention_factor", "beta_fast", "beta_slow")),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", _ORIGINAL), ()),
}
#: YaRN's parameters in GGUF and in config.json.
_YARN = (
    ("rope.scaling.yarn_ext_factor", "extrapolation_factor"),
    ("rope.scaling.yarn_attn_factor", "attention_factor"),
    ("rope.scaling.yarn_beta_fast", "beta_fast"),
    ("rope.scaling.yarn_beta_slow", "beta_slow"),
)
_ALIASES = {"ext_factor": "extrapolation_factor", "attn_factor": "attention_factor"}
#: 0 means something for these: no extrapolation.
_MAY_BE_ZERO = ("extrapolation_factor",)
#: Parameters without a key, and the value that changes nothing.
_NEUTRAL = {"mscale": 1, "mscale_all_dim": 0, "truncate": True, "factor": 1}
#: What is read elsewhere, or speaks only of training.
_ASIDE = ("rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", _ORIGINAL)
#: Keys of llama.cpp's that config.json has no word for, and the value that changes nothing.
_NEUTRAL_KEYS = {"rope.scaling.attn_factor": 1.0, "rope.scaling.yarn_log_multiplier": 0.0}


class UnknownRopeError(RosettaError):
    """A rope scaling is one of: none, linear, yarn, llama3."""


class RopeObjectError(RosettaError):
    """rope_parameters and rope_scaling are JSON objects."""


class PerLayerRopeError(RosettaError):
    """All layers share one set of rope parameters; with two bases, rope_parameters names them by the kind of layer."""


class MissingRopeParameterError(RosettaError):
    """A rope scaling comes with the parameters of its kind."""


class RopeParameterError(RosettaError):
    """A rope parameter has a place on the other side, or the value that changes nothing."""


class RopeConflictError(RosettaError):
    """What is said of rope in two places is the same in both."""


class RopeBandError(RosettaError):
    """The low_freq_factor of llama3 is below its high_freq_factor."""


@dataclass(frozen=True)
class Rope:
    """The base, the kind of scaling, and the parameters of that kind, checked, in config.json's words.

    `local` is the base of the layers that see a window, where they have their own.
    """

    theta: float
    kind: str
    parameters: dict[str, Any]
    local: float | None = None


def rope_of(config: Mapping[str, Any], model: Model) -> Rope:
    """What a config.json says of rope.

    Both spellings are read: `rope_parameters` of transformers 5, `rope_theta` with `rope_scaling` of those before. Raises the
    errors above, PartialRotaryError, WholeNumberError and RealNumberError.
    """
    parameters, local = config.get("rope_parameters"), None
    if model.number(_LOCAL) is not None:
        parameters, sliding = _by_kind(parameters)
        local = _local(config, sliding, model)
    stated = {"rope_parameters": parameters, "rope_scaling": config.get("rope_scaling")}
    said = [_object(value, key) for key, value in stated.items() if value not in (None, {})]
    for part in (one.get("partial_rotary_factor") for one in (config, *said)):
        if part is not None and real(part, "partial_rotary_factor", file=_FILE) != 1:
            raise PartialRotaryError(f"partial_rotary_factor is {part}", file=_FILE)
    thetas = {
        real(x["rope_theta"], "rope_theta", file=_FILE) for x in (config, *said) if x.get("rope_theta") is not None
    }
    scalings = [_scaling(one, config.get(_ORIGINAL)) for one in said] or [("default", {})]
    if len(thetas) > 1 or any(scaling != scalings[0] for scaling in scalings):
        what = f"rope_theta is {sorted(thetas)}" if len(thetas) > 1 else f"rope is {shown(scalings)}"
        raise RopeConflictError(what, file=_FILE)
    kind, numbers = scalings[0]
    return Rope(thetas.pop() if thetas else _default(model, _BASE), kind, numbers, local)


def _default(model: Model, key: str) -> float:
    number = model.number(key)
    return _THETA if number is None or number.default is None else float(number.default)


def _by_kind(parameters: Any) -> tuple[Any, Any]:
    """The parameters of the layers that see everything, and of those that see a window. Raises PerLayerRopeError."""
    if parameters in (None, {}):
        return None, None
    if not isinstance(parameters, dict):
        raise RopeObjectError(f"rope_parameters is {shown(parameters)}", file=_FILE)
    odd = [key for key in parameters if key not in _KINDS_OF_LAYERS]
    if odd:
        raise PerLayerRopeError(f"rope_parameters has {shown(odd[0])} for no kind of layer", file=_FILE)
    full, sliding = (parameters.get(key) for key in _KINDS_OF_LAYERS)
    return full, sliding


def _local(config: Mapping[str, Any], sliding: Any, model: Model) -> float:
    """The base of the layers that see a window, which have no scaling. Raises RopeConflictError or RopeParameterError."""
    said = {} if sliding is None else _object(sliding, "rope_parameters.sliding_attention")
    kind, _ = _scaling(said, None)
    if kind != "default":
        raise RopeParameterError(
            f"rope_type is {kind} in layers that see a window, which have none in GGUF", file=_FILE
        )
    stated = {"rope_theta": said.get("rope_theta"), "rope_local_base_freq": config.get("rope_local_base_freq")}
    bases = {real(value, key, file=_FILE) for key, value in stated.items() if value is not None}
    if len(bases) > 1:
        raise RopeConflictError(f"the base of layers that see a window is {sorted(bases)}", file=_FILE)
    return bases.pop() if bases else _default(model, _LOCAL)


def _object(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RopeObjectError(f"{key} is {shown(value)}", file=_FILE)
    layered = [name for name, inner in value.items() if isinstance(inner, dict)]
    if layered:
        raise PerLayerRopeError(f"{key} has parameters of its own for {shown(layered[0])}", file=_FILE)
    return value


def _scaling(said: Mapping[str, Any], original: Any) -> tuple[str, dict[str, Any]]:
    """The kind and its parameters; `original` is the original length where config.json has it outside."""
    kind = next((said[key] for key in ("rope_type", "type") if said.get(key) is not None), "default")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UnknownRopeError(f"rope_type is {shown(kind)}", file=_FILE)
    needed, optional = _KINDS[kind]
    given = {key: value for key, value in said.items() if value is not None}
    if _ORIGINAL in (*needed, *optional) and original is not None:
        given.setdefault(_ORIGINAL, original)
    parameters: dict[str, Any] = {}
    for key, value in given.items():
        name = _ALIASES.get(key, key)
        if name not in (*needed, *optional):
            _require_neutral(key, value, kind)
            continue
        number = whole(value, key, file=_FILE) if name == _ORIGINAL else _number(value, key)
        if parameters.setdefault(name, number) != number:
            raise RopeConflictError(f"{name} is {parameters[name]}, and {key} is {number}", file=_FILE)
    missing = [key for key in needed if key not in parameters]
    if missing:
        raise MissingRopeParameterError(f"rope_type {kind} without {', '.join(missing)}", file=_FILE)
    if kind == "llama3" and parameters["low_freq_factor"] >= parameters["high_freq_factor"]:
        low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
        raise RopeBandError(f"low_freq_factor is {low}, high_freq_factor {high}", file=_FILE)
    return kind, parameters


def _number(value: Any, key: str) -> float:
    return real(value, key, file=_FILE, zero=_ALIASES.get(key, key) in _MAY_BE_ZERO)


def _require_neutral(key: str, value: Any, kind: str) -> None:
    neutral = _NEUTRAL.get(key)
    # 1 equals True in Python; here a flag is a flag and a number a number.
    same = neutral is not None and value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
    if key not in _ASIDE and not same:
        raise RopeParameterError(f"{key} is {shown(value)}, which GGUF has no key for in rope_type {kind}", file=_FILE)


def keys_of_rope(rope: Rope, arch: str) -> dict[str, Value]:
    """The GGUF keys of a scaling, without the base. Linear and YaRN are keys; llama3 is the tensor rope_freqs."""
    if rope.kind not in ("linear", "yarn"):
        return {}
    made = {
        f"{arch}.rope.scaling.type": Value.scalar(Kind.STRING, rope.kind),
        f"{arch}.rope.scaling.factor": Value.scalar(Kind.F32, rope.parameters["factor"]),
    }
    if _ORIGINAL in rope.parameters:  # without the key, llama.cpp takes the context length, as transformers does
        made[f"{arch}.rope.scaling.original_context_length"] = Value.scalar(Kind.U32, rope.parameters[_ORIGINAL])
    for key, theirs in _YARN:
        if theirs in rope.parameters:
            made[f"{arch}.{key}"] = Value.scalar(Kind.F32, rope.parameters[theirs])
    return made


def theta_of(keys: Keys) -> float:
    """The base of rope, with llama.cpp's default."""
    return keys.real(_BASE) or _THETA


def config_of_rope(keys: Keys, model: Model, llama3: Mapping[str, Any] | None) -> dict[str, Any]:
    """What config.json says of rope, in both spellings. Raises what `scaling_of` raises."""
    theta, scaling = theta_of(keys), scaling_of(keys, llama3)
    if scaling is not None and scaling["rope_type"] not in model.scalings:
        raise UnknownRopeError(
            f"{keys.name('rope.scaling.type')} is {scaling['rope_type']}, which {model.name} does not have"
        )
    old = {"type": scaling["rope_type"], **scaling} if scaling else None
    new: dict[str, Any] = {"rope_theta": theta, "rope_type": "default", **(scaling or {})}
    config: dict[str, Any] = {"rope_theta": theta, "rope_scaling": old}
    if model.number(_LOCAL) is None:
        return config | {"rope_parameters": new}
    local = keys.real(_LOCAL) or _default(model, _LOCAL)
    both = (new, {"rope_theta": local, "rope_type": "default"})
    return config | {"rope_local_base_freq": local, "rope_parameters": dict(zip(_KINDS_OF_LAYERS, both, strict=True))}


def scaling_of(keys: Keys, llama3: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The scaling as config.json has it, from GGUF keys as llama.cpp reads them; None for none.

    `llama3` holds the parameters behind rope_freqs where the model has that tensor. Raises UnknownRopeError,
    RopeParameterError, RopeConflictError, WholeNumberError, RealNumberError.
    """
    for key, neutral in _NEUTRAL_KEYS.items():
        value = keys.real(key, zero=True)
        if value not in (None, neutral):
            raise RopeParameterError(f"{keys.name(key)} is {value}, which config.json has no word for")
    stated = keys.get("rope.scaling.type")
    kind = "linear" if stated is None else stated
    if kind not in ("none", "linear", "yarn"):
        raise UnknownRopeError(f"{keys.name('rope.scaling.type')} is {shown(kind)}")
    factor = keys.real("rope.scaling.factor", zero=True)
    if factor is None:  # the key of old files
        factor = keys.real("rope.scale_linear", zero=True)
    factor = factor or 1.0  # 0 means 1 to llama.cpp
    scaled = kind != "none" and (factor != 1 or kind == "yarn")
    if llama3 is not None:
        if scaled:
            raise RopeConflictError(f"rope_freqs.weight, and a {kind} scaling by {factor}")
        return dict(llama3)
    if kind == "none" or (stated is None and factor == 1):
        return None
    return {"rope_type": kind, "factor": factor, **(_yarn_of(keys) if kind == "yarn" else {})}


def _yarn_of(keys: Keys) -> dict[str, Any]:
    # Absent, or 0: the context length.
    original = keys.get("rope.scaling.original_context_length") and keys.whole("rope.scaling.original_context_length")
    made: dict[str, Any] = {_ORIGINAL: original or keys.need("context_length")}
    for key, theirs in _YARN:
        value = keys.real(key, zero=theirs in _MAY_BE_ZERO)
        if value is not None:
            made[theirs] = value
    return made
