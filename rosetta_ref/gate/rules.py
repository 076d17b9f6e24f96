"""What counts as right for one tensor, by the type it had (S) and the type it has (D): gates.md, "What counts as right".

The types are read from the files. Carried bytes are compared as bytes, everything else as numbers, bit for bit, NaN for NaN; a
narrower float must be the nearest one, ties to even, worked out here and not by the codecs. A tensor is judged whole: it is what
a model is made of, and the largest of a model fits into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.gate import mapping
from rosetta_ref.quant import BlockType
from rosetta_ref.streaming import byte_of, index_of

Array = NDArray[Any]
CARRIED, WIDENED, DECODED = "carried", "widened", "decoded"
REPACKED, NARROWED, EXACTLY, ENCODED = "repacked", "narrowed", "narrowed exactly", "encoded"
_FLOATS = ("F16", "BF16", "F32", "F64")
#: How much worse than the reference's quantiser a block may be: another order of sums and other ties are no fault.
MARGIN = 1.25


@dataclass(frozen=True)
class Verdict:
    """Of one tensor: what was done to it, or what is wrong with it."""

    done: str = ""
    kind: str = ""
    detail: str = ""
    count: int = 0
    first: Mapping[str, Any] | None = None

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.kind


def judge(source: Tensor, target: Tensor, *, turn: tuple[int, bool] | None = None, asked: bool = False) -> Verdict:
    """The verdict on a tensor of the right shape.

    `turn` is (heads, to halves) where the rows stand in another order in the target; `asked` that its type was asked for, so that
    it may be an approximation.
    """
    name, other = source.type.name, target.type.name
    if name == other and (turn is None or _whole_rows(source)):
        carried = _judge_bytes(source, target, turn)
        return carried if carried.right or carried.kind == "size" else _other_bytes(source, target, turn, carried)
    with np.errstate(all="ignore"):
        expected, found = _turned(numbers(source), turn), numbers(target)
        if other in ("F16", "BF16"):
            return _judge_narrow(expected, target)
        if other in _FLOATS or (target.type.is_scalar and source.type.is_scalar):
            if target.type.is_scalar and other not in _FLOATS:
                return Verdict(kind="type", detail=f"{name} became {other}")
            return _judge_values(expected.astype(found.dtype), found, target, _step(source, target))
        same = _judge_values(expected.astype(found.dtype), found, target, REPACKED)
        if same.right or (name == other and turn is not None):
            return same
        within = _within(expected, found, target.type)
    if asked or (not within.right and not _near(expected, found, target.type)):
        return within
    return _unasked(name, other, same, within)


def _unasked(name: str, other: str, wrong: Verdict, within: Verdict) -> Verdict:
    """An approximation where nobody asked for one, and how good it is."""
    how = "decoded and encoded anew" if name == other else f"encoded anew as {other}"
    worse = "" if within.right else f"; {within.detail}"
    return Verdict(
        kind="lossy-unasked",
        detail=f"{name} was {how}, which nobody asked for: {wrong.detail} differ{worse}",
        count=wrong.count,
        first=wrong.first,
    )


def _step(source: Tensor, target: Tensor) -> str:
    if not source.type.is_scalar:
        return DECODED
    return WIDENED if source.type.block_bytes < target.type.block_bytes else CARRIED


def numbers(tensor: Tensor) -> Array:
    """The exact values: float64 and integers as they are, everything else as float32, which holds them."""
    if tensor.type.name == "F64" or (tensor.type.is_scalar and tensor.type.name not in (*_FLOATS, "BOOL")):
        stored: Array = tensor.type.blocks(tensor.data)
        field = stored.dtype.names
        made: Array = stored[field[0]] if field else stored
        return made.reshape(tensor.shape)
    return tensor.values()


def _whole_rows(tensor: Tensor) -> bool:
    return tensor.type.elements > 0 and bool(tensor.shape) and tensor.shape[-1] % tensor.type.elements == 0


def _turned(rows: Array, turn: tuple[int, bool] | None) -> Array:
    if turn is None:
        return rows
    heads, halves = turn
    return (mapping.to_halves if halves else mapping.to_pairs)(rows, heads)


def _judge_bytes(source: Tensor, target: Tensor, turn: tuple[int, bool] | None) -> Verdict:
    expected, found = source.data, target.data
    if turn is not None:
        expected = _turned(expected.reshape(source.shape[0], -1), turn).reshape(-1)
    if expected.size != found.size:
        return Verdict(kind="size", detail=f"{expected.size} bytes became {found.size}")
    wrong = np.flatnonzero(expected != found)
    if not wrong.size:
        return Verdict(CARRIED)
    start = int(wrong[0])
    block = source.type.block_bytes
    elements = (1 + int(np.count_nonzero(np.diff(wrong // block)))) * source.type.elements
    detail = f"{wrong.size:,} of {found.size:,} bytes, in blocks of {elements:,} of {source.count:,} elements"
    place = _place(target, start // block * source.type.elements, expected[start : start + 1], found[start : start + 1])
    return Verdict(kind="values", detail=detail, count=elements, first=place | {"offset": _offset(target, start)})


def _other_bytes(source: Tensor, target: Tensor, turn: tuple[int, bool] | None, wrong: Verdict) -> Verdict:
    """Bytes of the same type that are others: nothing but the payloads of NaN, or an encoding of what was decoded."""
    if source.type.decode is None:
        return wrong
    with np.errstate(all="ignore"):
        expected, found = _turned(numbers(source), turn), numbers(target)
        values = _judge_values(expected, found, target, REPACKED)
        if values.right and source.type.name in _FLOATS:
            return replace(wrong, kind="nan-payload", detail=f"{wrong.detail}: NaN with other payloads")
        if values.right or source.type.is_scalar or values.kind == "nan" or source.type.encode is None:
            return wrong
        within = _within(expected, found, target.type)
        if not within.right and not _near(expected, found, target.type):
            return wrong
    return _unasked(source.type.name, target.type.name, values, within)


def _judge_values(expected: Array, found: Array, target: Tensor, done: str) -> Verdict:
    """Bit for bit, NaN at the same places."""
    bits = f"u{found.dtype.itemsize}"
    wrong = expected.view(bits) != found.view(bits)
    if found.dtype.kind == "f":
        wrong &= ~(np.isnan(expected) & np.isnan(found))
    if not wrong.any():
        return Verdict(done)
    return _wrong(wrong, expected, found, target, "values")


def _wrong(wrong: Array, expected: Array, found: Array, target: Tensor, kind: str) -> Verdict:
    count, place = int(wrong.sum()), int(np.argmax(wrong))
    detail = f"{count:,} of {found.size:,} elements"
    if found.dtype.kind == "f":
        invented = int((~np.isfinite(found) & np.isfinite(expected)).sum())
        if invented:
            kind, detail = "nan", f"{invented:,} NaN or Inf that the source does not have, {detail} wrong"
        elif not np.isfinite(expected[wrong]).any():
            kind, detail = "nan-lost", f"{detail}, all of which are NaN or Inf in the source"
    pair = (expected.reshape(-1)[place : place + 1], found.reshape(-1)[place : place + 1])
    return Verdict(kind=kind, detail=detail, count=count, first=_place(target, place, *pair))


def _place(target: Tensor, element: int, expected: Array, found: Array) -> dict[str, Any]:
    """Where, and what stands there: the bits in hex, and the number."""

    def shown(value: Array) -> str:
        return "0x" + value.tobytes()[::-1].hex()

    made = {
        "index": [int(i) for i in index_of(target, element)],
        "offset": _offset(target, byte_of(target, element)),
        "expected": shown(expected),
        "actual": shown(found),
    }
    if found.dtype.kind == "f":
        made |= {"expected_value": f"{expected[0]:g}", "actual_value": f"{found[0]:g}"}
    return made


def _offset(target: Tensor, byte: int) -> int:
    return (target.offset or 0) + byte


# Narrower floats


def _judge_narrow(expected: Array, target: Tensor) -> Verdict:
    """The nearest F16 or BF16, ties to even; what went wrong has a name of its own where it is a known way to go wrong."""
    exact = expected.astype(np.float64)
    found = target.values().astype(np.float64)
    nearest = _nearest(expected, target.type)
    nan = np.isnan(exact) & np.isnan(found)
    wrong = ~((nearest == found) & (np.signbit(nearest) == np.signbit(found))) & ~nan
    lost = np.isfinite(exact) & ~np.isfinite(found)
    if lost.any() and not (wrong & ~lost).any():
        return replace(_wrong(lost, exact, found, target, "out-of-range"), kind="out-of-range")
    if wrong.any():
        return _wrong(wrong, nearest, found, target, _narrow_fault(exact, found, nearest, wrong, target.type))
    inexact = int((~nan & (nearest != exact)).sum())
    return Verdict(NARROWED, count=inexact) if inexact else Verdict(EXACTLY)


def _nearest(values: Array, kind: BlockType) -> Array:
    """In float64. F16 by NumPy's conversion, which rounds to nearest even; BF16 by arithmetic on the bits of a float32."""
    if kind.name == "F16":
        made: Array = values.astype(np.float16).astype(np.float64)
        return made
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(values), np.nan, rounded).astype(np.float64)


