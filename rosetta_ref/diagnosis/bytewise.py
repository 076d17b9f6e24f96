"""Bytes from another place, in another order, or read as another type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Bytes, FileMap, Tensor
from rosetta_ref.diagnosis.cause import Cause
from rosetta_ref.diagnosis.change import Change
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import RaggedRowError

#: How far around its place the data of a tensor is looked for: paddings of a few tensors.
_NEAR = 4096
#: How far where it has to be decoded first.
_NEAR_DECODED = 256
#: Fields that hold codes of four bits, two a byte, and the types that have them.
_NIBBLES = {
    "qs": ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "IQ4_NL", "IQ4_XS", "MXFP4", "AprQ4"),
    "ql": ("Q6_K",),
}
#: Elements that are looked at before all are: a whole block of any type.
_FIRST = 256


def relabelled(before: Tensor, after: Tensor) -> Iterator[Change]:
    """Whole words of the bytes as they were, in a shape of their own or followed by zeros, under another type."""
    if before.type.name == after.type.name or not after.type.is_scalar:
        return
    length = min(before.nbytes, after.nbytes) // after.type.block_bytes * after.type.block_bytes
    if not length or after.data[length:].any() or before.nbytes - length >= after.type.block_bytes > 0:
        return
    made = np.zeros(after.nbytes, np.uint8)
    made[:length] = before.data[:length]
    yield Change(
        (_read_as(before.type, after.type),), Tensor.of(before.name, after.type, after.shape, made), (None,)
    )  # fmt: skip


def _read_as(kind: BlockType, other: BlockType) -> Cause:
    if other.name == "F32" and not kind.is_scalar:
        return Cause("quant-bytes-read-as-f32", f"what reading {kind.name} blocks as f32 gives")
    return Cause("bytes-read-as-another-type", f"the bytes of {kind.name}, read as {other.name}")


def changes(before: Tensor, after: Tensor) -> Iterator[Change]:
    """Each of what may have been done to the bytes of a tensor."""
    yield from _nibbles(before)
    yield from _swapped(before)
    yield from _shifted(before, after)
    yield from _as_other_types(before, after)


def _nibbles(before: Tensor) -> Iterator[Change]:
    for field, names in _NIBBLES.items():
        if before.type.name in names:
            blocks = before.type.blocks(before.data).copy()
            blocks[field] = blocks[field] >> 4 | blocks[field] << 4
            cause = Cause(
                "nibbles-swapped", f"lower and upper nibble of each byte of {before.type.name} in each other's place"
            )
            yield Change((cause,), Tensor.of(before.name, before.type, before.shape, blocks))


def _swapped(before: Tensor) -> Iterator[Change]:
    """Every number, or every pair of bytes, back to front."""
    size = before.type.block_bytes
    if before.type.is_scalar and size > 1:
        cause = Cause("bytes-swapped", f"the bytes of each {before.type.name} are in the opposite order")
        data = before.data.view(f"u{size}").byteswap()
        yield Change((cause,), Tensor.of(before.name, before.type, before.shape, data))
    elif before.nbytes % 2 == 0:
        cause = Cause("bytes-swapped", "every pair of bytes is in the opposite order")
        data = np.ascontiguousarray(before.data).view("<u2").byteswap()
        yield Change((cause,), Tensor.of(before.name, before.type, before.shape, data))


# Elsewhere in the file


def _shifted(before: Tensor, after: Tensor) -> Iterator[Change]:
    """The bytes of the source file some bytes earlier or later; zeros beyond its end."""
    if before.file is None or before.offset is None or not before.nbytes:
        return
    file = FileMap(before.file)
    for shift in _shifts(file, before, after):
        where = "later" if shift > 0 else "earlier"
        cause = Cause("shifted", f"the bytes that stand {abs(shift)} bytes {where} in the source")
        data = _span(file, before.offset + shift, before.nbytes)
        yield Change((cause,), Tensor.of(before.name, before.type, before.shape, data))


def _span(file: FileMap, start: int, count: int) -> Bytes:
    """That many bytes of a file, zeros in front of it and behind it."""
    made = np.zeros(count, np.uint8)
    before = min(max(-start, 0), count)
    found = file.read(start + before, max(start + count, 0))
    made[before : before + found.size] = found
    return made


def _shifts(file: FileMap, before: Tensor, after: Tensor) -> Iterator[int]:
    """Those after which the first elements are those of the target, the nearest first."""
    assert before.offset is not None
    if before.type.name == after.type.name:
        near = _span(file, before.offset - _NEAR, 2 * _NEAR + 64).tobytes()
        head, found, place = after.data[:64].tobytes(), [], -1
        while (place := near.find(head, place + 1)) >= 0:
            found.append(place - _NEAR)
        yield from sorted((shift for shift in found if shift and before.offset + shift >= 0), key=abs)[:8]
        return
    if before.type.decode is None or after.type.decode is None or before.type.is_whole:
        return
    count = min(_FIRST, before.count)
    size = before.type.span(0, count)[1]
    wanted = after.values().reshape(-1)[:count]
    for shift in sorted(range(-_NEAR_DECODED, _NEAR_DECODED + 1), key=abs):
        if shift and before.offset + shift >= 0:
            made = _decoded(before.type, _span(file, before.offset + shift, size))[:count]
            if np.array_equal(made, wanted, equal_nan=True):
                yield shift


def _decoded(kind: BlockType, data: Bytes) -> NDArray[Any]:
    assert kind.decode is not None
    with np.errstate(all="ignore"):
        return kind.decode(kind.blocks(data)).reshape(-1)


def _as_other_types(before: Tensor, after: Tensor) -> Iterator[Change]:
    """The bytes from the same place on, taken for those of another type, and decoded as that."""
    if after.type.decode is None or not before.count:
        return
    wanted = after.values().reshape(-1)[:_FIRST]
    for kind in TYPES.values():
        if kind.name == before.type.name or kind.decode is None or kind.is_whole:
            continue
        try:
            size = kind.nbytes(before.shape)
        except RaggedRowError:
            continue
        data = _from_there(before, size)
        head = kind.span(0, wanted.size)[1]
        if np.array_equal(_decoded(kind, data[:head])[: wanted.size], wanted, equal_nan=True):
            cause = _read_as(before.type, kind)
            yield Change((cause,), replace(Tensor.of(before.name, kind, before.shape, data)))


def _from_there(before: Tensor, size: int) -> Bytes:
    if size > before.nbytes and before.file is not None and before.offset is not None:
        return _span(FileMap(before.file), before.offset, size)
    made = np.zeros(size, np.uint8)
    made[: min(size, before.nbytes)] = before.data[:size]
    return made
