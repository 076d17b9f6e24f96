"""The extra `fast`: decoders compiled by numba, chosen where it is installed, with the bits of the readable ones.

The NumPy codecs are the specification; nothing here says what a type is. A kernel is the same arithmetic in the same order, written
as a loop over blocks, with the fields of the layout by their names. Read `decoder` below, then the kernels: `legacy`, `kquants`, `iq4`.

`ROSETTA_FAST=0` leaves all to NumPy, `ROSETTA_FAST=1` uses the kernels from the first element on. Without either they wait:
importing numba takes a third of a second and loading a kernel from its cache some hundredths, while the very first use on a machine
compiles it, half a second. A program that only looks at a few tensors would be slower for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from rosetta_ref.quant.block import Decoder, Floats
from rosetta_ref.quant.table import block_dtype

#: name: the module that has its kernel
KERNELS = {
    **dict.fromkeys(("BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"), "legacy"),
    **dict.fromkeys(("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"), "kquants"),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "iq4"),
}

#: Elements that NumPy decodes before numba is loaded: about as long as loading takes, so waiting at most doubles the time.
PATIENCE = 1 << 27

#: Below this, calling a kernel costs more than it saves.
_FEWEST = 1 << 10

_decoded = 0


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether there is a numba that can be used; it is not imported for that."""
    return sys.byteorder == "little" and find_spec("numba") is not None


def _wanted(count: int) -> bool:
    """Whether the next `count` elements are for a kernel. Threads may lose a count to each other, which does no harm."""
    global _decoded
    setting = os.environ.get("ROSETTA_FAST", "")
    if setting in ("0", "1"):
        return setting == "1" and available()
    _decoded += count
    return count >= _FEWEST and _decoded > PATIENCE and available()


@lru_cache(maxsize=None)
def _kernel(name: str) -> Callable[..., None]:
    module = import_module(f"{__name__}.{KERNELS[name]}")
    return module.KERNELS[name]  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _halves() -> Floats:
    """Every f16 as float32, by NumPy's own conversion: numba has none, and so NaN come out the same."""
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def _without_halves(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """The dtype with f16 fields as their bits."""
    fields = dtype.fields or {}
    return np.dtype([(name, "<u2" if kind == np.float16 else kind) for name, (kind, *_) in fields.items()])


def decoder(name: str, elements: int, plain: Decoder) -> Decoder:
    """The decoder of that type: by its kernel where that is worth it, by `plain` otherwise."""
    stored = block_dtype(name)
    bits = _without_halves(stored)

    def decode(blocks: Any, out: Floats | None = None) -> Floats:
        usable = blocks.dtype == stored and (out is None or (out.flags.c_contiguous and out.dtype == np.float32))
        if not usable or not _wanted(blocks.size * elements):
            return plain(blocks, out)
        shape = (*blocks.shape[:-1], blocks.shape[-1] * elements) if blocks.ndim else (elements,)
        result = np.empty(shape, np.float32) if out is None else out
        flat = np.ascontiguousarray(blocks).reshape(-1).view(bits)
        flat.flags.writeable = False  # one signature to compile, whether or not the caller's may be written
        _kernel(name)(flat, _halves(), result.reshape(-1, elements))
        return result

    return decode
