"""`--dtype exact`: the first of BF16, F16, F32 that holds every value of every tensor, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES
from rosetta_ref.streaming import value_chunks

_NARROW = ("BF16", "F16")
#: Elements of a tensor that is looked at with others; and how many of those.
_SMALL = 256


def exact_type(tensors: Iterable[Tensor]) -> str:
    """The one float type for a whole model that loses nothing.

    Looks at stored floats first: quantised types rarely fit anything but F32, and end the search at once.
    """
    possible = list(_NARROW)
    for stored, values in _batches(sorted(tensors, key=lambda t: (t.type.is_scalar, t.nbytes))):
        possible = [name for name in possible if name == stored or survives(values, name)]
        if not possible:
            return "F32"
    return possible[0]


def _batches(tensors: Iterable[Tensor]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Values and the type they are stored in; those of many small tensors in one array, for each call takes its time."""
    few: dict[str, list[NDArray[np.float32]]] = {}
    for tensor in tensors:
        if tensor.type.decode is None:
            continue
        if tensor.count > _SMALL:
            yield from ((tensor.type.name, values) for _, values in value_chunks(tensor))
            continue
        gathered = few.setdefault(tensor.type.name, [])
        gathered.append(tensor.values().reshape(-1))
        if len(gathered) == _SMALL:
            yield tensor.type.name, np.concatenate(few.pop(tensor.type.name))
    yield from ((name, np.concatenate(gathered)) for name, gathered in few.items())


def survives(values: NDArray[np.float32], name: str) -> bool:
    """Whether float32 values come back from that type with the same bits."""
    kind = TYPES[name]
    assert kind.encode is not None
    assert kind.decode is not None
    with np.errstate(over="ignore"):
        back = kind.decode(kind.encode(values.reshape(-1)))
    return bool(np.array_equal(back.view(np.uint32), values.reshape(-1).view(np.uint32)))
