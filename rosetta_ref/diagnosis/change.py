"""What a tensor would be, had something been done to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rosetta_ref.archive import Tensor
from rosetta_ref.diagnosis.cause import Cause

Turn = tuple[int, bool] | None


@dataclass(frozen=True)
class Change:
    """A tensor and what was done to it. `turn` is how its rows are turned for the target, in a tuple; None: as is right.

    `exact` changes move elements and leave them as they are, so that an output that was rounded on request may be near.
    """

    causes: tuple[Cause, ...]
    tensor: Tensor
    turn: tuple[Turn] | None = None
    exact: bool = False


def in_shape(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same bytes under another shape."""
    return replace(tensor, shape=shape)
