"""A model in smaller sizes: tensors cut to their leading rows and columns, and the numbers that state a size say the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from rosetta_ref.archive import Tensor, Value
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.model import Model
from rosetta_ref.reduce.passes.cut import resized
from rosetta_ref.reduce.passes.vocabulary import with_vocabulary
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.sizes import KEYS, Sizes, config_of, model_of, place_of


def resize(given: Given, old: Sizes, new: Sizes) -> Given:
    """The model in smaller sizes. Raises ValueError where one of its tensors cannot be cut so."""
    model = model_of(given)
    kept = [name for name, tensor in given.tensors.items() if _stays(tensor, model, new.layers)]

    def cut(tensor: Tensor) -> Tensor:
        found = place_of(tensor, model)
        if found is None:
            return tensor
        shape = new.shape(found.letters)
        return tensor if shape == tensor.shape else resized(tensor, shape)

    made = given.only(kept).with_tensors(cut)
    if new.tokens < old.tokens:
        made = with_vocabulary(made, new.tokens)
    changed = {name: getattr(new, name) for name in KEYS if getattr(new, name) != getattr(old, name)}
    return _stated(made, changed)


def _stays(tensor: Tensor, model: Model, layers: int) -> bool:
    found = place_of(tensor, model)
    return found is None or found.layer is None or found.layer < layers


def _stated(given: Given, changed: Mapping[str, int]) -> Given:
    """With the numbers that are stated already, changed."""
    keys = {key: value for name, value in changed.items() for key in KEYS[name]}
    with_keys = _STATED.get(given.format)
    return with_keys(given, keys) if with_keys is not None else given


def _stated_in_gguf(given: Given, keys: Mapping[str, int]) -> Given:
    architecture = mapping.architecture_of(given.metadata)
    metadata = dict(given.metadata)
    for key, value in keys.items():
        if (name := f"{architecture}.{key}") in metadata:
            metadata[name] = Value.scalar(metadata[name].kind, value)
    return given.with_metadata(metadata)


def _stated_in_apr(given: Given, keys: Mapping[str, int]) -> Given:
    words = {row.apr: keys[row.gguf] for row in model_of(given).numbers if row.gguf in keys}
    return given.with_metadata({key: words.get(key, value) for key, value in given.metadata.items()})


def _stated_in_config(given: Given, keys: Mapping[str, int]) -> Given:
    model = model_of(given)
    words = {row.hugging_face: keys[row.gguf] for row in model.numbers if row.gguf in keys}
    config = {key: words.get(key, value) for key, value in config_of(given).items()}
    with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):  # of no such numbers follows anything
        implied = model.implied(
            {row.gguf: config[row.hugging_face] for row in model.numbers if row.hugging_face in config}
        )
        config |= {key: value for key, value in implied.items() if key in config}
    return given.with_json("config.json", config) if config else given


_STATED: dict[str, Callable[[Given, Mapping[str, int]], Given]] = {
    "gguf": _stated_in_gguf, "apr": _stated_in_apr, "safetensors": _stated_in_config,
}  # fmt: skip
