"""The extra `fast`: codecs compiled by numba, chosen where it is installed, with the bits of the readable ones.

The NumPy codecs are the specification; nothing here says what a type is. A kernel is the same arithmetic in the same order, written
as a loop over blocks, with the fields of the layout by their names. Read `decoder` below, then `decoding`, which has its kernels;
then `encoder`, `encoding` and, for what takes the time of encoding, `searching`.

`ROSETTA_FAST=0` leaves all to NumPy; `ROSETTA_FAST=1` uses the kernels from the first element on, and is an error where numba
cannot be imported. Without either they wait, see `PATIENCE`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks, Decoder, Encoder, Floats
from rosetta_ref.quant.table import block_dtype

_T = TypeVar("_T")

#: The types that have a kernel.
NAMES = (
    *("BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS"),
)

#: The types whose encoder has compiled searches.
ENCODED = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")

#: Elements that NumPy decodes before numba is loaded. Importing numba takes a third of a second, a kernel from its cache some
#: hundredths, the very first use on a machine half a second for compiling it. This is what NumPy decodes in about that time, so
#: that waiting at most doubles it, and a program that only looks at a few tensors never pays. Once loaded, a kernel is never
#: slower: a call costs less than one operation of NumPy on each field.
PATIENCE = 1 << 27

#: The same for encoding. There is more to compile, some seconds the very first time, and NumPy takes fifty times as long.
ENCODING_PATIENCE = 1 << 24

_decoded = _encoded = 0


class NoNumbaError(RosettaError):
    """`ROSETTA_FAST=1` asks for numba."""


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether numba is installed, and the machine little-endian as the blocks are; numba is not imported for the answer."""
    return sys.byteorder == "little" and find_spec("numba") is not None


@lru_cache(maxsize=1)
def _kernels() -> dict[str, Callable[..., None]]:
    """The compiled kernels; none where numba does not go with this NumPy."""
    try:
        return import_module(f"{__name__}.decoding").KERNELS if available() else {}
    except ImportError:
        return {}


def _kernel(name: str, count: int) -> Callable[..., None] | None:
    """The kernel for the next `count` elements, if they are for one. Threads may lose a count to each other: no harm."""
    global _decoded
    _decoded += count
    return _chosen(_kernels, name, _decoded > PATIENCE)


def _chosen(compiled: Callable[[], dict[str, _T]], name: str, worth: bool) -> _T | None:
    """What is compiled for that type, if it is wanted: by `ROSETTA_FAST`, or because it is worth loading."""
    match os.environ.get("ROSETTA_FAST"):
        case "0":
            return None
        case "1":
            if not compiled():
                raise NoNumbaError(
                    "ROSETTA_FAST=1, but numba cannot be imported: install rosetta-ref[fast], or unset it"
                )
            return compiled()[name]
    return compiled().get(name) if worth else None


@lru_cache(maxsize=1)
def _encoders() -> dict[str, Encoder]:
    """The encoders with compiled searches; none where numba does not go with this NumPy."""
    try:
        return import_module(f"{__name__}.encoding").ENCODERS if available() else {}
    except ImportError:
        return {}


def encoder(name: str, plain: Encoder) -> Encoder:
    """The encoder of that type: with compiled searches where that is worth it, `plain` otherwise."""

    def encode(values: Any, importance: Any = None) -> Blocks:
        global _encoded
        _encoded += np.size(values)
        compiled = _chosen(_encoders, name, _encoded > ENCODING_PATIENCE)
        return (plain if compiled is None else compiled)(values, importance)

    return encode


@lru_cache(maxsize=1)
def _halves() -> Floats:
    """Every f16 as float32, by NumPy's own conversion: numba has none, and so NaN come out the same."""
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def _without_halves(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """The dtype with f16 fields as their bits."""
    return np.dtype([(name, "<u2" if dtype[name] == np.float16 else dtype[name]) for name in dtype.names or ()])


def decoder(name: str, elements: int, plain: Decoder) -> Decoder:
    """The decoder of that type: by its kernel where that is worth it, by `plain` otherwise."""
    stored = block_dtype(name)
    bits = _without_halves(stored)

    def decode(blocks: Any, out: Floats | None = None) -> Floats:
        count = blocks.size * elements
        # A kernel trusts its arguments: it checks no index.
        given = out is None or (out.flags.carray and out.dtype == np.float32 and out.size == count)
        kernel = _kernel(name, count) if given and blocks.dtype == stored else None
        if kernel is None:
            return plain(blocks, out)
        shape = (*blocks.shape[:-1], blocks.shape[-1] * elements) if blocks.ndim else (elements,)
        result = np.empty(shape, np.float32) if out is None else out
        flat = np.ascontiguousarray(blocks).reshape(-1).view(bits)
        flat.flags.writeable = False  # one signature to compile, whether or not the caller's may be written
        kernel(flat, _halves(), result.reshape(-1, elements))
        return result

    return decode
