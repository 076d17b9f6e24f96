"""Which layers look no further back than a window, read from each format in that format's own words.

A token at position p sees the positions above p - window, itself among them: transformers' masking_utils and llama.cpp's
`is_masked_swa` agree on that. What the layers between them do is for an architecture to say, where the file says nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rosetta_ref.architectures.checked import shown
from rosetta_ref.inference.architecture import NoForwardPassError
from rosetta_ref.inference.keys import Keys, ParameterError

#: More layers than any loader takes, and few enough to be written down one by one.
_LAYERS = 1 << 16
_KINDS = {"sliding_attention": True, "full_attention": False}


class Windows(NamedTuple):
    """The tokens that a sliding layer sees, and whether each layer slides; None and nothing where none does."""

    window: int | None = None
    sliding: tuple[bool, ...] = ()


def of_gguf(keys: Keys, layers: int) -> Windows:
    """From the keys that the loader of an architecture reads; one whose record names none has no windows. Raises ParameterError."""
    if "attention.sliding_window" not in keys.silence or not keys.get("attention.sliding_window"):
        return Windows()
    window, pattern = keys.whole("attention.sliding_window"), keys.get("attention.sliding_window_pattern")
    _require_few(layers)
    if type(pattern) is int and pattern >= 0:
        return _windows(window, [pattern == 0 or layer % pattern < pattern - 1 for layer in range(layers)])
    if not isinstance(pattern, list) or len(pattern) != layers or not {type(one) for one in pattern} <= {bool, int}:
        raise ParameterError(f"{keys.prefix}attention.sliding_window_pattern is {shown(pattern)}, of {layers} layers")
    return _windows(window, [bool(one) for one in pattern])


def within(found: Windows, context: int, *, counts: bool) -> Windows:
    """No window, where it is as long as the context and GGUF has no key for one (`counts`): it hides nothing."""
    return found if counts or found.window is None or found.window < context else Windows()


def of_config(keys: Keys, layers: int) -> Windows:
    """From config.json; a configuration class without a window has none. Raises ParameterError and NoForwardPassError."""
    if "sliding_window" not in keys.silence:
        return Windows()
    unused = "use_sliding_window" in keys.silence and not keys.get("use_sliding_window")
    window = None if unused or keys.get("sliding_window") is None else keys.whole("sliding_window")
    kinds: Any = keys.get("layer_types")
    _require_few(layers)
    if kinds is None:
        sliding = _by_default(keys, window, layers)
    elif not isinstance(kinds, list) or len(kinds) != layers or not all(isinstance(kind, str) for kind in kinds):
        raise ParameterError(f"layer_types is {shown(kinds)}, of {layers} layers")
    elif foreign := [kind for kind in kinds if kind not in _KINDS]:
        raise NoForwardPassError(f"a layer's type is {shown(foreign[0])}")
    else:
        sliding = [_KINDS[kind] for kind in kinds]
    if any(sliding) and window is None:
        raise ParameterError("sliding_window is null, and there are layers that slide")
    return _windows(window, sliding)


def _by_default(keys: Keys, window: int | None, layers: int) -> list[bool]:
    """Every layer but each n-th one, or those from one on."""
    if "sliding_window_pattern" in keys.silence:
        pattern = keys.whole("sliding_window_pattern")
        return [(layer + 1) % pattern != 0 for layer in range(layers)]
    first = keys.get("max_window_layers")
    if type(first) is not int:
        raise ParameterError(f"max_window_layers is {shown(first)}")
    return [window is not None and layer >= first for layer in range(layers)]


def _windows(window: int | None, sliding: list[bool]) -> Windows:
    return Windows(window, tuple(sliding)) if any(sliding) else Windows()


def _require_few(layers: int) -> None:
    if layers > _LAYERS:
        raise ParameterError(f"there are {layers} layers, some of which may slide")
