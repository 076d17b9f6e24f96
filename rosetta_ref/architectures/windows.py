"""Layers that see a window of the last tokens, and layers that see everything: `layer_types` in config.json.

llama.cpp has a pattern of its own for each architecture (every sixth layer of gemma3 sees everything), which holds where the file
does not say `attention.sliding_window_pattern`, so the key is only written for another one: an array, true for a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import Keys, flag, shown, whole
from rosetta_ref.architectures.record import KEEP_HINT, Model
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError

_FILE = "config.json"
_WORDS = {"sliding_attention": True, "full_attention": False}
PATTERN, WINDOW = "attention.sliding_window_pattern", "attention.sliding_window"


class LayerKindError(RosettaError):
    """A layer sees all tokens; a window of the last ones only where llama.cpp computes one in that architecture."""


class PatternPlaceError(RosettaError):
    """APR's own keys have no place for the layers that see a window, but for those of the architecture."""


class NoWindowError(RosettaError):
    """Where llama.cpp has no window in an architecture, none that is shorter than the context is asked for."""


def refuse_windows(config: Mapping[str, Any], model: Model, layers: int, context: int) -> None:
    """Raise NoWindowError for a window that transformers computes and GGUF cannot say, and WholeNumberError.

    What each class asks is in its configuration and modeling file (transformers 5.24): Mistral's layers all see its window;
    those of Qwen where use_sliding_window is true and layer_types, or max_window_layers, name them.
    """
    classes = config.get("architectures") or model.classes[model.model_types.index(config["model_type"]) :]
    how, said = model.windows.get(classes[0]), config.get("sliding_window", 4096)
    asked = how == "all" or (
        how == "asked" and flag(config.get("use_sliding_window"), "use_sliding_window", file=_FILE)
    )
    if not asked or said is None or whole(said, "sliding_window", file=_FILE) >= context:
        return
    if how == "asked" and config.get("layer_types") is None:
        first = config.get("max_window_layers", 28)
        if type(first) is not int:
            raise NoWindowError(f"max_window_layers is {shown(first)}", file=_FILE)
        if first >= layers:
            return
    elif how == "asked" and not any(_windows(config, model, layers)):
        return
    problem = f"sliding_window is {said} in a context of {context}, and llama.cpp has no window in {model.name}"
    raise NoWindowError(problem, file=_FILE, hint=KEEP_HINT)


def _every(pattern: int, layers: int) -> list[bool]:
    """For each layer, whether it sees a window: all but every so-many-th one."""
    return [bool((layer + 1) % pattern) for layer in range(layers)]


def keys_of_windows(config: Mapping[str, Any], model: Model, layers: int) -> dict[str, Value]:
    """The keys that `layer_types` needs beside the window itself. Raises LayerKindError or WholeNumberError."""
    windows = _windows(config, model, layers)
    without = "sliding_window" in config and config["sliding_window"] is None
    asked = "asked" in model.windows.values() and config.get("use_sliding_window") is True  # and long enough
    if any(windows) and (without or (model.window_pattern is None and not asked)):
        what = (
            f"layer_types is {shown(config.get('layer_types'))}, sliding_window {shown(config.get('sliding_window'))}"
        )
        raise LayerKindError(f"{what} in {model.name}", file=_FILE)
    if model.window_pattern is None or without or windows == _every(model.window_pattern, layers):
        return {}
    return {f"{model.name}.{PATTERN}": Value.array(Kind.BOOL, windows)}


def _windows(config: Mapping[str, Any], model: Model, layers: int) -> list[bool]:
    """For each layer, whether it sees a window, as config.json says it."""
    said = config.get("layer_types")
    if said is None:
        every = config.get("sliding_window_pattern") if model.window_pattern is not None else 1
        return _every(
            model.window_pattern or 1 if every is None else whole(every, "sliding_window_pattern", file=_FILE), layers
        )
    if (
        not isinstance(said, list)
        or len(said) != layers
        or not all(isinstance(word, str) and word in _WORDS for word in said)
    ):
        raise LayerKindError(f"layer_types is {shown(said)}, of {layers} layers", file=_FILE)
    return [_WORDS[word] for word in said]


def config_of_windows(keys: Keys, model: Model) -> dict[str, Any]:
    """`layer_types` for config.json, as llama.cpp reads the keys. Raises LayerKindError or WholeNumberError."""
    if model.window_pattern is None:
        return {}
    layers, said = keys.need("block_count"), keys.get(PATTERN)
    if keys.get(WINDOW) is None or keys.off(WINDOW):
        windows = [False] * layers
    elif isinstance(said, list):
        if len(said) != layers or not all(isinstance(one, bool) for one in said):
            raise LayerKindError(f"{keys.name(PATTERN)} is {shown(said)}, of {layers} layers")
        windows = said
    elif said is not None and keys.off(PATTERN):
        windows = [True] * layers  # llama_hparams::set_swa_pattern
    else:
        windows = _every(model.window_pattern if said is None else whole(said, keys.name(PATTERN)), layers)
    words = {window: word for word, window in _WORDS.items()}
    return {"layer_types": [words[window] for window in windows]}


def require_usual_pattern(metadata: Mapping[str, Value], model: Model) -> None:
    """Raise PatternPlaceError where other layers see a window than do without a word, and LayerKindError or WholeNumberError."""
    keys = Keys(metadata, model.name)
    if keys.get(PATTERN) is None or keys.get(WINDOW) is None or keys.off(WINDOW) or model.window_pattern is None:
        return
    usual = Keys({name: value for name, value in metadata.items() if name != keys.name(PATTERN)}, model.name)
    if config_of_windows(keys, model) != config_of_windows(usual, model):
        raise PatternPlaceError(
            f"{keys.name(PATTERN)} is {shown(keys.get(PATTERN))}", hint="Leave out --no-extra-keys."
        )
