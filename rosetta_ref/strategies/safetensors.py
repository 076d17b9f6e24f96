"""Random SafeTensors archives.

Payloads are index-coded: every byte of a tensor follows from its place and a seed, so whatever moves shows. Shrinks
towards no tensors, and a tensor towards one element that is zero.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Bytes, Tensor
from rosetta_ref.formats.safetensors import DTYPES

#: Any Unicode text; the format knows no other limit on a name but that it is not the key of the metadata.
NAMES = st.text(max_size=20).filter(lambda name: name != "__metadata__")


def payload(nbytes: int, seed: int) -> Bytes:
    """Bytes that say where they belong: a counter from 1, permuted, repeated only after 128 KiB. Of seed 0 they are zeros."""
    if not seed:
        return np.zeros(nbytes, np.uint8)
    places = np.random.default_rng(seed).permutation(max(-(-nbytes // 2), 1) % 65536 or 65536) + 1
    return np.resize(places.astype("<u2").view(np.uint8), nbytes)


@st.composite
def shapes(draw: st.DrawFn, dtype: str, max_dims: int = 5) -> tuple[int, ...]:
    """Shapes of at most `max_dims` dimensions, scalars and zero-size ones too, that fill whole bytes of a dtype."""
    shape = draw(st.lists(st.integers(0, 7), max_size=max_dims))
    elements = DTYPES[dtype].elements
    if math.prod(shape) % elements:
        shape.append(elements)  # sub-byte types: only shapes that end on a byte boundary can be stored
    return tuple(shape)


@st.composite
def archives(draw: st.DrawFn, dtypes: tuple[str, ...] = tuple(DTYPES), max_tensors: int = 6) -> Archive:
    """Archives of any dtype of the format, any names, with or without metadata."""
    names = draw(st.lists(NAMES, max_size=max_tensors, unique=True))
    tensors = {}
    for name in names:
        kind = DTYPES[draw(st.sampled_from(dtypes))]
        shape = draw(shapes(kind.name))
        data = payload(kind.nbytes(shape), draw(st.integers(0, 2**32 - 1)))
        tensors[name] = Tensor.of(name, kind, shape, data)
    metadata = draw(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3))
    return Archive("safetensors", dict(metadata), tensors)
