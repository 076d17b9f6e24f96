"""How C rounds a float to a code, to the last bit: what ggml's encoders have in common before any search.

All of it works on arrays whose first axis is the element and whose second is the group: `total` then adds up a group from
its first element to its last, as a C loop does, while NumPy computes many groups at once. (Along the last axis NumPy adds
pairwise: more exact, and not the same.)

The K types round by adding 3 x 2^22 and reading the low bits of the sum, `nearest_int`: half to even below 2^22. Beyond it comes
out whatever those bits are, and since ggml uses that too, it is part of the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Floats

Integers = NDArray[np.int32]

#: 3 x 2^22: added to a float below 2^22, it leaves the nearest integer in the low bits.
_MAGIC = np.float32(12582912)
#: Below this, and only below, `nearest_int` is plain rounding.
PLAIN = np.float32(4194303)


def nearest_int(values: Any) -> Integers:
    """The nearest integer, half to even; of Inf -4194304, of NaN 0, and beyond 2^22 what the bits happen to say.

    >>> nearest_int(np.float32([0.5, 1.5, -2.6, np.inf, np.nan])).tolist()
    [0, 2, -3, -4194304, 0]
    """
    bits: Integers = np.add(values, _MAGIC, dtype=np.float32).view(np.int32)
    bits &= 0x7FFFFF
    bits -= 0x400000
    return bits


def half_away(values: Floats) -> Floats:
    """C's `roundf`: the nearest whole number, half away from zero."""
    whole = np.trunc(values)
    away = np.abs(values - whole) >= 0.5
    return np.where(away, whole + np.copysign(np.float32(1), values), whole)


def to_int(values: Floats) -> Integers:
    """C's conversion of a float to an integer, as x86-64 has it: towards zero; of NaN and beyond 2^31 the lowest integer."""
    inside = np.abs(values) < np.float32(2**31)
    whole = np.where(inside, values, np.float32(0)).astype(np.int32)
    return np.where(inside, whole, np.int32(-(2**31)))


def total(terms: Floats) -> Floats:
    """The sum of each group, from its first element to its last."""
    if terms.shape[1] > 1:
        sums: Floats = np.add.reduce(terms, axis=0)
    else:  # one column is contiguous, and NumPy would add it pairwise
        sums = np.add.accumulate(terms, axis=0)[-1]
    return sums


def extreme(x: Floats) -> Floats:
    """In each group the first element of largest magnitude, with its sign; +0 where there is none. NaN is passed over."""
    high: Floats = np.fmax.reduce(x, axis=0, initial=np.float32(0))
    low: Floats = np.fmin.reduce(x, axis=0, initial=np.float32(0))
    found: Floats = np.where(high > -low, high, low)
    tie = np.flatnonzero((high == -low) & (high > 0))
    if tie.size:
        tied = x[:, tie]
        first = np.argmax(np.abs(tied) == high[tie], axis=0)
        found[tie] = np.take_along_axis(tied, first[None], axis=0)[0]
    found += np.float32(0)  # -0 becomes +0
    return found


def smallest(x: Floats, start: Any = np.inf) -> Floats:
    """In each group the first of the smallest elements, which tells +0 from -0; NaN is passed over."""
    low: Floats = np.fmin.reduce(x, axis=0, initial=np.float32(start))
    zero = np.flatnonzero(low == 0)
    if zero.size:
        among = x[:, zero]
        first = np.argmax(among == 0, axis=0)
        low[zero] = np.take_along_axis(among, first[None], axis=0)[0]
    return low


def inverse(d: Floats) -> Floats:
    """1 / d where d is not 0, else 0: codes are taken before d is rounded to f16."""
    return np.where(d != 0, np.float32(1) / d, np.float32(0)).astype(np.float32)
