"""Numbers that were computed with, rounded the wrong way, put into other rows, or left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.diagnosis.cause import Cause
from rosetta_ref.diagnosis.change import Change, Turn
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.values import narrowed_wrongly, numbers
from rosetta_ref.quant import TYPES

Array = NDArray[Any]
_FLOATS = ("F16", "BF16", "F32", "F64")
#: A factor this near to 1 is the trace of a narrower type: the step of a BF16.
_ROUNDING = 2.0**-7
#: What numbers bear out that were encoded afterwards: no number is nearly what it was.
_BORNE_OUT = ("sign-flipped", "first-part-only", "factor", "summand")


def of_numbers(tensor: Tensor, numbers: Array) -> Tensor:
    """A tensor of these numbers, in the type that holds them: float64 and integers as they are, float32 for everything else."""
    kind = TYPES[{"f8": "F64", "f4": "F32"}.get(numbers.dtype.str[1:], tensor.type.name)]
    return Tensor.of(tensor.name, kind, numbers.shape, numbers)


def changes(before: Tensor, after: Tensor, turn: Turn) -> Iterator[Change]:
    """Each of what may have been done to the numbers of a tensor, whose rows are right when they are turned like that."""
    if not _countable(before) or not _countable(after) or before.shape != after.shape or not before.count:
        return
    with np.errstate(all="ignore"):
        was, found = numbers(before), numbers(after)
        if turn is not None:
            if before.shape[0] % (2 * turn[0]):
                return
            was = (mapping.to_halves if turn[1] else mapping.to_pairs)(was, turn[0])
        for cause, made in _all(was, found, before, after):
            borne = cause.id in _BORNE_OUT
            yield Change((cause,), of_numbers(before, np.ascontiguousarray(made)), (None,), exact=borne)


def _countable(tensor: Tensor) -> bool:
    return tensor.type.decode is not None or tensor.type.is_scalar


def _all(was: Array, found: Array, before: Tensor, after: Tensor) -> Iterator[tuple[Cause, Array]]:
    yield from _first_only(was, found, rounded=after.type.name not in ("F32", "F64"))
    yield from _rows(was, found, after)
    if was.dtype.kind != "f" or found.dtype.kind != "f":
        return
    yield Cause("sign-flipped", "every number has the other sign"), -was
    if before.type.name in ("F16", "BF16"):
        least = 2.0**-14 if before.type.name == "F16" else 2.0**-126
        yield (
            Cause("flushed", f"subnormal numbers of {before.type.name} were read as 0"),
            np.where(abs(was) < least, was * 0, was),
        )
    if after.type.name in ("F16", "BF16"):
        for name, values in narrowed_wrongly(was, after.type).items():
            yield Cause(name, f"{name} on the way to {after.type.name}, where it should be rounded"), values
    yield from _linear(was, found, blocks=not after.type.is_scalar)


# Parts


def _first_only(was: Array, found: Array, *, rounded: bool) -> Iterator[tuple[Cause, Array]]:
    """The first elements, and nothing but zeros or the same again behind them."""
    flat, there = was.reshape(-1), found.reshape(-1)
    expected = flat.astype(there.dtype)
    differ = (there != expected) & ~((there != there) & (expected != expected))  # NaN is NaN
    start = int(np.argmax(differ))
    last = int(there.size - np.argmax(there[::-1] != 0)) if there.any() else 0
    if rounded and last < there.size:  # every element may be a little off
        start = last
    if not start or start == there.size or not differ[start]:
        return
    for count in sorted({start, last} - {there.size}):
        made = flat.copy()
        made[count:] = 0
        yield Cause("first-part-only", f"the first {count:,} elements, and zeros behind them"), made.reshape(was.shape)
    for count in _periods(flat, there, start):
        made = np.resize(flat[:count], flat.shape)
        cause = Cause("first-part-repeated", f"the first {count:,} elements again and again")
        yield cause, made.reshape(was.shape)


def _periods(flat: Array, there: Array, start: int) -> Iterator[int]:
    """How long the first part may be that stands there again and again: a divisor, at most where the data begins to differ."""
    small = [count for count in range(1, math.isqrt(there.size) + 1) if there.size % count == 0]
    for count in sorted({*small, *(there.size // count for count in small)}):
        if count <= start and np.array_equal(there[count : 2 * count], flat[:count].astype(there.dtype)):
            yield count


def _rows(was: Array, found: Array, after: Tensor) -> Iterator[tuple[Cause, Array]]:
    """Every row once, in another order. Rows that are there twice prove nothing."""
    if was.ndim < 2 or was.shape[0] < 2 or found.dtype.kind != was.dtype.kind:
        return
    shown = _as_stored(was, after).reshape(len(was), -1)
    places = {row.tobytes(): place for place, row in enumerate(shown)}
    order = [places.get(row.tobytes(), -1) for row in np.ascontiguousarray(found.reshape(len(found), -1))]
    if len(places) < len(shown) or sorted(order) != sorted(places.values()) or order == sorted(order):
        return
    yield Cause("rows-permuted", f"every row is there, in another order: {_said(order)}"), was[order]


def _as_stored(was: Array, after: Tensor) -> Array:
    """As the target's type shows them."""
    if after.type.name in ("F16", "BF16") and after.type.encode is not None and after.type.decode is not None:
        return after.type.decode(after.type.encode(was.astype(np.float32).reshape(-1)))
    return np.ascontiguousarray(was.astype(np.float64 if after.type.name == "F64" else np.float32))


