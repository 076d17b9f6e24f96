"""Shapes: dimensions the wrong way round, one too many, or rows that are no whole number of blocks."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from rosetta_ref import recode
from rosetta_ref.architectures import mixes
from rosetta_ref.archive import Buffer, Tensor
from rosetta_ref.formats.apr import writer as apr_writer
from rosetta_ref.formats.gguf import writer as gguf_writer
from rosetta_ref.formats.safetensors import writer as safetensors_writer
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import Floats
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import in_gguf, in_safetensors, tensor
from rosetta_ref.zoo.member import Member, writing_each
from rosetta_ref.zoo.seams import nothing, replaced, replacing

# --- shapes ------------------------------------------------------------------------------------------------------------------

_pieces, _entry, _header = gguf_writer.pieces_of, apr_writer.entry_of, safetensors_writer.header_of


def _as_they_are(dimensions: Iterable[int]) -> tuple[int, ...]:
    return tuple(dimensions)


def _gguf_unturned(*args: Any, **options: Any) -> list[Any]:
    with replaced(seams.GGUF_TURNED.by(_as_they_are)):
        return _pieces(*args, **options)


def _apr_turned(*args: Any) -> bytes:
    entry = _entry(*args)
    count = entry[1]
    shape = struct.unpack_from(f"<{count}Q", entry, 2)
    return entry[:2] + struct.pack(f"<{count}Q", *shape[::-1]) + entry[2 + 8 * count :]


def _header_turned(tensors: list[Tensor], *rest: Any) -> bytes:
    return _header([replace(one, shape=one.shape[::-1]) for one in tensors], *rest)


def _transposed(one: Tensor) -> Tensor:
    if not one.type.is_scalar or len(one.shape) != 2:
        return one
    data = one.data.view(f"V{one.type.block_bytes}").reshape(one.shape)
    return Tensor.of(one.name, one.type, one.shape[::-1], np.ascontiguousarray(data.T))


def _vector_as_row(one: Tensor) -> Tensor:
    return replace(one, shape=(1, *one.shape)) if len(one.shape) == 1 else one


# --- ragged rows -------------------------------------------------------------------------------------------------------------

_types_of, _encoded = mixes.types_of, recode.encoded


def _types_of_all(mix: Any, tensors: Any, metadata: Any, **options: Any) -> dict[str, str]:
    """The type that is asked for whatever the rows: nothing stands in for it."""
    tensors = list(tensors)
    found = _types_of(mix, [one for one in tensors if not _is_ragged(one, mix.type)], metadata, **options)
    return {one.name: found.get(one.name, mix.type) for one in tensors}


def _is_ragged(one: Tensor, kind: str) -> bool:
    return len(one.shape) > 1 and bool(one.shape[-1] % TYPES[kind].elements)


class _Fits:
    """A size that no other differs from."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def _flattened(one: Tensor, kind: str, weights: Floats | None = None) -> Tensor:
    """Blocks over the rows end to end, the last one padded with zeros; the shape stays what it was."""
    if not _is_ragged(one, kind):
        return _encoded(one, kind, weights)
    elements, encode = TYPES[kind].elements, TYPES[kind].encode
    assert encode is not None
    values = np.zeros(math.ceil(one.count / elements) * elements, np.float32)
    values[: one.count] = one.values().reshape(-1)
    return replace(one, type=TYPES[kind], source=Buffer(encode(values).view(np.uint8).reshape(-1)), offset=None)


_MATRIX = tensor("F32", np.arange(1, 7, dtype="<f4"), (2, 3))
_SYMMETRIC = tensor("F32", np.array([[1, 2], [2, 3]], "<f4"), (2, 2))

MEMBERS = (
    Member(
        "shape-not-reversed", "shape", "aprender #155, #188; aprender 0.25.0",
        "ne order kept, in APR without the row-major flag",
        "any (2, 3) tensor", "square matrices",
        ("G-S", "A-S", "S-G", "A-G", "G-A", "S-A"), ("gguf", "apr", "safetensors"),
        replacing(
            seams.GGUF_PIECES.by(_gguf_unturned), seams.APR_ENTRY.by(_apr_turned), seams.APR_ROW_MAJOR.by(0),
            seams.SAFETENSORS_HEADER.by(_header_turned),
        ),
        in_gguf(_MATRIX),
        in_gguf(tensor("F32", np.arange(1, 5, dtype="<f4"), (2, 2))),
        "https://github.com/paiml/aprender/issues/155",
    ),
    Member(
        "data-transposed-too", "shape", "aprender #155, #188",
        "ne order kept and bytes moved as well: the transpose",
        "any (2, 3) tensor", "symmetric matrices",
        ("G-S", "A-S", "S-G", "A-G", "G-A", "S-A"), ("gguf", "apr", "safetensors"),
        writing_each(_transposed),
        in_gguf(_MATRIX),
        in_gguf(_SYMMETRIC),
        "https://github.com/paiml/aprender/issues/188",
    ),
    Member(
        "vectors-made-rows", "shape", "ours",
        "every tensor is written as a matrix: a vector as one row",
        "any vector", "matrices",
        ("G-S", "A-S", "S-G", "A-G", "G-A", "S-A"), ("gguf", "apr", "safetensors"),
        writing_each(_vector_as_row),
        in_gguf(tensor("F32", np.arange(1, 4, dtype="<f4"), (3,))),
        in_gguf(_MATRIX),
    ),
    Member(
        "ragged-row-flattened", "offsets", "aprender GH-202",
        "ne0 not a multiple of the block: blocks straddle rows",
        "shape (3, 320) into Q4_K", "ne0 a multiple of 256",
        ("S-A", "S-G", "G-A", "A-G", "G-G"), ("gguf", "apr"),
        replacing(
            seams.TYPES_OF.by(_types_of_all), seams.ENCODED.by(_flattened),
            seams.APR_SIZE_OF.by(lambda *_: _Fits()), seams.GGUF_CHECK_TENSOR.by(nothing),
        ),
        in_safetensors(tensor("F32", np.sin(np.arange(960, dtype="<f4")), (3, 320))),
        in_safetensors(tensor("F32", np.sin(np.arange(512, dtype="<f4")), (2, 256))),
        asks="Q4_K",
    ),
)  # fmt: skip
