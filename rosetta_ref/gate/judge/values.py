"""What counts as right for one tensor, by the type it had (S) and the type it has (D): gates.md, "What counts as right".

The types are read from the files. Carried bytes are compared as bytes, everything else as numbers, bit for bit, NaN for NaN. What
may differ is judged in `narrow` (floats that are rounded) and `approximate` (blocks that are encoded anew). All of them look at a
tensor in `pairs`, as often as they need to, and say what they would of the whole.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge.approximate import ENCODED, judge_within, near, unknown
from rosetta_ref.gate.judge.narrow import EXACTLY, NARROWED, judge_narrow, narrowed_wrongly
from rosetta_ref.gate.judge.pairs import FLOATS, Pair, numbers, turned, whole_rows
from rosetta_ref.gate.judge.verdict import Verdict, Wrong, offset_of, place_of

__all__ = [
    "CARRIED", "DECODED", "ENCODED", "EXACTLY", "NARROWED", "REPACKED", "WIDENED",
    "Verdict", "judge", "narrowed_wrongly", "numbers",
]  # fmt: skip

CARRIED, WIDENED, DECODED, REPACKED = "carried", "widened", "decoded", "repacked"


def judge(source: Tensor, target: Tensor, *, turn: tuple[int, bool] | None = None, asked: bool = False) -> Verdict:
    """The verdict on a tensor of the right shape.

    `turn` is (heads, to halves) where the rows stand in another order in the target; `asked` that its type was asked for, so that
    it may be an approximation.
    """
    name, other = source.type.name, target.type.name
    with np.errstate(all="ignore"):
        pair = Pair(turned(source, turn), target)
        if name == other and (turn is None or whole_rows(source)):
            carried = _judge_bytes(pair)
            return carried if carried.right or carried.kind == "size" else _other_bytes(pair, carried)
        if target.type.decode is None:
            return unknown(target.type) if asked else Verdict(kind="type", detail=f"{name} became {other}")
        if other in ("F16", "BF16"):
            return judge_narrow(pair)
        if other in FLOATS or (target.type.is_scalar and source.type.is_scalar):
            if target.type.is_scalar and other not in FLOATS:
                return Verdict(kind="type", detail=f"{name} became {other}")
            return _judge_values(pair, _step(source, target))
        same = _judge_values(pair, REPACKED)
        if same.right or (name == other and turn is not None):
            return same
        within = judge_within(pair)
        if asked or (not within.right and not near(pair)):
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
        error=wrong.error,
    )


def _step(source: Tensor, target: Tensor) -> str:
    if not source.type.is_scalar:
        return DECODED
    return WIDENED if source.type.block_bytes < target.type.block_bytes else CARRIED


def _judge_bytes(pair: Pair) -> Verdict:
    source, target = pair.source, pair.target
    if source.nbytes != target.nbytes:
        return Verdict(kind="size", detail=f"{source.nbytes} bytes became {target.nbytes}")
    size = source.type.block_bytes
    count, blocks, first = 0, 0, None
    for start, expected, found in pair.bytes():
        wrong = np.flatnonzero(expected != found)
        if not wrong.size:
            continue
        if first is None:
            at = int(wrong[0])
            first = start + at, expected[at : at + 1].copy(), found[at : at + 1].copy()
        count += wrong.size
        blocks += 1 + int(np.count_nonzero(np.diff(wrong // size)))
    if first is None:
        return Verdict(CARRIED)
    byte, *pieces = first
    elements = blocks * source.type.elements
    detail = f"{count:,} of {target.nbytes:,} bytes, in blocks of {elements:,} of {source.count:,} elements"
    place = place_of(target, byte // size * source.type.elements, *pieces)
    return Verdict(kind="values", detail=detail, count=elements, first=place | {"offset": offset_of(target, byte)})


def _other_bytes(pair: Pair, wrong: Verdict) -> Verdict:
    """Bytes of the same type that are others: nothing but the payloads of NaN, or an encoding of what was decoded."""
    kind = pair.source.type
    if kind.decode is None:
        return wrong
    values = _judge_values(pair, REPACKED)
    if values.right and kind.name in FLOATS:
        return replace(wrong, kind="nan-payload", detail=f"{wrong.detail}: NaN with other payloads")
    if values.right or kind.is_scalar or values.kind == "nan" or kind.encode is None:
        return replace(wrong, error=values.error)
    within = judge_within(pair)
    if not within.right and not near(pair):
        return replace(wrong, error=values.error)
    return _unasked(kind.name, kind.name, values, within)


def _judge_values(pair: Pair, done: str) -> Verdict:
    """Bit for bit, NaN at the same places."""
    wrong = Wrong()
    for first, values, found in pair.numbers():
        bits = f"u{found.dtype.itemsize}"
        expected = values.astype(found.dtype, copy=False)
        differ = expected.view(bits) != found.view(bits)
        if differ.any() and found.dtype.kind == "f":
            differ &= ~(np.isnan(expected) & np.isnan(found))
        wrong.add(first, differ, expected, found)
    return wrong.verdict(pair.target, "values") if wrong.count else Verdict(done)