def _narrow_fault(exact: Array, found: Array, nearest: Array, wrong: Array, kind: BlockType) -> str:
    judged = np.isfinite(nearest) | wrong
    for name, values in narrowed_wrongly(exact, kind).items():
        if (found[judged] == values[judged]).all():
            return name
    return "values"


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
        "truncated and flushed": np.where(tiny, 0.0, cut),
    }


# Approximations


def _near(expected: Array, found: Array, kind: BlockType) -> bool:
    """Whether each block is off as little as by a quantiser that is worse than the reference's.

    That is 3/4 of a step in the root of the mean square, and four steps at most. A step is what the bits of the type part the
    range of a block into, zero within it.
    """
    digits = [int(letter) for letter in kind.name if letter.isdigit()]
    if not digits or expected.size % max(kind.elements, 1):
        return False
    rows, made = (values.reshape(-1, kind.elements).astype(np.float64) for values in (expected, found))
    span = np.maximum(rows.max(axis=1), 0) - np.minimum(rows.min(axis=1), 0)
    error, step = np.abs(rows - made), span / (2 ** digits[0] - 1)
    near: Array = (error.max(axis=1) <= 4 * step) & (np.sqrt((error**2).mean(axis=1)) <= 0.75 * step)
    return bool(near.all())


def _within(expected: Array, found: Array, kind: BlockType) -> Verdict:
    """Each block's largest error is at most that of the reference's quantiser, and a margin."""
    if not np.isfinite(found).all() and np.isfinite(expected).all():
        where = ~np.isfinite(found)
        return Verdict(kind="nan", detail=f"{int(where.sum()):,} of {found.size:,} elements", count=int(where.sum()))
    if kind.encode is None:
        return Verdict(kind="unknown-type", detail=f"nothing here encodes {kind.name}, so its error cannot be judged")
    values = expected.astype(np.float32)
    flat = values.reshape(-1)
    sized = kind.sized(flat.size)
    assert sized.decode is not None
    assert sized.encode is not None
    ours = sized.decode(sized.blocks(np.asarray(sized.encode(flat)).reshape(-1).view(np.uint8)))[: flat.size]
    width = max(kind.elements, 1) if flat.size % max(kind.elements, 1) == 0 else flat.size
    errors = [np.abs(made.reshape(-1) - flat).astype(np.float64).reshape(-1, width) for made in (ours, found)]
    allowed = MARGIN * errors[0].max(axis=1) + 1e-6 * np.abs(flat).reshape(-1, width).max(axis=1) + 1e-30
    far = errors[1].max(axis=1) > allowed
    if not far.any():
        return Verdict(ENCODED)
    block = int(np.argmax(far))
    detail = (
        f"{int(far.sum()):,} of {far.size:,} blocks have a larger error than the reference's: block {block} is off by "
        f"{errors[1][block].max():.3g}, the reference by {errors[0][block].max():.3g}"
    )
    return Verdict(kind="error-too-large", detail=detail, count=int(far.sum()) * width)
