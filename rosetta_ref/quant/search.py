"""The searches by which ggml chooses a scale (and a minimum) for a group of elements, each explained once.

Rounding with the scale that the largest element asks for is not the best rounding. Each search tries some scales around it,
rounds the group with each, and takes the scale that fits the codes best by weighted least squares:

- `affine`: value = scale x code + low, codes 0..top. A straight line through (code, value) for each trial.
- `symmetric`: value = scale x code, codes -half..half-1. A line through the origin for each trial.
- `descend`: instead of trying scales, move one code at a time as long as the fit gets better.
- `positive`: scales (of sub-blocks, say) to codes 0..top; trials first, then `descend`.

Bit for bit the order of every operation matters: a group is added up from its first element to its last, products associate as
they stand here, and nothing is fused. Arrays are (element, group), see `rounding`.

A trial that loses leaves nothing behind, and most codes are rounded anew later with the final scale. So a search
remembers the numbers that its best trial rounded with, and `codes` makes the codes out of them where they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rosetta_ref.quant.block import Floats
from rosetta_ref.quant.rounding import PLAIN, Integers, extreme, nearest_int, smallest, total

#: A group whose largest magnitude is below this is taken for zeros.
NOTHING = np.float32(1e-15)


@lru_cache
def trials(first: float, step: float, count: int, top: int) -> tuple[np.float32, ...]:
    """The code that the largest element would get in each trial: (first + step x i) + top, in float32."""
    first32, step32, top32 = np.float32(first), np.float32(step), np.float32(top)
    return tuple((first32 + step32 * np.float32(i)) + top32 for i in range(count))


# --- scale and minimum -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Affine:
    """What `affine` found, one number a group; value = scale x code + low."""

    scale: Floats
    low: Floats
    top: int
    #: What the best trial rounded with: code = (x - origin) x factor. Of a constant group the factor is 0.
    origin: Floats
    factor: Floats

    def codes(self, x: Floats) -> Integers:
        """The codes of the best trial."""
        return np.clip(nearest_int((x - self.origin) * self.factor), 0, self.top)


class _Trial:
    """Codes of one trial and the error of a line through them, in memory that all trials share."""

    def __init__(self, x: Floats, weights: Floats, top: int, absolute: bool) -> None:
        self.x, self.weights, self.absolute = x, weights, absolute
        self.top = np.float32(top)
        self.codes, self.terms = np.empty_like(x), np.empty_like(x)
        self.weighted = np.empty_like(x)

    def round(self, origin: Floats, factor: Floats, reach: Floats) -> None:
        """Round (x - origin) x factor to codes, as floats. |x - origin| is at most `reach`."""
        np.subtract(self.x, origin, out=self.codes)
        self.codes *= factor
        if np.all(np.abs(factor * reach) < PLAIN):
            np.rint(self.codes, out=self.codes)
        else:  # NaN, Inf, and what is as good as Inf
            self.codes[:] = nearest_int(self.codes)
        np.clip(self.codes, np.float32(0), self.top, out=self.codes)

    def error(self, scale: Floats, low: Floats) -> Floats:
        """The weighted sum of squares (or of magnitudes) of scale x code + low - x."""
        terms = self.terms
        np.multiply(self.codes, scale, out=terms)
        terms += low
        terms -= self.x
        np.abs(terms, out=terms) if self.absolute else np.multiply(terms, terms, out=terms)
        terms *= self.weights
        return total(terms)

    def sums(self) -> tuple[Floats, Floats, Floats]:
        """The weighted sums of code, code squared, and code x element."""
        np.multiply(self.weights, self.codes, out=self.weighted)
        of_codes = total(self.weighted)
        np.multiply(self.weighted, self.codes, out=self.terms)
        of_squares = total(self.terms)
        self.weighted *= self.x
        return of_codes, of_squares, total(self.weighted)


def affine(x: Floats, weights: Floats, top: int, factors: tuple[np.float32, ...], *, absolute: bool = False) -> Affine:
    """Scale and minimum of each group by weighted least squares.

    The minimum is never above zero. `factors` are the `trials`; each is over the range that the best one so far has left:
    with the minimum, the range changes as well. `absolute` compares sums of magnitudes instead of squares.
    """
    smallest_x, high = smallest(x), np.maximum.reduce(x, axis=0)
    low: Floats = np.where(smallest_x > 0, np.float32(0), smallest_x)
    constant, bottom = high == low, low.copy()
    scale, origin, factor = _first(low, high, constant, np.float32(top))
    trial = _Trial(x, weights, top, absolute)
    sum_w, sum_x = total(weights), total(np.multiply(weights, x, out=trial.terms))
    trial.round(low, factor, high - low)
    best = trial.error(scale, low)
    best[constant] = -np.inf  # nothing is better
    for numerator in factors:
        span = high - low
        reach = np.maximum(span, low - bottom)
        tried = np.divide(numerator, span, out=span)
        tried[constant] = 0
        trial.round(low, tried, reach)
        sum_l, sum_l2, sum_xl = trial.sums()
        determinant = sum_w * sum_l2 - sum_l * sum_l
        new_scale: Any = (sum_w * sum_xl - sum_x * sum_l) / determinant
        new_low: Any = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        above = new_low > 0
        if above.any():
            new_low[above] = 0
            np.divide(sum_xl, sum_l2, out=new_scale, where=above)
        error = trial.error(new_scale, new_low)
        better = (determinant > 0) & (error < best)
        for kept, new in ((best, error), (scale, new_scale), (factor, tried), (origin, low), (low, new_low)):
            np.copyto(kept, new, where=better)
    return Affine(scale, low, top, origin, factor)


def _first(low: Floats, high: Floats, constant: Any, top: np.float32) -> tuple[Floats, Floats, Floats]:
    """Scale, origin and factor of plain rounding; scale 0 for a constant group, which the minimum says all about."""
    factor: Floats = top / (high - low)
    scale: Floats = np.float32(1) / factor
    scale[constant] = 0
    factor[constant] = 0
    return scale, low.copy(), factor


# --- scale alone -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Symmetric:
    """What `symmetric` found, one number a group; value = scale x code."""

    scale: Floats
    half: int
    #: What the best trial rounded with: code = x x factor.
    factor: Floats
    #: Groups taken for zeros, whose stored code is 0 and not `half`.
    nothing: Any

    def stored(self, x: Floats) -> Integers:
        """The codes of the best trial as they are stored, from 0 up."""
        codes = np.clip(nearest_int(x * self.factor), -self.half, self.half - 1) + np.int32(self.half)
        codes[:, self.nothing] = 0
        return codes


def symmetric(x: Floats, weights: Floats, half: int) -> Symmetric:
    """The scale of each group by weighted least squares, of 19 trials around the one that gives `extreme` the code -half."""
    largest = extreme(x)
    nothing = np.abs(largest) < NOTHING
    reach = np.abs(largest)
    largest[nothing] = 1
    weighted_x, codes, terms = weights * x, np.empty_like(x), np.empty_like(x)

    def fit(factor: Floats) -> tuple[Floats, Floats]:
        """The weighted sums of code x element and of code squared."""
        np.multiply(x, factor, out=codes)
        if np.all(np.abs(factor * reach) < PLAIN):
            np.rint(codes, out=codes)
        else:
            codes[:] = nearest_int(codes)
        np.clip(codes, np.float32(-half), np.float32(half - 1), out=codes)
        sum_xl = total(np.multiply(weighted_x, codes, out=terms))
        np.multiply(weights, codes, out=terms)
        return sum_xl, total(np.multiply(terms, codes, out=terms))

    factor = np.float32(-half) / largest
    sum_xl, sum_l2 = fit(factor)
    scale = np.where(sum_l2 != 0, sum_xl / sum_l2, np.float32(0))
    best = scale * sum_xl
    for i in (*range(-9, 0), *range(1, 10)):
        tried = -(np.float32(half) + np.float32(0.1) * np.float32(i)) / largest
        sum_xl, sum_l2 = fit(tried)
        better = (sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2)
        new_scale = sum_xl / sum_l2
        for kept, new in ((scale, new_scale), (best, new_scale * sum_xl), (factor, tried)):
            np.copyto(kept, new, where=better)
    scale[nothing] = 0
    return Symmetric(scale, half, factor, nothing)


# --- one code at a time ----------------------------------------------------------------------------------------------------


def descend(
    x: Floats, weights: Floats, codes: Floats, sum_xl: Floats, sum_l2: Floats, low: int | None, top: int
) -> Floats:
    """Move one code at a time to where it fits the others best, at most 5 times through each group; the scale that results.

    `codes` and the two sums change in place. Each code is taken out of the sums; what remains says which scale the others want, and
    so which code this element should have; it moves if the fit of all gets better. With low = None codes are not clipped
    from below: they become a byte as in C, but count in the sums as they were, and what remains must be positive.
    """
    _pass(x, weights, codes, sum_xl, sum_l2, low, top, changed := np.zeros(x.shape[1], bool))
    for _ in range(4):
        # A group that a pass leaves as it was, the next one would too.
        active = np.flatnonzero(changed)
        if not active.size:
            break
        some = codes.take(active, axis=1), sum_xl[active], sum_l2[active]
        _pass(x.take(active, axis=1), weights.take(active, axis=1), *some, low, top, now := np.zeros(active.size, bool))
        codes[:, active], sum_xl[active], sum_l2[active] = some
        changed[active] = now
    return np.where(sum_l2 > 0, sum_xl / sum_l2, np.float32(0))


def _pass(
    x: Floats, weights: Floats, codes: Floats, sum_xl: Floats, sum_l2: Floats, low: int | None, top: int, changed: Any
) -> None:
    """Once through the elements of every group; `changed` is set where a code moved."""
    weighted_x = weights * x
    own_xl, own_l2 = weighted_x * codes, weights * codes
    own_l2 *= codes
    top32 = np.int32(top)
    for i in range(x.shape[0]):
        rest_xl, rest_l2 = sum_xl - own_xl[i], sum_l2 - own_l2[i]
        wanted = x[i] * rest_l2
        wanted /= rest_xl
        whole = nearest_int(wanted)
        np.minimum(whole, top32, out=whole) if low is None else np.clip(whole, np.int32(low), top32, out=whole)
        some = np.flatnonzero((whole != codes[i]) & (rest_xl > 0))
        if not some.size:
            continue
        rest_xl, rest_l2, whole = rest_xl[some], rest_l2[some], whole[some]
        new = whole.astype(np.float32)
        new_xl = rest_xl + weighted_x[i, some] * new
        new_l2 = rest_l2 + weights[i, some] * new * new
        old_xl = sum_xl[some]
        moves = new_xl * new_xl * sum_l2[some] > old_xl * old_xl * new_l2
        moves &= (rest_l2 if low is None else new_l2) > 0
        some = some[moves]
        codes[i, some] = (whole.astype(np.uint8) if low is None else new)[moves]
        sum_xl[some], sum_l2[some] = new_xl[moves], new_l2[moves]
        changed[some] = True


def descended(x: Floats, half: int) -> tuple[Floats, Integers]:
    """Scale and stored codes of each group, of plain rounding made better by `descend`; weights are the squares.

    Only groups whose extreme is negative get better: of the others the sum of code x element is negative, and no code moves.
    """
    largest = extreme(x)
    nothing = np.abs(largest) < NOTHING
    largest[nothing] = 1
    codes = np.clip(nearest_int(np.float32(-half) / largest * x), -half, half - 1).astype(np.float32)
    weights = x * x
    sum_xl, sum_l2 = total(weights * x * codes), total(weights * codes * codes)
    scale = descend(x, weights, codes, sum_xl, sum_l2, -half, half - 1)
    stored = codes.astype(np.int32) + np.int32(half)
    scale[nothing] = 0
    stored[:, nothing] = 0
    return scale, stored


def positive(x: Floats, weights: Floats, top: int) -> tuple[Floats, Any]:
    """The scale of each group of numbers that are not negative, and their codes 0..top as bytes.

    Eight more trials around plain rounding, compared by squared error, each at its own scale; then least squares and `descend`.
    """
    largest = np.zeros(x.shape[1], np.float32)
    for row in x:  # C's MAX(largest, x): a NaN is taken, and the next number takes its place
        largest = np.where(largest > row, largest, row)
    nothing = largest < NOTHING
    largest[nothing] = 1

    def error(factor: Floats, codes: Any) -> Floats:
        difference = x - np.float32(1) / factor * codes.astype(np.float32)
        return total(weights * difference * difference)

    factor = np.float32(top) / largest
    best = error(factor, nearest_int(factor * x).astype(np.uint8))
    for i in (-4, -3, -2, -1, 1, 2, 3, 4):
        tried = (np.float32(0.1) * np.float32(i) + np.float32(top)) / largest
        new = error(tried, np.minimum(nearest_int(tried * x), top))
        better = new < best
        np.copyto(best, new, where=better)
        np.copyto(factor, tried, where=better)
    whole = np.minimum(nearest_int(factor * x), top)
    counted = whole.astype(np.float32)
    sum_xl, sum_l2 = total(weights * x * counted), total(weights * counted * counted)
    codes = whole.astype(np.uint8).astype(np.float32)
    scale = descend(x, weights, codes, sum_xl, sum_l2, None, top)
    scale[nothing] = 0
    codes[:, nothing] = 0
    return scale, codes.astype(np.uint8)
