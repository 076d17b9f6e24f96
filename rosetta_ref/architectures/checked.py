"""Numbers and flags, taken only as what they have to be: those of config.json, and those of GGUF metadata (`Keys`).

Python takes true for 1, and `int` and `float` take texts, so a value that only looks like a number would describe another model
without a word. Each refusal names the key and what stands there.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError

#: Sizes and counts are U32 in GGUF.
LARGEST = (1 << 32) - 1
#: Keys that llama.cpp takes as one number or as an array with one for each layer (src/llama-model.cpp: `get_key_or_arr`).
PER_LAYER = frozenset({"feed_forward_length", "attention.head_count", "attention.head_count_kv"})
_LARGEST_REAL = float(np.finfo(np.float32).max)

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


class WholeNumberError(RosettaError):
    """A size or a count is a whole number from 1 to 4294967295."""


class RealNumberError(RosettaError):
    """A real number is finite and positive, in float32 too."""


class FlagError(RosettaError):
    """A flag is true or false."""


class MissingKeyError(RosettaError):
    """GGUF metadata has the keys that describe the model."""


class LayersDifferError(RosettaError):
    """An array with an entry for each layer says the same of all of them, for Hugging Face has one number."""


class UnevenHeadsError(RosettaError):
    """Where no head size is stated, the hidden size is a whole number of heads."""


class UnevenGroupsError(RosettaError):
    """Each key and value head serves the same number of query heads."""


class OddHeadError(RosettaError):
    """A head has an even number of elements, for rope turns pairs of them."""


class ValueLengthError(RosettaError):
    """The heads of v are as long as those of k: Hugging Face has one head_dim."""


class PartialRotaryError(RosettaError):
    """Rope turns whole heads: neither side of these architectures computes with a part of one."""


def shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    return _short.repr(value)


def whole(value: Any, key: str, *, file: str | Path | None = None) -> int:
    """The value, where it is a size or a count. Raises WholeNumberError."""
    if type(value) is not int or not 0 < value <= LARGEST:  # a bool is an int to isinstance
        raise WholeNumberError(f"{key} is {shown(value)}", file=file)
    return value


def real(value: Any, key: str, *, file: str | Path | None = None, zero: bool = False) -> float:
    """The value, where it is a finite positive number; `zero` allows 0 as well. Raises RealNumberError."""
    number = np.nan
    if type(value) in (int, float) and abs(value) <= _LARGEST_REAL:
        number = float(value)
    if not (np.float32(number) > 0 or (zero and number == 0)):
        raise RealNumberError(f"{key} is {shown(value)}", file=file)
    return number


def flag(value: Any, key: str, *, file: str | Path | None = None) -> bool:
    """The value, where it is a bool; False where it is absent. Raises FlagError."""
    if value is not None and not isinstance(value, bool):
        raise FlagError(f"{key} is {shown(value)}", file=file)
    return bool(value)


class Keys:
    """GGUF metadata of one architecture, asked by the short names of its keys; it does not change meanwhile."""

    def __init__(self, metadata: Mapping[str, Value], architecture: str) -> None:
        self.metadata, self.architecture = metadata, architecture

    def get(self, key: str) -> Any:
        """The plain value of `{architecture}.key`, or None; floats as the shortest decimal that names them."""
        value = self.metadata.get(self.name(key))
        if value is None:
            return None
        if key in PER_LAYER and value.kind is Kind.ARRAY:
            return self._same_in_each_layer(key, value)
        return float(str(np.float32(value.data))) if value.kind is Kind.F32 else value.plain()

    def _same_in_each_layer(self, key: str, value: Value) -> Any:
        """What an array says of every layer. Raises LayersDifferError."""
        plain, layers = value.plain(), self.get("block_count")
        if len(plain) != layers:
            raise LayersDifferError(
                f"{self.name(key)} has {len(plain)} entries, {self.name('block_count')} is {layers}"
            )
        if any(one != plain[0] or type(one) is not int for one in plain):
            raise LayersDifferError(f"{self.name(key)} is {shown(plain)}")
        return plain[0]

    def name(self, key: str) -> str:
        """The key in full."""
        return f"{self.architecture}.{key}"

    def whole(self, key: str) -> int | None:
        """A size or a count, or None where there is no such key. Raises WholeNumberError."""
        value = self.get(key)
        return None if value is None else whole(value, self.name(key))

    def real(self, key: str, *, zero: bool = False) -> float | None:
        """A real number, or None where there is no such key. Raises RealNumberError."""
        value = self.get(key)
        return None if value is None else real(value, self.name(key), zero=zero)

    def off(self, key: str) -> bool:
        """Whether a key says 0, which llama.cpp takes for none of it."""
        value = self.get(key)
        return type(value) in (int, float) and value == 0

    def need(self, key: str) -> int:
        """A size or a count that must be there. Raises MissingKeyError or WholeNumberError."""
        value = self.whole(key)
        if value is None:
            raise MissingKeyError(f"{self.name(key)} is missing")
        return value

    @cached_property
    def heads(self) -> tuple[int, int]:
        """The number of heads of q, and of k and v. Raises UnevenGroupsError."""
        return grouped(self.need("attention.head_count"), self.whole("attention.head_count_kv"))

    @cached_property
    def head_dim(self) -> int:
        """Elements of a head. Raises UnevenHeadsError, OddHeadError, ValueLengthError, PartialRotaryError."""
        heads, width = self.heads[0], self.need("embedding_length")
        size = head_size(self.whole("attention.key_length"), width, heads)
        # llama.cpp takes this default, and not the length of k.
        value = self.whole("attention.value_length") or width // heads
        if value != size:
            raise ValueLengthError(f"the heads of k have {size} elements, those of v {value}")
        turned = self.whole("rope.dimension_count") or size
        if turned != size:
            raise PartialRotaryError(f"{self.name('rope.dimension_count')} is {turned}, a head has {size} elements")
        return size


def grouped(heads: int, kv_heads: int | None) -> tuple[int, int]:
    """The two head counts; as many of k and v as of q where nothing else is said. Raises UnevenGroupsError."""
    if heads % (kv_heads or heads):
        raise UnevenGroupsError(f"{heads} query heads, {kv_heads} key and value heads")
    return heads, kv_heads or heads


def head_size(stated: int | None, width: int, heads: int) -> int:
    """Elements of a head, as stated or as the hidden size splits. Raises UnevenHeadsError or OddHeadError."""
    if stated is None and width % heads:
        raise UnevenHeadsError(f"a hidden size of {width} is not {heads} heads")
    size = stated or width // heads
    if size % 2:
        raise OddHeadError(f"a head has {size} elements")
    return size
