"""What is said of one tensor, and the count that it is said from: wrong elements, added up over the pieces of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge.pairs import Array
from rosetta_ref.streaming import byte_of, index_of

#: An error that is none of a number any more; JSON has no infinity.
MOST = 1e30


@dataclass(frozen=True)
class Verdict:
    """Of one tensor: what was done to it, or what is wrong with it."""

    done: str = ""
    kind: str = ""
    detail: str = ""
    count: int = 0
    first: Mapping[str, Any] | None = None
    #: The largest error of a number that is wrong; `MOST` where a number became NaN or Inf.
    error: float = 0.0

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.kind


@dataclass
class Wrong:
    """Elements that are wrong: how many, how many NaN and Inf were made of numbers, whether any was a number, and the first."""

    count: int = 0
    invented: int = 0
    numbers: bool = False
    place: int = 0
    first: tuple[Array, Array] | None = None
    error: float = 0.0

    def add(self, start: int, wrong: Array, expected: Array, found: Array) -> None:
        """A piece that begins at that element, and which of its elements are wrong."""
        count = int(np.count_nonzero(wrong))
        if not count:
            return
        if self.first is None:
            at = int(np.argmax(wrong))
            self.place, self.first = start + at, (expected[at : at + 1].copy(), found[at : at + 1].copy())
        self.count += count
        before, after = expected[wrong].astype(np.float64), found[wrong].astype(np.float64)
        finite = np.isfinite(before)
        self.numbers |= bool(finite.any())
        self.invented += int(np.count_nonzero(finite & ~np.isfinite(after)))
        apart = np.nan_to_num(np.abs(after - before)[finite], nan=MOST, posinf=MOST).max(initial=0.0)
        self.error = max(self.error, min(float(apart), MOST))

    def verdict(self, target: Tensor, kind: str) -> Verdict:
        """Of the tensor whose elements these are; of another kind where it is NaN that came or went."""
        assert self.first is not None
        detail = f"{self.count:,} of {target.count:,} elements"
        if self.invented:
            kind, detail = "nan", f"{self.invented:,} NaN or Inf that the source does not have, {detail} wrong"
        elif not self.numbers:
            kind, detail = "nan-lost", f"{detail}, all of which are NaN or Inf in the source"
        return Verdict(
            kind=kind,
            detail=detail,
            count=self.count,
            first=place_of(target, self.place, *self.first),
            error=self.error,
        )


def place_of(target: Tensor, element: int, expected: Array, found: Array) -> dict[str, Any]:
    """Where, and what stands there: the bits in hex, and the number."""

    def shown(value: Array) -> str:
        return "0x" + value.tobytes()[::-1].hex()

    made = {
        "index": [int(i) for i in index_of(target, element)],
        "offset": offset_of(target, byte_of(target, element)),
        "expected": shown(expected),
        "actual": shown(found),
    }
    if found.dtype.kind == "f":
        made |= {"expected_value": f"{expected[0]:g}", "actual_value": f"{found[0]:g}"}
    return made


def offset_of(target: Tensor, byte: int) -> int:
    """Where a byte of the tensor stands in its file."""
    return (target.offset or 0) + byte
