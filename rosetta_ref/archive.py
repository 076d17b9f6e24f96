"""What a file holds, as stored: tensors with a name, a type, a logical shape and bytes, and typed metadata.

The bytes of a tensor come from a `Source`: a span of a file, a buffer, or a computation over another tensor. All
give any span of bytes on demand, so a conversion streams and its memory does not grow with the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant import BlockType
from rosetta_ref.quant.block import NoDecoderError
from rosetta_ref.sources import CHUNK, Buffer, Bytes, FileChangedError, FileMap, Source, Span

__all__ = [
    "CHUNK", "Archive", "Buffer", "Bytes", "FileChangedError", "FileMap", "Kind", "Part", "Source", "Span", "Tensor", "Value",
]  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A named array as stored. `shape` is logical and row-major; `offset` is where its bytes begin in `file`."""

    name: str
    type: BlockType
    shape: tuple[int, ...]
    source: Source
    file: Path | None = None
    offset: int | None = None

    @classmethod
    def of(cls, name: str, type: BlockType, shape: tuple[int, ...], data: Any) -> Tensor:  # noqa: A002
        """A tensor over bytes in memory: `data` is any buffer or array."""
        array = np.ascontiguousarray(data) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        return cls(name, type, tuple(int(n) for n in shape), Buffer(array.reshape(-1).view(np.uint8)))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.source.nbytes

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def data(self) -> Bytes:
        """All bytes, as a view where the source is a buffer."""
        return self.source.read(0, self.nbytes)

    def values(self) -> NDArray[np.float32]:
        """All elements as float32, of the tensor's shape. Raises NoDecoderError for a type that cannot be decoded."""
        kind = self.type.sized(self.count)
        if kind.decode is None:
            raise NoDecoderError(
                f"type {kind.name} has no decoder", file=self.file, tensor=self.name, offset=self.offset
            )
        return kind.decode(kind.blocks(self.data))[: self.count].reshape(self.shape)

    def piece(self, first: int, last: int) -> tuple[BlockType, Bytes]:
        """The bytes of all blocks that hold any of elements first..last, and the type of which they are blocks."""
        body = self.source.read(*self.type.span(first, last))
        if not self.type.is_whole:
            return self.type, body
        shared = self.source.read(0, self.type.block_bytes)
        return self.type.sized(last - first), np.concatenate([shared, body])

    def spans(self, size: int = CHUNK) -> Iterator[tuple[int, int]]:
        """Consecutive (start, stop) spans of whole blocks that cover all bytes; none where there are no bytes."""
        unit = self.type.sized(self.count).block_bytes or 1
        step = max(size // unit, 1) * unit
        for start in range(0, self.nbytes, step):
            yield start, min(start + step, self.nbytes)

    def chunks(self, size: int = CHUNK) -> Iterator[Bytes]:
        """All bytes, in pieces of whole blocks; what lies behind a piece is let go of when the next one is asked for."""
        for start, stop in self.spans(size):
            yield self.source.read(start, stop)
            self.source.release(start, stop)


class Kind(IntEnum):
    """The value types of GGUF metadata, by their ids in the file."""

    U8 = 0
    I8 = 1
    U16 = 2
    I16 = 3
    U32 = 4
    I32 = 5
    F32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    U64 = 10
    I64 = 11
    F64 = 12

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The little-endian NumPy type of a value; None for strings and arrays."""
        return _KIND_DTYPES[self._value_]


_CODES = {
    "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "F32": "<f4", "BOOL": "u1",
    "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_KIND_DTYPES = [np.dtype(_CODES[kind.name]) if kind.name in _CODES else None for kind in Kind]


@dataclass(frozen=True, eq=False)
class Value:
    """A typed metadata value.

    `data` is, by kind: for numbers and BOOL a NumPy scalar of `kind.dtype` (so that NaN payloads and a bool of 2 survive); for
    STRING a str (bytes that are not UTF-8 as surrogate escapes); for ARRAY of numbers a 1-D NumPy array of
    `item.dtype`, for ARRAY of STRING a list of str, for ARRAY of ARRAY a list of Value. Equality is by bits.
    """

    kind: Kind
    data: Any
    item: Kind | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or (self.kind, self.item) != (other.kind, other.item):
            return False
        if isinstance(self.data, (str, list)):
            return bool(self.data == other.data)
        return bool(self.data.tobytes() == other.data.tobytes())

    def __hash__(self) -> int:
        return hash((self.kind, self.item))

    @classmethod
    def scalar(cls, kind: Kind, value: Any) -> Value:
        """A number, bool or string of that kind. Raises OverflowError where the number does not fit an integer kind."""
        return (
            cls(kind, value if kind is Kind.STRING else np.array(value).astype(kind.dtype)[()])
            if isinstance(value, (np.generic, str, bytes, float))
            else cls(kind, np.array(value, kind.dtype)[()])
        )

    @classmethod
    def array(cls, item: Kind, values: Any) -> Value:
        """An array of that element kind; strings and nested arrays stay lists."""
        data = list(values) if item in (Kind.STRING, Kind.ARRAY) else np.asarray(values, item.dtype)
        return cls(Kind.ARRAY, data, item)

    def plain(self) -> Any:
        """The value as Python objects: int, float, bool, str or lists of them."""
        if self.item is Kind.ARRAY:
            return [value.plain() for value in self.data]
        if isinstance(self.data, (str, list)):
            return self.data
        plain = self.data.tolist()
        if Kind.BOOL in (self.kind, self.item):
            return [bool(x) for x in plain] if isinstance(plain, list) else bool(plain)
        return plain


@dataclass
class Archive:
    """The content of a model file, of a set of shards, or of a model on its way between two of them.

    `metadata` is ordered. Its values are `Value` for GGUF, plain JSON values for APR, strings (the `__metadata__` of the
    header, of the first shard that has one) for SafeTensors. `tensors` is ordered as stored. `notes` are what a reader
    wants its user to know (a missing footer, say). An archive is a context manager over its files.
    """

    format: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    path: Path | None = None
    parts: tuple[Part, ...] = ()
    notes: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Give up the files."""
        for part in self.parts:
            part.map.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Part:
    """One file of an archive: its bytes, its own metadata, and the names of its tensors in stored order."""

    map: FileMap
    metadata: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
