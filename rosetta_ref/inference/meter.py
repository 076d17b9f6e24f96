"""What answers may cost: CPU time as it is spent, and memory before it is taken.

A file of a few kilobytes may state layers, heads and an inner size with which each token takes seconds, or gigabytes. A real model
costs much because it is large; so the limits grow with the bytes of its weights, and with the texts that the user brings.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.parameters import Parameters

_MIB = 1 << 20
#: Beyond the limits: for each MiB of weights after the first one, and for each byte of weights.
_SECONDS_A_MIB, _BYTES_A_BYTE = 8, 16
#: All logits of the prompts together against what may be in memory at once: they wait in a file.
_SPOOLED = 4
_WIDE = 8  # bytes of float64


class AnswerLimitError(RosettaError):
    """The answers of a model take CPU time and memory that go with the size of its weights."""


@dataclass
class Meter:
    """CPU seconds of this thread that one model may take; the threads of a matrix product are not counted.

    `times` is how much more is asked than the built-in prompts do.
    """

    nbytes: int = 0
    path: Path | None = None
    times: float = 1.0
    spent: float = 0.0
    _since: float | None = None

    @property
    def allowed(self) -> float:
        """CPU seconds."""
        return (limits.of("answer-seconds") + _SECONDS_A_MIB * max(0.0, self.nbytes / _MIB - 1)) * self.times

    def check(self) -> None:
        """Raise AnswerLimitError where the time is over."""
        here = 0.0 if self._since is None else time.thread_time() - self._since
        if self.spent + here > self.allowed:
            raise AnswerLimitError(
                f"its answers take more than {self.allowed:.3g} s of CPU time", file=self.path,
                hint="--limits answer-seconds=... raises the limit.",
            )  # fmt: skip

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block, once where blocks lie within each other. Raises AnswerLimitError."""
        if self._since is not None:
            yield
            return
        self._since = time.thread_time()
        try:
            yield
        finally:
            self.spent += time.thread_time() - self._since
            self._since = None
        self.check()

    def require(self, nbytes: int, what: str) -> None:
        """Raise AnswerLimitError where that takes more memory than it may."""
        allowed = int((limits.of("answer-bytes") + _BYTES_A_BYTE * self.nbytes) * self.times)
        if nbytes > allowed:
            raise AnswerLimitError(
                f"{what} take {nbytes:,} bytes, where {allowed:,} are allowed", file=self.path,
                hint="--limits answer-bytes=... raises the limit.",
            )  # fmt: skip

    def require_activations(self, parameters: Parameters, vocabulary: int, sequences: Sequence[Sequence[int]]) -> None:
        """Raise AnswerLimitError where these sequences, computed together, take more memory than they may."""
        lengths = [len(tokens) for tokens in sequences]
        total, longest = sum(lengths), max(lengths, default=0)
        self.require(_WIDE * total * _alive(parameters), f"the values of {total:,} tokens")
        self.require(_WIDE * longest * vocabulary, f"the logits of {longest:,} tokens")
        self.require(_WIDE * total * vocabulary // _SPOOLED, f"the logits of {total:,} tokens, of which a part")

    def require_steps(self, parameters: Parameters, vocabulary: int, tokens: int) -> None:
        """Raise AnswerLimitError where the value of every step of a pass takes more memory than they may together."""
        p = parameters
        each = 11 * p.width + 3 * p.inner + 5 * p.queries + 5 * p.keys
        self.require(_WIDE * tokens * (p.layers * each + vocabulary), f"all steps of {tokens:,} tokens")


def _alive(p: Parameters) -> int:
    """Numbers of one token that are in memory at once, at most."""
    return 6 * p.width + 3 * p.inner + 3 * p.queries + (3 + 2 * p.layers) * p.keys
