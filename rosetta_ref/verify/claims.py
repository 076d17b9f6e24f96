"""What a conversion claims by the types it chose: to lose nothing, or to be an approximation of some type.

Types are read from the files. A type that holds every value of the source (the same one, a wider float, a narrower one that
happens to hold them all) promises the same numbers, whatever stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.convert.exact import survives
from rosetta_ref.inference.model import Model, Weight
from rosetta_ref.quant import TYPES
from rosetta_ref.streaming import value_chunks

#: The same blocks in another order of nibbles.
_REPACKED = {("Q4_0", "AprQ4"), ("AprQ4", "Q4_0")}
_WIDE = ("F32", "F64")


@dataclass(frozen=True)
class Claim:
    """`type` is the roughest that a considerable part was rounded to, None where nothing was rounded."""

    type: str | None
    same_types: bool
    same_order: bool

    @property
    def lossless(self) -> bool:
        """Whether the same numbers must arrive."""
        return self.type is None


def claim_of(source: Model, target: Model) -> Claim:
    """The claim that the types of two models make."""
    rounded: Counter[str] = Counter()
    same = source.weights.keys() == target.weights.keys()
    for role, weight in target.weights.items():
        origin = source.weights.get(role)
        if origin is None:
            continue
        same = same and origin.tensor.type.name == weight.tensor.type.name
        if not holds(origin, weight):
            rounded[weight.tensor.type.name] += weight.tensor.count
    order = source.parameters.pairing == target.parameters.pairing
    return Claim(_roughest(rounded, sum(weight.tensor.count for weight in target.weights.values())), same, order)


def _roughest(rounded: Mapping[str, int], total: int) -> str | None:
    """Of the types of mixes, which are of several, the one of the fewest bits; a twentieth of all elements counts."""
    names = [name for name, count in rounded.items() if 20 * count >= total] or list(rounded)
    return min(names, key=lambda name: (_bits(name), -rounded[name])) if names else None


def _bits(name: str) -> float:
    """Bits an element."""
    kind = TYPES[name].sized(1 << 20)
    return 8 * kind.block_bytes / kind.elements


def holds(origin: Weight, target: Weight) -> bool:
    """Whether the target's type holds every value of the origin, by its nature or as they happen to be.

    What is looked at is what the target stores: w or 1 + w, as its format has it.
    """
    stored, kind = origin.tensor.type.name, target.tensor.type.name
    shift = np.float32(origin.plus_one) - np.float32(target.plus_one)
    if not shift and (kind in (stored, *_WIDE) or (stored, kind) in _REPACKED):
        return True
    return kind in ("F16", "BF16", *_WIDE) and all(
        _comes_back(values, shift) and (kind in _WIDE or survives(values + shift, kind))
        for _, values in value_chunks(origin.tensor)
    )


def _comes_back(values: NDArray[np.float32], shift: np.float32) -> bool:
    """1 + w is what it is in float32; a w is held by what w comes back from."""
    return bool(shift >= 0) or np.array_equal((values + shift) - shift, values, equal_nan=True)
