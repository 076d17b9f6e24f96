"""Wrong codecs: how a decoder or an encoder of the reference is replaced wherever it is used.

A type is one object that every table and tensor shares, so its codec is replaced in it; what numba and libggml would do instead is
behind that codec, and out of the way. The tables of SafeTensors hold copies of the plain numbers, which are replaced too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rosetta_ref.formats.safetensors.table import DTYPES
from rosetta_ref.quant import FAMILIES, TYPES
from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.kernel import decoder
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.member import Broken
from rosetta_ref.zoo.seams import replacing

#: The readable codecs, without what numba compiles: name to (decode, encode).
PLAIN: dict[str, tuple[Decoder, Encoder | None]] = {
    name: pair for family in FAMILIES for name, pair in family.CODECS.items()
}

#: Fill in float32 rows, shape (blocks, elements), from blocks.
Kernel = Callable[[Any, Floats], None]


def decoding(kernels: dict[str, Kernel]) -> Broken:
    """The types by name decode by these kernels."""
    return decoding_by({name: decoder(TYPES[name].elements, kernel) for name, kernel in kernels.items()})


def decoding_by(decoders: dict[str, Decoder]) -> Broken:
    """The types by name decode by these decoders."""
    return replacing(*(seams.DECODE.of(kind).by(new) for name, new in decoders.items() for kind in _all(name)))


def encoding(encoders: dict[str, Encoder]) -> Broken:
    """The types by name encode by these encoders."""
    return replacing(*(seams.ENCODE.of(kind).by(new) for name, new in encoders.items() for kind in _all(name)))


def _all(name: str) -> Iterable[Any]:
    copy = DTYPES.get(name)
    return [TYPES[name]] if copy is None or copy is TYPES[name] else [TYPES[name], copy]


def with_scales(name: str, widened: Callable[[Any], Floats]) -> Decoder:
    """The decoder of that type, with its f16 fields read otherwise: `widened` gets their bits."""
    kind = TYPES[name]
    halves = [field for field in kind.dtype.names or () if kind.dtype[field].base == np.dtype("<f2")]
    wide = np.dtype([(f, "<f4" if f in halves else kind.dtype[f]) for f in kind.dtype.names or ()])
    plain, _ = PLAIN[name]

    def decode(blocks: Any, out: Floats | None = None) -> Floats:
        made = np.empty(blocks.shape, wide)
        for name_ in kind.dtype.names or ():
            made[name_] = widened(blocks[name_].view("<u2")) if name_ in halves else blocks[name_]
        return plain(made, out)

    return decode
