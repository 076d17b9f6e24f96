"""How far two models are from each other, over the logits of the same positions.

All of it is taken in float64 from the logits as the engines gave them. KL is that of the source's next-token distribution from the
converted one's, in nats a position; perplexity is of the text that was asked, over every position that has a next token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: Positions that are measured at a time: in float64 a few arrays of positions x vocabulary are alive at once.
_ROWS = 32


def log_softmax(logits: Array) -> NDArray[np.float64]:
    """The logarithm of the probabilities, in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


@dataclass
class Measured:
    """What was seen of all positions so far. `tolerance` is how far a logit may be off without a fault."""

    tolerance: float = 0.0
    positions: int = 0
    logits: int = 0
    unequal: int = 0
    largest: float = 0.0
    agreeing: int = 0
    #: Positions whose best token differs, while the two tokens' logits lie so close that the tolerance may have turned them.
    too_close: int = 0
    kl: list[NDArray[np.float64]] = field(default_factory=list)
    losses: tuple[float, float] = (0.0, 0.0)
    predicted: int = 0
    #: Where the largest difference is: sequence and position.
    worst: tuple[int, int] = (0, 0)

    def add(self, sequence: int, tokens: Sequence[int], source: Array, target: Array) -> None:
        """The logits of one sequence on both sides, (tokens, vocabulary)."""
        for first in range(0, len(tokens), _ROWS):
            rows = slice(first, first + _ROWS)
            self._add(
                sequence, first, np.asarray(tokens[first + 1 : first + 1 + _ROWS], np.int64), source[rows], target[rows]
            )

    def _add(self, sequence: int, first: int, after: NDArray[np.int64], source: Array, target: Array) -> None:
        """Some rows; `after` is the token that follows each of them, as far as there is one."""
        self.positions += len(source)
        self.logits += source.size
        p = log_softmax(source)
        if np.array_equal(source, target):
            q, apart = p, np.zeros(len(source))
            self.agreeing += len(source)
        else:
            q = log_softmax(target)
            apart = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0)
            self._differing(sequence, first, source, target)
        self.kl.append(apart)
        rows = np.arange(after.size)
        self.losses = (self.losses[0] - float(p[rows, after].sum()), self.losses[1] - float(q[rows, after].sum()))
        self.predicted += after.size

    def _differing(self, sequence: int, first: int, source: Array, target: Array) -> None:
        difference = np.abs(source.astype(np.float64) - target)
        here = float(difference.max())
        if not here <= self.largest and self.largest == self.largest:  # NaN is never small, and nothing is larger
            self.largest, self.worst = here, (sequence, first + int(difference.max(axis=1).argmax()))
        self.unequal += int(np.count_nonzero(source != target))
        self._best(source, target)

    def _best(self, source: Array, target: Array) -> None:
        best, other = source.argmax(axis=1), target.argmax(axis=1)
        rows = np.arange(len(best))
        same = best == other
        gap = source[rows, best].astype(np.float64) - source[rows, other]
        close = ~same & (gap <= 2 * self.tolerance)
        self.agreeing += int(same.sum())
        self.too_close += int(close.sum())

    @property
    def figures(self) -> dict[str, float]:
        """The figures that limits are set for."""
        kl = np.concatenate(self.kl) if self.kl else np.zeros(1)
        mean = [loss / max(self.predicted, 1) for loss in self.losses]
        return {
            "mean_kl": float(kl.mean()),
            "kl_p99": float(np.percentile(kl, 99)),
            "top1": self.agreeing / max(self.positions, 1),
            "logit": self.largest,
            "perplexity": float(np.exp(mean[1] - mean[0]) - 1),
        }

    @property
    def perplexities(self) -> tuple[float, float]:
        """Of the source and of the converted model."""
        return tuple(float(np.exp(loss / max(self.predicted, 1))) for loss in self.losses)  # type: ignore[return-value]
