"""A block type: a layout that is one line of text, and the pair of functions that goes between blocks and float32.

A layout such as ``"d:f16 | dmin:f16 | scales:12xu8 | qs:128xu8"`` names the fields in file order. From it come the
NumPy structured type, the size, the hex annotator's fields and the documentation, so none of them can disagree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import RosettaError

Blocks = NDArray[np.void]
Floats = NDArray[np.float32]


class RaggedRowError(RosettaError):
    """A row holds a whole number of blocks."""


class NoDecoderError(RosettaError):
    """Only a type with a decoder can be read as numbers; others are carried as bytes."""


class Decoder(Protocol):
    """Blocks of shape (..., n) to float32 of shape (..., n * elements); writes into `out` when given."""

    def __call__(self, blocks: Any, out: Floats | None = None) -> Floats:
        """Decode."""


class Encoder(Protocol):
    """Float32 of shape (..., n * elements) to blocks of shape (..., n); `importance` is one weight per column."""

    def __call__(self, values: Any, importance: Any = None) -> Blocks:
        """Encode."""


_FIELD = re.compile(r"^(\w+):(?:(\d+|\*)x)?([iuf]\d+)$")
_SCALARS = {"f16": "<f2", "f32": "<f4", "f64": "<f8"} | {
    f"{s}{8 * n}": f"<{s}{n}" if n > 1 else f"{s}1" for s in "iu" for n in (1, 2, 4, 8)
}


def layout_dtype(layout: str, count: int = 0) -> np.dtype[np.void]:
    """The packed little-endian structured dtype of a layout; `count` stands in for a ``*``.

    >>> layout_dtype("d:f16 | qs:16xu8").itemsize
    18
    """
    fields: list[Any] = []
    for part in layout.split("|"):
        match = _FIELD.match(part.strip())
        if match is None:
            raise ValueError(f"not a layout field: {part!r}")
        name, repeat, scalar = match.groups()
        shape = () if repeat is None else (count if repeat == "*" else int(repeat),)
        fields.append((name, _SCALARS[scalar], shape))
    return np.dtype(fields)


@dataclass(frozen=True)
class BlockType:
    """One element type of any of the three formats.

    `id` is the ggml type id, None for types that ggml does not have. `elements` is the number of elements in a block;
    0 means one block for the whole tensor (AprQ8), see `sized`. `padded` types run over the flattened tensor and pad
    the last block, instead of asking that every row be a whole number of blocks.
    """

    name: str
    id: int | None
    elements: int
    layout: str
    decode: Decoder | None = None
    encode: Encoder | None = None
    padded: bool = False
    dtype: np.dtype[np.void] = field(init=False, repr=False)
    #: Bytes that each element adds to its block: none but in a type of one block a tensor.
    element_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", layout_dtype(self.layout, self.elements))
        grows = layout_dtype(self.layout, 1).itemsize - self.dtype.itemsize if self.is_whole else 0
        object.__setattr__(self, "element_bytes", grows)

    def __repr__(self) -> str:
        return self.name

    @property
    def block_bytes(self) -> int:
        """Bytes of one block; of one block a tensor, those that all elements share, at its beginning."""
        return self.dtype.itemsize

    @property
    def is_whole(self) -> bool:
        """True for types of one block a tensor: what all elements share, then each element's own bytes."""
        return not self.elements

    @property
    def unit(self) -> int:
        """Elements that cannot be taken apart: those of a block, or one where a block is the whole tensor."""
        return self.elements or 1

    @property
    def is_scalar(self) -> bool:
        """True for types of one element a block: floats and integers as such."""
        return self.elements == 1

    def sized(self, count: int) -> BlockType:
        """The type as it is in a tensor of `count` elements: itself, but for types of one block a tensor."""
        return (
            self
            if self.elements
            else replace(self, elements=max(count, 1), layout=self.layout.replace("*", str(count)))
        )

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of that logical, row-major shape.

        Raises RaggedRowError where the last dimension is not a whole number of blocks.
        """
        count = math.prod(shape)
        row = shape[-1] if shape else 1
        if not self.holds_rows(row):
            raise RaggedRowError(
                f"a row of {row} elements is not a whole number of {self.name} blocks of {self.elements}"
            )
        return self.span(0, count)[1]

    def holds_rows(self, width: int) -> bool:
        """Whether a tensor with rows of so many elements can be of that type."""
        return self.is_whole or self.padded or not width % self.elements

    def splits_rows(self, width: int) -> bool:
        """Whether each row of so many elements is a whole number of blocks, which hold no element of another row."""
        return bool(self.elements) and not width % self.elements

    def span(self, first: int, last: int) -> tuple[int, int]:
        """From which byte to which elements first..last of a row-major tensor stand: all blocks that hold any of them.

        In a type of one block a tensor these are their own bytes; what all elements share are the first `block_bytes`.

        >>> BlockType("Q", None, 32, "d:f16 | qs:16xu8").span(31, 33), BlockType("A", None, 0, "d:f32 | qs:*xi8").span(1, 3)
        ((0, 36), (5, 7))
        """
        if self.is_whole:
            return self.block_bytes + first * self.element_bytes, self.block_bytes + last * self.element_bytes
        return first // self.elements * self.block_bytes, -(-last // self.elements) * self.block_bytes

    def first_beside(self, byte: int) -> int:
        """The first element of the block that holds that byte of a tensor."""
        return byte // self.block_bytes * self.elements

    def blocks(self, data: Any) -> Blocks:
        """Bytes (anything with a buffer) as an array of this type's blocks; no copy."""
        return np.frombuffer(data, dtype=self.dtype)