def _said(order: list[int]) -> str:
    count = len(order)
    if order == list(range(count))[::-1]:
        return "back to front"
    if order == [*range(order[0], count), *range(order[0])]:
        return f"begun at row {order[0]}"
    return "first come rows " + ", ".join(map(str, order[:6])) + (", ..." if count > 6 else "")


# A factor, a summand


def _linear(was: Array, found: Array, *, blocks: bool) -> Iterator[tuple[Cause, Array]]:
    """One number that all are multiplied by, or that is added to all; two different ones must bear it out.

    A round one for `blocks`, whose elements are all a little off: any other would be made of their errors.
    """
    usable = np.isfinite(was) & np.isfinite(found)
    x, y = was[usable].astype(np.float64), found[usable].astype(np.float64)
    if len(np.unique(x[x != 0][:4096])) < 2:
        return
    largest, smallest = int(np.argmax(np.abs(x))), int(np.argmin(np.abs(x)))
    for factor in _near(y[largest] / x[largest], round_only=blocks):
        if factor and abs(abs(factor) - 1) > _ROUNDING:
            for made in _both(was, factor, np.multiply):
                yield Cause("factor", f"every number times {factor:.9g}"), made
    for summand in _near(y[smallest] - x[smallest], round_only=blocks):
        if summand:
            for made in _both(was, summand, np.add):
                yield Cause("summand", f"{summand:+.9g} added to every number"), made


def _near(number: float, *, round_only: bool = False) -> list[float]:
    """What a number that was rounded may have been: something round, a root, or a float32 beside it."""
    if not math.isfinite(number) or not number:
        return []
    sign = math.copysign(1.0, number)
    square = number * number
    round_ones = [
        round(number),
        sign * math.sqrt(round(square)),
        sign / math.sqrt(round(1 / square) or 1),
        1 / (round(1 / number) or 1),
    ]
    narrow = np.float32(number)
    beside = (
        []
        if round_only
        else [narrow, np.nextafter(narrow, np.float32(-np.inf)), np.nextafter(narrow, np.float32(np.inf))]
    )
    found = [float(x) for x in round_ones if abs(x - number) < 0.01 * abs(number)]
    return list(dict.fromkeys([*found, *map(float, beside)]))


def _both(was: Array, number: float, do: Any) -> Iterator[Array]:
    """Computed in float32, and in float64."""
    if was.dtype == np.float32:
        yield do(was, np.float32(number))
    yield do(was.astype(np.float64), number).astype(was.dtype)
