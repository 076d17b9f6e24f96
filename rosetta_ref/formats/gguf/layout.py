"""The tables of GGUF, which the reader and the writer share.

| part | fields |
|---|---|
| header | magic, u32 version, i64 number of tensors, i64 number of keys |
| metadata, per key | string key, u32 kind, value |
| tensor table, per tensor | string name, u32 number of dimensions, i64 each (fastest first), u32 type id, u64 offset |
| padding | zeros up to a multiple of the alignment |
| data | per tensor its bytes, at its offset, and zeros up to a multiple of the alignment |

A string is a u64 length and that many bytes of UTF-8. An array is a u32 kind, a u64 count and the items. Offsets count from
the beginning of the data. In a big-endian file all of this but the magic is swapped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from rosetta_ref.archive import Kind
from rosetta_ref.quant import BlockType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
VERSION_WRITTEN = 3

#: Field codes of `struct`, without byte order: header after the magic, item count, string length, tensor table.
HEADER = "Iqq"
KIND = "I"
LENGTH = "Q"
DIMENSIONS = "I"
DIMENSION = "q"
PLACE = "IQ"

ALIGNMENT_KEY = "general.alignment"
ALIGNMENT_KIND = Kind.U32
ALIGNMENT_DEFAULT = 32
#: The GGUF document asks for a multiple of 8; ggml takes any power of two.
ALIGNMENT_LEAST = 8

#: What says that a file is a part of a set, and the kind of each value.
SPLIT_KINDS = {"split.no": Kind.U16, "split.count": Kind.U16, "split.tensors.count": Kind.I32}
SPLIT_NUMBER, SPLIT_COUNT, SPLIT_TENSORS = SPLIT_KINDS

#: Ids that ggml once used. Their blocks were laid out for one CPU at a time, or superseded.
REMOVED_TYPES = {
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}  # fmt: skip

#: Bytes of a key (the GGUF document).
KEY_LIMIT = 2**16 - 1
#: Bytes of a string, items of an array (ggml).
LENGTH_LIMIT = 2**30
#: Bytes of a tensor name: the GGUF document's limit for readers, ggml's for writers.
NAME_LIMIT_READ, NAME_LIMIT_WRITTEN = 64, 63
#: Dimensions: NumPy has no more than 32 everywhere, ggml no more than 4.
DIMENSION_LIMIT_READ, DIMENSION_LIMIT_WRITTEN = 32, 4
#: Elements and bytes of a tensor, counts: what an i64 holds.
SIZE_LIMIT = 2**63 - 1
#: Arrays within arrays: the format sets no limit, Python's stack does.
DEPTH_LIMIT = 64


def least_size(*codes: str) -> int:
    """Bytes that an entry of these fields takes at least."""
    return struct.calcsize("<" + "".join(codes))


KEY_LEAST = least_size(LENGTH, KIND, "B")
TENSOR_LEAST = least_size(LENGTH, DIMENSIONS, PLACE)
ARRAY_LEAST = least_size(KIND, LENGTH)
STRING_LEAST = least_size(LENGTH)


def holds(kind: BlockType) -> bool:
    """Whether ggml has an id for that type."""
    return kind.id is not None


def turned(dimensions: Iterable[int]) -> tuple[int, ...]:
    """GGUF's `ne` (fastest first) as a row-major shape, or the other way round. Nothing else reverses dimensions."""
    return tuple(dimensions)[::-1]


def padding(position: int, alignment: int) -> int:
    """Bytes from a position to the next multiple of the alignment."""
    return -position % alignment
