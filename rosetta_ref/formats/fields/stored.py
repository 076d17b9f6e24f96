"""Where a tensor's data lie, the fields that they split into, and their values."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.formats.fields.field import Field, shown
from rosetta_ref.quant import BlockType
from rosetta_ref.quant.block import Floats, RaggedRowError
from rosetta_ref.quant.loaded import loaded_dtype

#: Rows or blocks of one tensor that are told apart.
MOST_ROWS = 4096

#: The codes of `struct`, by NumPy's kind and bytes.
CODES = {
    "f2": "e", "f4": "f", "f8": "d", "u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "u8": "Q", "i8": "q",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A tensor as a file's table has it. `shape` is row-major; `kind` is None where the type is unknown.

    `start` and `stop` are where its data lie, as far as the file goes; `order` is the byte order of its numbers.
    """

    name: str
    kind: BlockType | None
    shape: tuple[int, ...]
    start: int
    stop: int
    order: str = "<"

    def bytes_of(self, data: bytes) -> bytes:
        """Its bytes of the file's, turned little-endian."""
        body = data[self.start : self.stop]
        if self.order == "<" or self.kind is None:
            return body
        dtype = loaded_dtype(self.kind)
        whole = len(body) // dtype.itemsize * dtype.itemsize
        return np.frombuffer(body[:whole], dtype.newbyteorder(">")).astype(dtype).tobytes() + body[whole:]

    def values(self, data: bytes, most: int | None = None) -> Floats | None:
        """Its (first) elements, flat, as far as there are whole blocks; None where the type cannot be decoded."""
        body = self.bytes_of(data)
        if most is not None and self.kind is not None:
            body = body[: self.kind.span(0, most)[1]]
        found = values_of(self.kind, body) if self.kind else None
        return found if found is None or min(self.shape, default=1) < 0 else found[: math.prod(self.shape)]

    def fields(self, data: bytes, most: int = MOST_ROWS) -> Iterator[Field]:
        """Its data, split into rows of numbers or the fields of each block.

        A cut end is one field, and so is what comes after the first `most`.
        """
        label, body = f"data {shown(self.name)}", data[self.start : self.stop]
        kind = self.kind and _sized(self.kind, len(body))
        at = 0
        if self.kind is not None and kind is not None:
            split = self._rows if _is_numbers(self.kind) else self._blocks
            for part, form, row_of in split(kind, body, most):
                piece = body[at : at + struct.calcsize(form)]
                yield Field(self.start + at, piece, f"{label} / {part}", form, kind=row_of)
                at += len(piece)
        if at < len(body):
            why = "type unknown" if self.kind is None else "no whole block"
            yield Field(self.start + at, body[at:], label, f"{len(body) - at}s", why)

    def _rows(self, kind: BlockType, body: bytes, most: int) -> Iterator[tuple[str, str, BlockType | None]]:
        """Rows of a type whose elements are numbers as such."""
        number = kind.dtype[0].base
        left, row = len(body) // kind.block_bytes, 0
        width = self.shape[-1] if self.shape and not kind.padded else left
        while left > 0 and width > 0:
            count = min(width, left) if row < most - 1 else left
            form = f"{self.order}{count * kind.block_bytes // number.itemsize}{_code(number)}"
            name = f"row {row}" if count <= width else f"rows {row} and on"
            yield (name if len(self.shape) > 1 else "values"), form, kind
            left, row = left - count, row + 1

    def _blocks(self, kind: BlockType, body: bytes, most: int) -> Iterator[tuple[str, str, BlockType | None]]:
        dtype = loaded_dtype(kind) if self.order == ">" else kind.dtype
        parts = [(name, _code(dtype[name])) for name in dtype.names or ()]
        count = len(body) // dtype.itemsize
        for number in range(min(count, most)):
            for name, code in parts:
                yield f"block {number} / {name}", self.order + code, None
        if count > most:
            yield f"blocks {most} and on", f"{(count - most) * dtype.itemsize}s", None


def _sized(kind: BlockType, nbytes: int) -> BlockType | None:
    """The type itself; one of one block a tensor as it is in so many bytes."""
    if not kind.is_whole:
        return kind
    count = (nbytes - kind.block_bytes) // kind.element_bytes
    return kind.sized(count) if count > 0 else None


def _is_numbers(kind: BlockType) -> bool:
    return kind.is_scalar or kind.dtype.names == ("x",)


def _code(dtype: np.dtype[Any]) -> str:
    """One field of a block as `struct` has it.

    >>> _code(np.dtype(("<u2", (8,)))), _code(np.dtype("<f2"))
    ('8H', 'e')
    """
    code = CODES[f"{dtype.base.kind}{dtype.base.itemsize}"]
    return f"{dtype.shape[0]}{code}" if dtype.shape else code


def values_of(kind: BlockType, data: bytes) -> Floats | None:
    """The elements of the whole blocks of some bytes; None where the type cannot be decoded."""
    sized = _sized(kind, len(data))
    if sized is None or sized.decode is None:
        return None
    whole = len(data) // sized.block_bytes * sized.block_bytes
    with np.errstate(all="ignore"):
        return sized.decode(sized.blocks(data[:whole])).reshape(-1)


def bytes_wanted(kind: BlockType | None, shape: Sequence[int]) -> int | None:
    """Bytes that such a tensor takes; None where that cannot be said."""
    if kind is None or kind.is_whole or min(shape, default=1) < 0:
        return None
    try:
        return kind.nbytes(shape)
    except RaggedRowError:
        return None
