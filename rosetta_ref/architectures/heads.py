"""The order of the rows of q and k within a head.

Hugging Face rotates the two halves of a head against each other, llama.cpp adjacent pairs. So for the llama family each head's rows
go from (2, hd/2) to (hd/2, 2) on the way to GGUF, with the head count of q for q and that of k for k. Whole rows
move, so quantised rows move without being decoded; but for APR's own types, whose blocks run from one row into the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Bytes, Source, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.recode import decoded


class HeadShapeError(RosettaError):
    """The rows of q and k are a whole number of heads of an even number of rows."""


def row_order(rows: int, heads: int, *, inverse: bool = False) -> NDArray[np.intp]:
    """For each row of the result, the row of the input: Hugging Face to GGUF, or back with `inverse`.

    >>> row_order(4, 1).tolist()
    [0, 2, 1, 3]
    """
    if heads < 1 or rows % (2 * heads):
        raise HeadShapeError(f"{rows} rows are not {heads} heads of an even size")
    half = rows // heads // 2
    split = (heads, half, 2) if inverse else (heads, 2, half)
    return np.arange(rows).reshape(split).swapaxes(1, 2).reshape(-1)


def permuted(tensor: Tensor, n_head: int, *, inverse: bool = False) -> Tensor:
    """The tensor with its rows in GGUF's order (or Hugging Face's, with `inverse`), lazily; weights and biases.

    In its own type where each row is bytes of its own, as F32 where it is not (AprQ8, AprQ4 of ragged rows). Raises
    HeadShapeError, and NoDecoderError for a type of such rows.
    """
    rows = tensor.shape[0] if tensor.shape else 0
    try:
        order = row_order(rows, n_head, inverse=inverse)
    except HeadShapeError as error:
        raise error.at(file=tensor.file, tensor=tensor.name) from None
    if not tensor.count:
        return tensor
    if not _rows_are_blocks(tensor):
        tensor = decoded(tensor)
    return replace(tensor, source=_Rows(tensor.source, order, tensor.nbytes // rows), offset=None)


def _rows_are_blocks(tensor: Tensor) -> bool:
    """Whether a row is whole blocks: no block holds elements of two rows, no scale stands for all of them."""
    return tensor.type.splits_rows(tensor.count // tensor.shape[0])


@dataclass(frozen=True)
class _Rows:
    inner: Source
    order: NDArray[np.intp]
    row_bytes: int

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        first, last = start // self.row_bytes, -(-stop // self.row_bytes)
        wanted = self.order[first:last]
        if not wanted.size:
            return np.empty(0, np.uint8)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        rows = self.inner.read(low * self.row_bytes, high * self.row_bytes).reshape(-1, self.row_bytes)
        return rows[wanted - low].reshape(-1)[start - first * self.row_bytes : stop - first * self.row_bytes]

    def release(self, start: int, stop: int) -> None:
        # Neighbouring spans read from the same head, so this may drop a page that is read again: from the page cache.
        wanted = self.order[start // self.row_bytes : -(-stop // self.row_bytes)]
        if wanted.size:
            self.inner.release(int(wanted.min()) * self.row_bytes, (int(wanted.max()) + 1) * self.row_bytes)
