"""What happens to values between Hugging Face and GGUF: named transforms, each with its inverse.

A record names them by the words in `WORDS`. `forward` goes to GGUF, `inverse` back; both take and give a tuple of tensors, so that
one tensor can become several (a fused matrix that is split) and several one (experts that are stacked). All of them are lazy:
values are computed when they are read. `exact` says which bits survive the way there and back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from rosetta_ref.architectures.heads import permuted
from rosetta_ref.archive import Bytes, Source, Tensor
from rosetta_ref.recode import decoded

#: The numbers of a model by letter; `record.LETTERS` says what they count.
Sizes = Mapping[str, int]
Parts = tuple[Tensor, ...]


class Transform(ABC):
    """One change of values and its inverse."""

    #: Which bits survive the way to GGUF and back.
    exact: ClassVar[str]
    #: Whether the answer hangs on the values: then whoever needs them back has to look.
    rounds: ClassVar[bool] = False

    @abstractmethod
    def forward(self, parts: Parts, sizes: Sizes) -> Parts:
        """GGUF's tensors for those of Hugging Face."""

    @abstractmethod
    def inverse(self, parts: Parts, sizes: Sizes) -> Parts:
        """Hugging Face's tensors for those of GGUF."""


@dataclass(frozen=True)
class PermuteRows(Transform):
    """The rows of each head go from two halves (Hugging Face's rope) to adjacent pairs (llama.cpp's NORM rope).

    `letter` is the number of heads: H of q, G of k. Raises HeadShapeError.
    """

    letter: str
    exact: ClassVar[str] = "all bits: whole rows move; but for APR's own types, whose blocks go over the ends of rows"

    def heads(self, sizes: Sizes) -> int:
        """How many heads the rows are."""
        return sizes[self.letter]

    def forward(self, parts: Parts, sizes: Sizes) -> Parts:
        """Halves to pairs."""
        return tuple(permuted(tensor, self.heads(sizes)) for tensor in parts)

    def inverse(self, parts: Parts, sizes: Sizes) -> Parts:
        """Pairs to halves."""
        return tuple(permuted(tensor, self.heads(sizes), inverse=True) for tensor in parts)


@dataclass(frozen=True)
class PlusOne(Transform):
    """Gemma's norms multiply by 1 + w: Hugging Face stores w, GGUF 1 + w, in float32 (conversion/gemma.py, norm_shift)."""

    exact: ClassVar[str] = (
        "all bits of a BF16 w with 2^-16 <= |w| < 2^24 and of +0, and of a stored 1 + w from 1/2 to 2^24; others may round"
    )
    rounds: ClassVar[bool] = True

    def forward(self, parts: Parts, sizes: Sizes) -> Parts:
        """Add 1, as F32."""
        return tuple(_shifted(tensor, 1) for tensor in parts)

    def inverse(self, parts: Parts, sizes: Sizes) -> Parts:
        """Subtract 1, as F32."""
        return tuple(_shifted(tensor, -1) for tensor in parts)


#: What a record calls them.
WORDS: dict[str, Transform] = {"rows=q": PermuteRows("H"), "rows=k": PermuteRows("G"), "+1": PlusOne()}


def to_gguf(tensor: Tensor, transforms: tuple[Transform, ...], sizes: Sizes) -> Tensor:
    """One tensor through transforms that make one of one, in order."""
    for transform in transforms:
        (tensor,) = transform.forward((tensor,), sizes)
    return tensor


def to_hf(tensor: Tensor, transforms: tuple[Transform, ...], sizes: Sizes) -> Tensor:
    """The way back of `to_gguf`: the inverses in the opposite order."""
    for transform in reversed(transforms):
        (tensor,) = transform.inverse((tensor,), sizes)
    return tensor


def _shifted(tensor: Tensor, by: int) -> Tensor:
    wide = tensor if tensor.type.name == "F32" else decoded(tensor, "F32")
    return replace(wide, source=_Sum(wide.source, np.float32(by)), offset=None)


@dataclass(frozen=True)
class _Sum:
    """F32 values with a number added, rounded to float32 once."""

    inner: Source
    number: np.float32

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        first, last = start // 4 * 4, min(-(-stop // 4) * 4, self.nbytes)
        with np.errstate(invalid="ignore"):  # a NaN that signals
            values = self.inner.read(first, last).view("<f4") + self.number
        return values.view(np.uint8)[start - first : stop - first]

    def release(self, start: int, stop: int) -> None:
        self.inner.release(start, stop)
