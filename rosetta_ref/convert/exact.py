"""`--dtype exact`: the first of BF16, F16, F32 that holds every value of every tensor, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.streaming import value_chunks

_NARROW = ("BF16", "F16")


def exact_type(tensors: Iterable[Tensor]) -> str:
    """The one float type for a whole model that loses nothing.

    Looks at stored floats first: quantised types rarely fit anything but F32, and end the search at once.
    """
    possible = list(_NARROW)
    for tensor in sorted(tensors, key=lambda t: (t.type.is_scalar, t.nbytes)):
        possible = [name for name in possible if _fits(tensor, name)]
        if not possible:
            return "F32"
    return possible[0]


def _fits(tensor: Tensor, name: str) -> bool:
    if tensor.type.name == name or tensor.type.decode is None:
        return True
    return all(survives(values, name) for _, values in value_chunks(tensor))


def survives(values: NDArray[np.float32], name: str) -> bool:
    """Whether float32 values come back from that type with the same bits."""
    kind = TYPES[name]
    assert kind.encode is not None
    assert kind.decode is not None
    with np.errstate(over="ignore"):
        back = kind.decode(kind.encode(values.reshape(-1)))
    return bool(np.array_equal(back.view(np.uint32), values.reshape(-1).view(np.uint32)))
