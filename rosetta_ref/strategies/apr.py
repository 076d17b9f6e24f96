"""Random APR archives.

Payloads are index-coded: a permuted counter, so that whatever moves shows. Everything shrinks towards nothing: no tensors, small
ones, zeros in them, empty metadata.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Bytes, Tensor
from rosetta_ref.formats.apr.tables import ALIASES, CODES, GGML_TYPES, MAX_NAME, TYPED_KEYS
from rosetta_ref.quant import TYPES, BlockType

#: Types with a code of their own.
CODED = tuple(CODES)
#: ggml types that APR carries as bytes.
UNCODED = tuple(name for name, kind in TYPES.items() if kind.id is not None and name not in CODES)

#: "A tensor's name: UTF-8, 1 to 256 bytes."
NAMES = st.text(min_size=1, max_size=40).filter(lambda name: len(name.encode()) <= MAX_NAME)

_NOT_CUSTOM = {GGML_TYPES, *ALIASES, *(alias for names in ALIASES.values() for alias in names)} | {
    key for keys in TYPED_KEYS.values() for key in keys
}
_NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
#: JSON values that every JSON reader takes: no NaN, no lone surrogates (st.text has none).
JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_TYPED: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=12),
    "unsigned": st.integers(0, 2**32 - 1),
    "number": st.floats(0, 1e6, width=32),
    "object": st.nothing(),  # objects of given fields: not random
}


def payload(nbytes: int, seed: int) -> Bytes:
    """Bytes that say where they belong: a counter from 1, permuted, repeated only after 128 KiB. Of seed 0 they are zeros."""
    if not seed:
        return np.zeros(nbytes, np.uint8)
    places = np.random.default_rng(seed).permutation(max(-(-nbytes // 2), 1) % 65536 or 65536) + 1
    return np.resize(places.astype("<u2").view(np.uint8), nbytes)


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """Metadata objects: typed keys of their types, never an alias, and custom keys."""
    typed = {
        key: _TYPED[kind] for kind, keys in TYPED_KEYS.items() if kind != "object" for key in keys
    }  # "rosetta.ggml_types" belongs to the writer
    custom = st.dictionaries(st.text(max_size=12).filter(lambda key: key not in _NOT_CUSTOM), JSON, max_size=4)
    return st.builds(lambda some, other: {**some, **other}, st.fixed_dictionaries({}, optional=typed), custom)


def shapes(kind: BlockType, max_dims: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of whole rows of blocks; scalars and zero-size ones for types of one element a block."""
    if kind.is_scalar or kind.padded or kind.is_whole:
        return st.lists(st.integers(0, 5), max_size=max_dims).map(tuple)
    rows = st.lists(st.integers(0, 3), max_size=max_dims - 1)
    return st.builds(lambda head, blocks: (*head, blocks * kind.elements), rows, st.integers(1, 2))


@st.composite
def archives(draw: st.DrawFn, types: tuple[str, ...] = CODED + UNCODED, max_tensors: int = 6) -> Archive:
    """Archives of any type that APR carries, any names, in any order."""
    names = draw(st.lists(NAMES, max_size=max_tensors, unique=True))
    tensors = {}
    for name in names:
        kind = TYPES[draw(st.sampled_from(types))]
        shape = draw(shapes(kind))
        tensors[name] = Tensor.of(name, kind, shape, payload(kind.nbytes(shape), draw(st.integers(0, 2**32 - 1))))
    return Archive("apr", draw(metadata()), tensors)
