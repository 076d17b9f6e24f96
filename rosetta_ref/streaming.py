"""The numbers of a tensor, a chunk at a time, for whatever its type.

Chunks have the same number of elements whatever the type, so those of two tensors of one shape can be paired.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.quant.block import Floats, NoDecoderError

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

#: Elements of a chunk: a whole number of blocks of every type, and small enough to stay in a cache.
STEP = 1 << 18

#: How many chunks are worked on at once: NumPy, zlib and the system calls let go of Python's lock. More than a few threads only
#: wait for the memory.
THREADS = max(2, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))

#: Bytes that are sooner worked through than threads are started for them, which takes a millisecond or two.
FEW = 1 << 18


def each(function: Callable[[_Item], _Made], items: Iterable[_Item], nbytes: int) -> Iterator[_Made]:
    """What a function makes of each item, in order: by a few threads, unless the items have few bytes in all.

    Small items go to a thread in batches: to hand one over takes longer than to work on it.
    """
    if nbytes <= FEW:
        yield from map(function, items)
        return
    items = list(items)
    size = max(min(FEW * len(items) // nbytes, len(items) // (4 * THREADS)), 1)
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    with ThreadPoolExecutor(THREADS) as pool:
        for made in pool.map(lambda batch: [function(item) for item in batch], batches):
            yield from made


def value_chunks(tensor: Tensor, step: int = STEP, out: Floats | None = None) -> Iterator[tuple[int, Floats]]:
    """The index of a chunk's first element, in row-major order, and its values as float32; none for an empty tensor.

    `out` (all elements, flat) is where chunks are decoded to, as far as they are whole blocks: such a chunk is a part of it. What
    lies behind a chunk is let go of when the next one is asked for. Raises NoDecoderError for a type that cannot be decoded.
    """
    kind = tensor.type
    if kind.decode is None:
        raise NoDecoderError(
            f"type {kind.name} has no decoder", file=tensor.file, tensor=tensor.name, offset=tensor.offset
        )
    for first in range(0, tensor.count, step):
        count = min(step, tensor.count - first)
        piece, data = tensor.piece(first, first + count)
        assert piece.decode is not None
        place = None if out is None or count % piece.elements else out[first : first + count]
        yield first, piece.decode(piece.blocks(data), place)[:count]
        tensor.source.release(*kind.span(first, first + count))


def byte_of(tensor: Tensor, element: int) -> int:
    """Where the block of an element begins, counted from the start of the tensor."""
    return tensor.type.span(element, element)[0]


def index_of(tensor: Tensor, element: int) -> tuple[int, ...]:
    """The index of an element given by its place in row-major order."""
    return tuple(int(i) for i in np.unravel_index(element, tensor.shape)) if tensor.shape else ()
