"""A mapping asked for numbers: GGUF's metadata, config.json, or APR's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import foreign
from rosetta_ref.architectures.checked import LARGEST, shown
from rosetta_ref.archive import Value
from rosetta_ref.errors import RosettaError

#: What llama.cpp reads as a number or as one for each layer (src/llama-model.cpp, `load_hparams`).
_PER_LAYER = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")
_LARGEST_REAL = float(np.finfo(np.float32).max)


class ParameterError(RosettaError):
    """A forward pass needs every number of the model, each of a kind that can be computed with."""


class Keys:
    """Each refusal names the key. `silence` is what the absence of a key means; a key that is null has no value of its own."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "", silence: Mapping[str, Any] | None = None) -> None:
        self.values, self.prefix, self.silence = values, prefix, silence or {}

    def get(self, key: str) -> Any:
        """The value as it stands, or what stands for it."""
        if self.prefix + key not in self.values:
            return self.silence.get(key)
        value = self.values[self.prefix + key]
        if isinstance(value, Value) and key in _PER_LAYER and value.item is not None:
            return self._of_each_layer(key, value.plain())
        return value.plain() if isinstance(value, Value) else value

    def _of_each_layer(self, key: str, entries: list[Any]) -> Any:
        """The one number that llama.cpp's array with an entry for each layer says. Raises ParameterError."""
        if len(entries) != self.get("block_count") or any(one != entries[0] for one in entries):
            raise ParameterError(f"{self.prefix}{key} is {shown(entries)}")
        return entries[0]

    def whole(self, key: str, default: int | None = None) -> int:
        """A positive whole number. Raises ParameterError."""
        value = self.get(key)
        value = default if value is None else value
        if type(value) is not int or not 0 < value <= LARGEST:
            raise ParameterError(f"{self.prefix}{key} is {shown(value)}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A number rounded to float32, which is what loaders compute with. Raises ParameterError."""
        value: Any = self.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not abs(value) <= _LARGEST_REAL:  # NaN is no more than anything
            raise ParameterError(f"{self.prefix}{key} is {shown(value)}")
        return float(np.float32(value))

    def real_if_any(self, key: str) -> float | None:
        """The same, and None where there is none."""
        return None if self.get(key) is None else self.real(key)

    def original(self, key: str, other: str, elsewhere: Keys) -> int:
        """The context before it was stretched; where it is 0 or absent, the whole one."""
        stated = self.get(key)
        return elsewhere.whole(other) if stated is None or stated == 0 else self.whole(key)


def parse_json(data: bytes, name: str, path: Path | None = None) -> dict[str, Any]:
    """The JSON object in a file of a model, as loaders read it: NaN is let pass. Raises ForeignTextError."""
    return foreign.json_object(data, file=name if path is None else path, what=name, constants=True)
