"""What an output proves: nothing where rounding or encoding explains it, nothing where all of its elements are the same.

A converter that encodes on its own account may be falsified for that, but no bug is named for it. An encoded tensor bears out a
change only where it is much nearer to the changed numbers than to the right ones, and never two changes at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import values
from rosetta_ref.gate.judge.pairs import Pair, numbers, turned
from rosetta_ref.gate.judge.tensors import judge_pair
from rosetta_ref.gate.judge.verdict import Verdict
from rosetta_ref.gate.judge.view import View

#: Findings that exact rounding and honest encoding lead to: the nearest F16 of a large number is Inf, NaN becomes quiet.
_HONEST = ("lossy-unasked", "out-of-range", "nan-payload")
#: The squared error against the changed numbers is at most this part of that against the right ones.
_NEARER = 0.25
#: Two causes in one tensor leave at least this share of its numbers distinct: a summand can swallow what it is added to.
_DISTINCT = 0.5


def rounded(source: View, target: View, name: str) -> bool:
    """Whether a tensor that both files have, by its canonical name, is the right one, exactly rounded or encoded, in right rows."""
    with np.errstate(all="ignore"):
        return all(honest(verdict) for verdict in judge_pair(source, target, name, asked=True))


def honest(verdict: Verdict) -> bool:
    """Whether nothing is wrong but what exact rounding and honest encoding lead to."""
    return verdict.right or verdict.kind in _HONEST


def constant(tensor: Tensor) -> bool:
    """Whether all elements are the same, NaN for NaN. A tensor of one element is constant, one without any is not."""
    if tensor.count and (tensor.type.decode is not None or tensor.type.is_scalar):
        with np.errstate(all="ignore"):
            found = numbers(tensor).reshape(-1)
        same = found == found[0]
        return bool((same | (np.isnan(found) & np.isnan(found[0])) if found.dtype.kind == "f" else same).all())
    return False


def lossless(verdict: Verdict) -> bool:
    """Whether every number arrived as it was."""
    return verdict.right and verdict.done not in (values.NARROWED, values.ENCODED)


def distinct(before: Tensor, after: Tensor) -> bool:
    """Whether a change has left the numbers of a tensor apart."""
    was, found = (len(np.unique(numbers(tensor))) for tensor in (before, after))
    return found > 1 and found >= _DISTINCT * was


def nearer(
    changed: Tensor, right: Tensor, found: Tensor, turns: Iterable[tuple[int, bool] | None] = (None, None)
) -> bool:
    """Whether a tensor is much nearer to the changed numbers than to the right ones; each is turned as it has to be."""
    if changed.shape != found.shape or right.shape != found.shape:
        return True  # nothing to be near to
    first, second = turns
    return _off(turned(changed, first), found) <= _NEARER * _off(turned(right, second), found)


def _off(one: Tensor, other: Tensor) -> float:
    """The squared error; infinite where either is not finite alone."""
    total = 0.0
    with np.errstate(all="ignore"):
        for _, expected, found in Pair(one, other).numbers():
            error = np.where(expected == found, 0.0, expected.astype(np.float64) - found.astype(np.float64))
            error = error[~(np.isnan(expected) & np.isnan(found))]
            total += float((error**2).sum())
    return total if np.isfinite(total) else float("inf")
