"""What a file holds, as stored: tensors with a name, a type, a logical shape and bytes, and typed metadata.

The bytes of a tensor come from a `Source`: a span of a file, a buffer, or a computation over another tensor. All
give any span of bytes on demand, so a conversion streams and its memory does not grow with the model.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import BlockType
from rosetta_ref.quant.block import NoDecoderError

Bytes = NDArray[np.uint8]

#: Bytes that one step of a streaming operation works on: small enough that several in flight stay in the cache (4 MiB
#: measured half as fast), large enough that Python's overhead is nothing.
CHUNK = 1 << 20


class Source(Protocol):
    """Where the bytes of a tensor come from."""

    @property
    def nbytes(self) -> int:
        """Total number of bytes."""

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop; a view where that is possible. Safe to call from several threads."""

    def release(self, start: int, stop: int) -> None:
        """Those bytes are done with: let go of the memory behind them."""


@dataclass(frozen=True)
class Buffer:
    """Bytes in memory."""

    data: Bytes

    @property
    def nbytes(self) -> int:
        """Total number of bytes."""
        return int(self.data.nbytes)

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, as a view."""
        return self.data[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Nothing to let go of."""


#: A span of at most so many bytes is read with what follows it, and looked for there first.
_FEW, _WINDOW = 1 << 10, 1 << 14
_NOTHING = np.empty(0, np.uint8)


class FileChangedError(RosettaError):
    """A file stays as it is while it is read."""


class FileMap:
    """A regular file whose bytes are read by spans, wherever they lie.

    Spans are read into memory of our own: of a file that is cut short while it is mapped, the first touch would end the process
    (SIGBUS), and no handler in Python could say which file it was. Raises what `foreign.open_descriptor` raises.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor = foreign.open_descriptor(self.path)
        self._closed = weakref.finalize(self, os.close, self._descriptor)
        self._found = _stamp(self._descriptor)
        self.size = self._found[0]
        self._last = threading.local()

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, or to the end, not to be written to. Safe to call from several threads.

        Raises FileChangedError where the file is no longer as it was when it was opened.
        """
        stop = min(stop, self.size)
        if 0 < stop - start <= _FEW:
            return self._near(start, stop)
        return self._read(start, stop)

    def _near(self, start: int, stop: int) -> Bytes:
        """A few bytes, with what stands around them: a file may have 10^5 tensors of a few bytes, one behind the other."""
        at, data = getattr(self._last, "window", (0, _NOTHING))
        if start < at or stop > at + data.size:
            at, data = start, self._read(start, min(start + _WINDOW, self.size))
            self._last.window = at, data
        return data[start - at : stop - at]

    def _read(self, start: int, stop: int) -> Bytes:
        data = np.empty(max(stop - start, 0), np.uint8)
        if not self._closed.alive:
            raise ValueError(f"{self.path} was closed")
        try:
            done = _read_into(self._descriptor, data, start) if data.size else 0
        except OSError as error:
            raise FileChangedError(f"cannot be read: {error.strerror}", file=self.path, offset=start) from error
        if done < data.size:
            problem = f"it ends at byte {start + done}, where it had {self.size} bytes when it was opened"
            raise FileChangedError(problem, file=self.path, offset=start + done)
        self.require_unchanged(start)
        return data

    def require_unchanged(self, offset: int | None = None) -> None:
        """Raise FileChangedError where size or time of the last change are not those that were found first."""
        if _stamp(self._descriptor) != self._found:
            raise FileChangedError("somebody else wrote to it meanwhile", file=self.path, offset=offset)

    @property
    def bytes(self) -> Bytes:
        """All of the file, mapped. For files that nobody else has: one that is cut short meanwhile ends the process."""
        if not self.size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ), np.uint8)

    def close(self) -> None:
        """Give up the file; what was read of it stays."""
        self._closed()


def _stamp(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _read_into(descriptor: int, data: Bytes, start: int) -> int:
    """Fill an array with the bytes from there on; how many there were."""
    done, view = 0, memoryview(data)
    while done < data.size:
        if hasattr(os, "preadv"):
            count = os.preadv(descriptor, [view[done:]], start + done)
        else:
            piece = os.pread(descriptor, min(data.size - done, CHUNK), start + done)
            view[done : done + len(piece)], count = piece, len(piece)
        if not count:
            break
        done += count
    return done


@dataclass(frozen=True)
class Span:
    """A span of a file."""

    file: FileMap
    offset: int
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, read anew. Raises FileChangedError."""
        return self.file.read(self.offset + start, self.offset + min(stop, self.nbytes))

    def release(self, start: int, stop: int) -> None:
        """Nothing to let go of: what was read goes with its array."""


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
