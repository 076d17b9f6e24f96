"""Random GGUF archives: metadata of every kind, tensors of every type that ggml has.

What is drawn is what `formats.gguf.write` takes: strictly by default, all that the format allows with `lenient=True`.
Payloads are index-coded, so that whatever moves shows, or special: bytes that are NaN, Inf or zero in most types. Shrinks
towards no metadata and no tensors, and a tensor towards F32 of no dimensions, which is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Bytes, Kind, Tensor, Value
from rosetta_ref.formats.gguf import layout
from rosetta_ref.quant import TYPES, BlockType

#: Types with a ggml id, by name.
GGML_TYPES = tuple(name for name, kind in TYPES.items() if kind.id is not None)
NUMBERS = tuple(kind for kind in Kind if kind.dtype is not None)
#: Bytes that are NaN, Inf, the largest number, a subnormal or minus zero in some type, repeated over a tensor.
_SPECIAL = [
    b"\0", b"\xff", b"\x7f", b"\x80", b"\x00\x7c", b"\x01\x7c", b"\x80\x7f", b"\x81\x7f", b"\x00\x00\x80\x7f",
    b"\x01\x00\x80\x7f", b"\x00\x00\xc0\xff", b"\x01\x00\x00\x00", b"\x00\x80", b"\xff\xfb",
]  # fmt: skip


def _texts(lenient: bool, *, nul: bool = True, **sizes: int) -> st.SearchStrategy[str]:
    """Any Unicode; with `lenient` also bytes that are not UTF-8, as surrogate escapes."""
    plain = st.text(st.characters(codec="utf-8", exclude_characters="" if nul else "\0"), **sizes)
    raw = st.binary(**sizes).map(lambda data: data.decode("utf-8", "surrogateescape"))
    return st.one_of(plain, raw) if lenient else plain


def _fits(limit: int) -> Any:
    return lambda name: len(name.encode("utf-8", "surrogateescape")) <= limit


def keys(*, lenient: bool = False) -> st.SearchStrategy[str]:
    """Metadata keys: not empty, and none of those that change how a file is read."""
    reserved = {layout.ALIGNMENT_KEY, *layout.SPLIT_KINDS}
    return _texts(lenient, nul=lenient, min_size=1, max_size=20).filter(lambda key: key not in reserved)


def tensor_names(*, lenient: bool = False) -> st.SearchStrategy[str]:
    """Any name of at most 63 bytes, the empty one included."""
    limit = 200 if lenient else layout.NAME_LIMIT_WRITTEN
    return _texts(lenient, nul=lenient, max_size=limit).filter(_fits(limit))


def _raw(kind: Kind, count: int, *, lenient: bool) -> st.SearchStrategy[Any]:
    """`count` numbers of a kind, drawn as bytes: NaN payloads and all."""
    assert kind.dtype is not None
    if kind is Kind.BOOL and not lenient:
        return st.lists(st.integers(0, 1), min_size=count, max_size=count).map(lambda bits: np.array(bits, np.uint8))
    size = count * kind.dtype.itemsize
    return st.binary(min_size=size, max_size=size).map(lambda data: np.frombuffer(data, kind.dtype))


@st.composite
def arrays(draw: st.DrawFn, *, lenient: bool = False, depth: int = 2) -> Value:
    """Arrays of any kind, empty ones included; with `lenient` also of arrays, `depth` deep."""
    item = draw(st.sampled_from((*NUMBERS, Kind.STRING, *([Kind.ARRAY] if lenient and depth else []))))
    if item is Kind.STRING:
        return Value(Kind.ARRAY, draw(st.lists(_texts(lenient, max_size=8), max_size=4)), item)
    if item is Kind.ARRAY:
        return Value(Kind.ARRAY, draw(st.lists(arrays(lenient=lenient, depth=depth - 1), max_size=3)), item)
    return Value(Kind.ARRAY, draw(st.integers(0, 5).flatmap(lambda count: _raw(item, count, lenient=lenient))), item)


def metadata_values(*, lenient: bool = False) -> st.SearchStrategy[Value]:
    """Values of all thirteen kinds."""
    numbers = st.sampled_from(NUMBERS).flatmap(
        lambda kind: _raw(kind, 1, lenient=lenient).map(lambda data: Value(kind, data[0]))
    )
    strings = _texts(lenient, max_size=30).map(lambda text: Value(Kind.STRING, text))
    return st.one_of(numbers, strings, arrays(lenient=lenient))


def payload(nbytes: int, seed: int) -> Bytes:
    """Index-coded bytes: each pair says where it stands, in an order that the seed picks."""
    places = np.arange(-(-nbytes // 2), dtype=np.uint32) * np.uint32(2 * seed + 1) + np.uint32(seed)
    return places.astype("<u2").view(np.uint8)[:nbytes]


@st.composite
def tensors(
    draw: st.DrawFn, name: str, *, types: tuple[str, ...] = GGML_TYPES, max_dims: int = layout.DIMENSION_LIMIT_WRITTEN
) -> Tensor:
    """A tensor of that name: scalars, zero-size ones and `max_dims` dimensions included."""
    kind: BlockType = TYPES[draw(st.sampled_from(types))]
    least = 0 if kind.is_scalar else 1
    shape = draw(st.lists(st.integers(0, 4), min_size=least, max_size=max_dims))
    if shape:
        shape[-1] *= kind.elements
    nbytes = kind.nbytes(shape)
    special = draw(st.sampled_from(_SPECIAL) | st.none())  # zeros are the simplest
    data = (
        payload(nbytes, draw(st.integers(0, 99)))
        if special is None
        else np.resize(np.frombuffer(special, np.uint8), nbytes)
    )
    return Tensor.of(name, kind, tuple(shape), data)


@st.composite
def gguf_archives(
    draw: st.DrawFn,
    *,
    lenient: bool = False,
    types: tuple[str, ...] = GGML_TYPES,
    max_tensors: int = 6,
    max_dims: int | None = None,
) -> Archive:
    """Archives of any tensors and any metadata, with alignments of 8 to 4096 (1 to 4096 with `lenient`), or the default."""
    metadata = draw(st.dictionaries(keys(lenient=lenient), metadata_values(lenient=lenient), max_size=5))
    least = 0 if lenient else 3
    power = draw(st.none() | st.integers(least, 12))
    if power is not None:
        items = list(metadata.items())
        items.insert(draw(st.integers(0, len(items))), (layout.ALIGNMENT_KEY, Value.scalar(Kind.U32, 2**power)))
        metadata = dict(items)
    most = max_dims or (6 if lenient else layout.DIMENSION_LIMIT_WRITTEN)
    names = draw(st.lists(tensor_names(lenient=lenient), unique=True, max_size=max_tensors))
    found = [draw(tensors(name, types=types, max_dims=most)) for name in names]
    return Archive("gguf", metadata, {tensor.name: tensor for tensor in found})
