"""Numbers that encoders get wrong, as rows of float32.

Read `KINDS` first: each kind says what it is for. Whole rows of a kind are computed from a seed; only
"a few" draws its numbers one by one, and so shrinks to the one that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from rosetta_ref.quant.block import Floats
from rosetta_ref.strategies.quantised import known

_Maker = Callable[[np.random.Generator, tuple[int, int]], Any]
#: Numbers put at chosen places: beyond float16, near the end of float32, its smallest, a signed zero.
_SPOTS = (np.inf, -np.inf, 1e30, -1e30, 3.4028235e38, 1e-45, -0.0, 65520.0)


def _zeros(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return np.where(rng.random(shape) < 0.5, 0.0, -0.0)


def _constants(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return np.repeat(np.round(rng.standard_normal((shape[0], 1)) * 8) / 8, shape[1], axis=1)


def _outlier(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    made = rng.standard_normal(shape)
    made[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] *= 1000
    return made


def _ties(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return np.round(rng.standard_normal(shape) * 2) / 2


def _half_codes(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    made = np.clip(np.round(rng.standard_normal(shape) * 6) + 0.5, -8, 7.5)
    made[:, ::32] = -8
    return made


def _mixed(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    sizes = np.repeat(10 ** rng.uniform(-6, 2, (shape[0], -(-shape[1] // 16))), 16, axis=1)
    return rng.standard_normal(shape) * sizes[:, : shape[1]]


#: name: how rows of that kind are made
_MAKERS: dict[str, _Maker] = {
    # What models are made of.
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    # A search finds something better than plain rounding nearly everywhere.
    "heavy tails": lambda rng, shape: rng.standard_normal(shape) ** 5 * 10,
    # Maxima that occur twice and with both signs, errors that are equal.
    "ties": _ties,
    # Half-way between two codes of a four-bit type with scale 1: which way is a tie rounded?
    "half codes": _half_codes,
    # No range to divide by; rows of 0 among them.
    "constants": _constants,
    # Of both signs.
    "zeros": _zeros,
    # A thousand times the others, once a row: the scales of the others round to zero.
    "one outlier": _outlier,
    # A size of its own for each 16 elements.
    "mixed scales": _mixed,
    # float32's own, from 1e-45: dividing by their range is Inf.
    "subnormals": lambda rng, shape: rng.standard_normal(shape) * 10 ** rng.uniform(-45, -38, (shape[0], 1)),
    # Scales that f16 cannot hold.
    "beyond f16": lambda rng, shape: rng.standard_normal(shape) * 1e7,
    # Squares and their sums overflow.
    "huge": lambda rng, shape: rng.standard_normal(shape) * 1e30,
    # Gaussian, with Inf, 1e30, the largest float32, its smallest, -0.0 or 65520 at one to three drawn places.
    "spots": lambda rng, shape: rng.standard_normal(shape),
    # Gaussian, with NaN at one to three drawn places.
    "nan": lambda rng, shape: rng.standard_normal(shape),
}

#: The names of the kinds, and the one whose numbers are drawn one by one.
KINDS = ("a few", *_MAKERS)
#: Those whose numbers are all finite, which is what most laws of an encoder ask for.
FINITE = tuple(kind for kind in KINDS if kind not in ("spots", "nan"))


def weights(
    type_name: str = "F32", *, max_rows: int = 3, max_blocks: int = 3, kinds: Sequence[str] = KINDS
) -> st.SearchStrategy[Floats]:
    """Rows of float32 for an encoder of that type: shape (rows, whole blocks of the type; 1 to 96 elements for scalars).

    For encoders: all that makes a search, a division or a rounding go wrong. `kinds=FINITE` leaves Inf and NaN away.
    Each kind shrinks within itself: to one row of one block, "spots" and "nan" to the first element, and the
    first kind, "a few" (zeros but for up to four finite numbers, drawn one by one), to one simple number. To look for the smallest
    example, run once more with `kinds=("a few",)`. Raises ValueError for names of types and kinds that do not exist.
    """
    kind = known(type_name)
    unknown = [name for name in kinds if name not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"no kind {unknown[0] if unknown else 'given'}; there are {', '.join(KINDS)}")
    if max_rows < 1 or max_blocks < 1:
        raise ValueError("there is a row, and a block in it")
    widths = st.integers(1, 32 * max_blocks) if kind.unit == 1 else st.integers(1, max_blocks)
    shapes = st.tuples(st.integers(1, max_rows), widths.map(lambda n: n * kind.unit))
    return st.sampled_from(tuple(kinds)).flatmap(lambda name: shapes.flatmap(lambda shape: _of_kind(name, shape)))


def _of_kind(name: str, shape: tuple[int, int]) -> st.SearchStrategy[Floats]:
    places = st.integers(0, shape[0] * shape[1] - 1)
    if name == "a few":
        finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
        return st.dictionaries(places, finite, max_size=4).map(lambda put: _put(np.zeros(shape, np.float32), put))
    spots = {"spots": _SPOTS, "nan": (np.nan,)}.get(name, ())
    put = st.dictionaries(places, st.sampled_from(spots), min_size=1, max_size=3) if spots else st.just({})
    return st.builds(lambda seed, put: _put(_made(name, shape, seed), put), st.integers(0, 2**32 - 1), put)


def _made(name: str, shape: tuple[int, int], seed: int) -> Floats:
    return np.ascontiguousarray(_MAKERS[name](np.random.default_rng(seed), shape), np.float32)


def _put(values: Floats, numbers: dict[int, float]) -> Floats:
    for place, number in numbers.items():
        values.flat[place] = number
    return values
