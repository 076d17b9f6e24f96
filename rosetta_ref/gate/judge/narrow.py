"""A narrower float must be the nearest one, ties to even: worked out here, in float64, and not by the codecs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rosetta_ref.gate.judge.pairs import Array, Pair
from rosetta_ref.gate.judge.verdict import Verdict, Wrong
from rosetta_ref.quant import BlockType

NARROWED, EXACTLY = "narrowed", "narrowed exactly"


def judge_narrow(pair: Pair) -> Verdict:
    """The nearest F16 or BF16; what went wrong has a name of its own where it is a known way to go wrong."""
    kind = pair.target.type
    lost, wrong, beside, inexact = Wrong(), Wrong(), False, 0
    for first, values, stored in pair.numbers():
        exact, found, nearest = values.astype(np.float64), stored.astype(np.float64), _nearest(values, kind)
        differ, gone = _differ(nearest, found), np.isfinite(exact) & ~np.isfinite(found)
        wrong.add(first, differ, nearest, found)
        lost.add(first, gone, exact, found)
        beside = beside or bool((differ & ~gone).any())
        inexact += int(np.count_nonzero((nearest != exact) & ~(np.isnan(exact) & np.isnan(found))))
    if lost.count and not beside:
        return replace(lost.verdict(pair.target, "out-of-range"), kind="out-of-range")
    if wrong.count:
        return wrong.verdict(pair.target, _fault(pair))
    return Verdict(NARROWED, count=inexact) if inexact else Verdict(EXACTLY)


def _differ(nearest: Array, found: Array) -> Array:
    """Where it is not the nearest, with its sign; NaN of any kind for NaN."""
    same = (nearest == found) & (np.signbit(nearest) == np.signbit(found))
    differ: Array = ~same & ~(np.isnan(nearest) & np.isnan(found))
    return differ


def _nearest(values: Array, kind: BlockType) -> Array:
    """In float64. F16 by NumPy's conversion, which rounds to nearest even; BF16 by arithmetic on the bits of a float32."""
    if kind.name == "F16":
        made: Array = values.astype(np.float16).astype(np.float64)
        return made
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(values), np.nan, rounded).astype(np.float64)


def _fault(pair: Pair) -> str:
    """The first of the known ways that all elements went, as far as they are finite or wrong."""
    left: list[str] | None = None
    for _, values, stored in pair.numbers():
        exact, found, nearest = values.astype(np.float64), stored.astype(np.float64), _nearest(values, pair.target.type)
        judged = np.isfinite(nearest) | _differ(nearest, found)
        ways = narrowed_wrongly(exact, pair.target.type)
        left = [name for name in (ways if left is None else left) if (found[judged] == ways[name][judged]).all()]
        if not left:
            break
    return left[0] if left else "values"


def narrowed_wrongly(values: Array, kind: BlockType) -> dict[str, Array]:
    """What becomes of values in F16 or BF16 by the known ways to do it wrong, in float64."""
    exact = values.astype(np.float64)
    bits, least, smallest = (10, -24, 2.0**-14) if kind.name == "F16" else (7, -133, 2.0**-126)
    _, exponent = np.frexp(exact)
    unit = np.ldexp(1.0, np.maximum(exponent - 1 - bits, least))
    cut = np.trunc(exact / unit) * unit
    tiny = np.abs(exact) < smallest
    return {
        "truncated": cut,
        "flushed": np.where(tiny, 0.0, _nearest(values, kind)),
        "truncated-and-flushed": np.where(tiny, 0.0, cut),
    }
