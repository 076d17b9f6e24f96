"""Kinds of data that encoders get wrong, as plain generators with names: `weights("one outlier", 64, 4096, seed=1)`.

Each says what it is for. All are finite but "infinities"; none has NaN, whose treatment is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rows = np.ndarray
_MAKERS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Rows]] = {}


def _kind(name: str) -> Callable[[Callable[[np.random.Generator, tuple[int, int]], Rows]], None]:
    def add(make: Callable[[np.random.Generator, tuple[int, int]], Rows]) -> None:
        _MAKERS[name] = make

    return add


def weights(kind: str, rows: int, columns: int, seed: int) -> Rows:
    """float32 of shape (rows, columns); the same for the same arguments. Columns are a multiple of 32."""
    rng = np.random.default_rng([seed, list(_MAKERS).index(kind)])
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(_MAKERS[kind](rng, (rows, columns)), np.float32)
    assert made.shape == (rows, columns)
    return made


def _per_group(rng: np.random.Generator, shape: tuple[int, int], group: int, low: float, high: float) -> Rows:
    """One power of ten, from 10^low to 10^high, for each run of `group` elements."""
    return np.repeat(10 ** rng.uniform(low, high, (shape[0], shape[1] // group)), group, axis=1)


@_kind("gaussian")
def _(rng, shape):
    """What models are made of."""
    return rng.standard_normal(shape)


@_kind("uniform")
def _(rng, shape):
    """Every code as often as the others."""
    return rng.uniform(-1, 1, shape)


@_kind("heavy tails")
def _(rng, shape):
    """The search finds something better than plain rounding nearly everywhere."""
    return rng.standard_normal(shape) ** 5 * 10


@_kind("sparse")
def _(rng, shape):
    """Nine of ten are zero; whole groups are."""
    return np.where(rng.random(shape) < 0.9, 0, rng.standard_normal(shape))


@_kind("ties")
def _(rng, shape):
    """Few distinct values: maxima that occur twice and with both signs, errors that are equal."""
    return np.round(rng.standard_normal(shape) * 2) / 2


@_kind("half codes")
def _(rng, shape):
    """Scale 1 in the 4-bit types, values half-way between two codes, to see which way a tie is rounded."""
    made = np.clip(np.round(rng.standard_normal(shape) * 6) + 0.5, -8, 7.5)
    made[:, ::32] = -8
    return made


@_kind("opposite extremes")
def _(rng, shape):
    """The same largest magnitude with both signs: the first one counts."""
    made = np.clip(rng.standard_normal(shape), -3, 3)
    made[:, ::7] = np.sign(made[:, ::7]) * 9
    return made


@_kind("constants")
def _(rng, shape):
    """Groups of 32 of one value, of either sign: no range to divide by."""
    return np.repeat(np.round(rng.standard_normal((shape[0], shape[1] // 32)) * 3) / 4, 32, axis=1)


@_kind("zeros")
def _(rng, shape):
    """Zeros of both signs, a few numbers of one sign among them: the sign of a minimum that is zero."""
    made = np.where(rng.random(shape) < 0.5, 0.0, -0.0)
    some = rng.random(shape) < 0.01
    made[some] = np.abs(rng.standard_normal(some.sum()))
    return made


@_kind("one sign")
def _(rng, shape):
    """Far from zero, row by row above or below it: a minimum may not be above zero."""
    sign = np.where(rng.random((shape[0], 1)) < 0.5, -1, 1)
    return (np.abs(rng.standard_normal(shape)) * 0.1 + 5) * sign


@_kind("one outlier")
def _(rng, shape):
    """One element of each 256 is 300 times the others: most scales round to zero."""
    made = rng.standard_normal(shape)
    made[:, ::256] *= 300
    return made


@_kind("mixed scales")
def _(rng, shape):
    """Each 16 elements have a size of their own: scales that round to zero and keep the codes of the search."""
    return rng.standard_normal(shape) * _per_group(rng, shape, 16, -4, 1)


@_kind("tiny")
def _(rng, shape):
    """From 1e-18 to 1e-4: scales that are f16's subnormals or vanish, and groups that count as zeros (below 1e-15)."""
    return rng.standard_normal(shape) * _per_group(rng, shape, 32, -18, -4)


@_kind("subnormals")
def _(rng, shape):
    """float32's own: dividing by their range is Inf."""
    return rng.standard_normal(shape) * _per_group(rng, shape, 32, -44, -37)


@_kind("beyond f16")
def _(rng, shape):
    """Scales that f16 cannot hold."""
    return rng.standard_normal(shape) * _per_group(rng, shape, 32, 5, 8)


@_kind("huge")
def _(rng, shape):
    """1e30 and more: squares overflow, and with them the sums."""
    return rng.standard_normal(shape) * _per_group(rng, shape, 32, 28, 37)


@_kind("infinities")
def _(rng, shape):
    """An Inf in one group of four, of either sign; some groups of nothing else."""
    made = rng.standard_normal(shape)
    made[rng.random(shape) < 0.01] = np.inf
    made[rng.random(shape) < 0.01] = -np.inf
    groups = made.reshape(shape[0], -1, 32)
    groups[rng.random(groups.shape[:2]) < 0.05] = np.inf
    return made


@_kind("any bits")
def _(rng, shape):
    """Any finite float32: every exponent beside every other."""
    made = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    return np.where(np.isfinite(made), made, np.float32(1))


#: The names of the kinds.
KINDS = tuple(_MAKERS)

#: Kinds of importance matrices: what llama-imatrix gives (squares of activations), with columns that no text has reached, and
#: numbers at the ends of float32.
IMPORTANCE = ("activations", "with zeros", "extreme")


def importance(kind: str, columns: int, seed: int) -> Rows:
    """float32 of shape (columns,), none negative."""
    rng = np.random.default_rng([seed, columns, IMPORTANCE.index(kind)])
    made = rng.standard_normal(columns) ** 2 * np.exp(rng.standard_normal(columns))
    match kind:
        case "with zeros":
            made[rng.random(columns) < 0.3] = 0
            made[: columns // 4] = 0
        case "extreme":
            made = 10 ** rng.uniform(-44, 38, columns)
    return made.astype(np.float32)
