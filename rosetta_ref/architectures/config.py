"""config.json <-> the `{architecture}.*` keys of GGUF, in the order and types that convert_hf_to_gguf writes.

The numbers of an architecture's record drive both directions; rope has a module of its own (`rotary`), as have layers that see
a window (`windows`), and `checked` sees to it that a number is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import Keys, MissingKeyError, grouped, head_size, real, shown, whole
from rosetta_ref.architectures.record import Model, Number
from rosetta_ref.architectures.rotary import Rope, UnknownRopeError, config_of_rope, keys_of_rope
from rosetta_ref.architectures.windows import WINDOW, config_of_windows, keys_of_windows, refuse_windows
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import ForeignTextError, json_object

_FILE = "config.json"


class ConfigError(RosettaError):
    """config.json is a JSON object with the numbers that describe the model."""


class ActivationError(RosettaError):
    """The activation of the feed-forward layers is the one that llama.cpp computes in that architecture."""


class ConstantError(RosettaError):
    """Where GGUF has no key, config.json says what llama.cpp computes."""


def parse_config(files: Mapping[str, bytes]) -> dict[str, Any]:
    """config.json as a dictionary. Raises ConfigError."""
    if _FILE not in files:
        raise ConfigError(f"there is no {_FILE}", hint="--keep-names carries tensors as stored.")
    try:  # as transformers reads it: Python's Infinity is a number, of equal keys the last one counts
        return json_object(files[_FILE], file=_FILE, constants=True, twice=True)
    except ForeignTextError as error:
        raise ConfigError(error.problem, file=_FILE, offset=error.offset) from error


def text_config(config: dict[str, Any], model: Model) -> dict[str, Any]:
    """The configuration of the text model, which stands under `text_config` where there are other parts. Raises ConfigError.

    With what its class takes for keys that are left out.
    """
    classes = config.get("architectures") or model.classes[model.model_types.index(config["model_type"]) :]
    inner, silent = config.get("text_config"), model.silent.get(classes[0], {})
    if not model.nested or inner is None:
        unread = model.unread.get(classes[0], ())
        return {**silent, **{key: value for key, value in config.items() if key not in unread}}
    if not isinstance(inner, dict):
        raise ConfigError(f"text_config is {shown(inner)}", file=_FILE)
    aside = ("text_config", "vision_config", "architectures", "model_type")
    return {key: value for key, value in config.items() if key not in aside} | inner


def head_dim_of(config: Mapping[str, Any], model: Model) -> int:
    """Elements of a head. Raises WholeNumberError, UnevenHeadsError or OddHeadError."""
    stated = _said(config, model, "head_dim")
    if stated is not None:
        whole(stated, "head_dim", file=_FILE)
    try:
        return head_size(stated, _needed(config, model, "hidden_size"), _needed(config, model, "num_attention_heads"))
    except RosettaError as error:
        raise error.at(file=_FILE) from None


def _said(config: Mapping[str, Any], model: Model, key: str) -> Any:
    """What config.json says under a key, or what holds where it says nothing; None where nothing does."""
    value = config.get(key)
    number = next(number for number in model.numbers if number.config == key)
    if value is None and number.null is not None and (number.default is None or key in config):
        return _said(config, model, number.null)
    return number.default if value is None else value


def _needed(config: Mapping[str, Any], model: Model, key: str) -> int:
    value = _said(config, model, key)
    if value is None:
        raise ConfigError(f"{key} is missing", file=_FILE)
    return whole(value, key, file=_FILE)


def metadata_of_config(config: Mapping[str, Any], model: Model, rope: Rope) -> dict[str, Value]:
    """The `{architecture}.*` keys, up to the file type; `rope` is what `rope_of` reads of the same config.

    Raises ConfigError, ActivationError, ConstantError, UnknownRopeError, and the errors of `checked`.
    """
    made: dict[str, Value] = {}
    for number in model.numbers:
        if "late" in number.flags:
            continue
        if "rope" in number.flags:
            local = number.gguf != "rope.freq_base"
            made |= {} if local else keys_of_rope(rope, model.name)
            made[f"{model.name}.{number.gguf}"] = Value.scalar(number.kind, rope.local if local else rope.theta)
        elif "stated" not in number.flags or config.get(number.config) is not None:
            made[f"{model.name}.{number.gguf}"] = _number(config, model, number)
    head_dim_of(config, model)
    try:
        grouped(*(_needed(config, model, key) for key in ("num_attention_heads", "num_key_value_heads")))
    except RosettaError as error:
        raise error.at(file=_FILE) from None
    _refuse_other_models(config, model, rope, made)
    return made


def late_metadata(config: Mapping[str, Any], model: Model, vocabulary: int, *, told: bool) -> dict[str, Value]:
    """The keys that stand behind the file type; `told` says that the file has a list of tokens.

    Raises LayerKindError, and the errors of `checked`.
    """
    made: dict[str, Value] = {}
    for number in model.numbers:
        if "late" not in number.flags or ("untold" in number.flags and told):
            continue
        silent = config.get(number.config) is None
        if silent and ("stated" in number.flags or (number.gguf == WINDOW and number.config in config)):
            continue  # a window of null is none, and not what holds where nothing is said
        said = {**config, "vocab_size": vocabulary}
        made[f"{model.name}.{number.gguf}"] = _number(said, model, number)
    layers = _needed(config, model, "num_hidden_layers")
    refuse_windows(config, model, layers, _needed(config, model, "max_position_embeddings"))
    return made | keys_of_windows(config, model, layers)


def _number(config: Mapping[str, Any], model: Model, number: Number) -> Value:
    if number.config == "head_dim":
        return Value.scalar(number.kind, head_dim_of(config, model))
    if number.kind is Kind.F32:
        said = _said(config, model, number.config)
        return Value.scalar(Kind.F32, real(said, number.config, file=_FILE, zero="zero" in number.flags))
    return Value.scalar(number.kind, _needed(config, model, number.config))


def _refuse_other_models(config: Mapping[str, Any], model: Model, rope: Rope, made: Mapping[str, Value]) -> None:
    """What Hugging Face computes and GGUF has no way to say."""
    key, meant = model.activation
    activation = config.get(key)
    if activation is not None and activation not in meant:
        raise ActivationError(f"{key} is {shown(activation)}", file=_FILE)
    if rope.kind not in model.scalings:
        raise UnknownRopeError(f"rope_type {rope.kind}, which {model.name} does not have", file=_FILE)
    for key, values in model.fixed.items():
        if key in config and not any(_same(config[key], value) for value in values):
            raise ConstantError(f"{key} is {shown(config[key])}, and {model.name} has no key for it", file=_FILE)
    for key, implied in model.implied.items():
        said = config.get(key)
        said, computed = implied.default if said is None else said, implied.value(Keys(made, model.name))
        if not _same(said, computed):
            raise ConstantError(f"{key} is {shown(said)}, and llama.cpp computes with {shown(computed)}", file=_FILE)


def _same(said: Any, value: Any) -> bool:
    """Whether two JSON values are equal: true is no number, 4 is 4.0."""
    return isinstance(said, bool) == isinstance(value, bool) and bool(said == value)


def config_of_metadata(
    metadata: Mapping[str, Value], model: Model, rope_freqs: dict[str, Any] | None
) -> dict[str, Any]:
    """config.json for transformers and mlx-lm, but for what only the tensors tell.

    `rope_freqs` holds the llama3 parameters where the model has that tensor. Raises MissingKeyError, UnknownRopeError, and
    the errors of `checked`, `rotary` and `windows`.
    """
    keys = Keys(metadata, model.name)
    config: dict[str, Any] = {"architectures": [model.classes[0]], "model_type": model.model_types[0]}
    for number in model.numbers:
        if number.config not in ("vocab_size", "head_dim") and "rope" not in number.flags:
            config[number.config] = _of_key(keys, number)
    config["head_dim"] = keys.head_dim
    key, meant = model.activation
    config |= {key: meant[0], "use_cache": True}
    config |= {key: values[0] for key, values in model.fixed.items()} | dict(model.written)
    config |= {key: implied.value(keys) for key, implied in model.implied.items()}
    return config | config_of_rope(keys, model, rope_freqs) | config_of_windows(keys, model)


def _of_key(keys: Keys, number: Number) -> Any:
    if number.gguf == "attention.head_count_kv":
        return keys.heads[1]
    if "off" in number.flags and keys.off(number.gguf):
        return None
    if number.kind is Kind.F32:
        value: Any = keys.real(number.gguf, zero="zero" in number.flags)
    else:
        value = keys.whole(number.gguf)
    if value is None and "needed" in number.flags:
        raise MissingKeyError(f"{keys.name(number.gguf)} is missing")
    return value
