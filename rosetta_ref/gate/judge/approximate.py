"""How good an approximation is: each block's largest error against that of the reference's quantiser."""

from __future__ import annotations

import numpy as np

from rosetta_ref.gate.judge.pairs import Array, Pair
from rosetta_ref.gate.judge.verdict import Verdict
from rosetta_ref.quant import BlockType

ENCODED = "encoded"
#: How much worse than the reference's quantiser a block may be: another order of sums and other ties are no fault.
MARGIN = 1.25


def near(pair: Pair) -> bool:
    """Whether each block is off as little as by a quantiser that is worse than the reference's.

    That is 3/4 of a step in the root of the mean square, and four steps at most. A step is what the bits of the type part the
    range of a block into, zero within it. Nothing is near in a type of one block a tensor.
    """
    kind = pair.target.type
    digits = [int(letter) for letter in kind.name if letter.isdigit()]
    if not digits or kind.is_whole or pair.target.count % kind.elements:
        return False
    return all(_near(expected, found, kind.elements, digits[0]) for _, expected, found in pair.numbers())


def _near(expected: Array, found: Array, width: int, bits: int) -> bool:
    rows, made = (values.reshape(-1, width).astype(np.float64) for values in (expected, found))
    span = np.maximum(rows.max(axis=1), 0) - np.minimum(rows.min(axis=1), 0)
    error, step = np.abs(rows - made), span / (2**bits - 1)
    fine: Array = (error.max(axis=1) <= 4 * step) & (np.sqrt((error**2).mean(axis=1)) <= 0.75 * step)
    return bool(fine.all())


def judge_within(pair: Pair) -> Verdict:
    """Each block's largest error is at most that of the reference's quantiser, and a margin.

    Blocks are those of the type; each element where one block is all of the tensor, all of it where the last block is padded.
    """
    kind, count = pair.target.type, pair.target.count
    invented, largest = _survey(pair)
    if invented:
        return Verdict(kind="nan", detail=f"{invented:,} of {count:,} elements", count=invented)
    if kind.encode is None:
        return Verdict(kind="unknown-type", detail=f"nothing here encodes {kind.name}, so its error cannot be judged")
    width = kind.unit
    width = count if count % width else width
    far, said = 0, ""
    for first, expected, found in pair.numbers(whole=width == count):
        flat = expected.astype(np.float32)
        made = _encoded(flat, kind, largest)
        errors = [np.abs(values - flat).astype(np.float64).reshape(-1, width).max(axis=1) for values in (made, found)]
        wrong = errors[1] > MARGIN * errors[0] + 1e-6 * np.abs(flat).reshape(-1, width).max(axis=1) + 1e-30
        if not said and wrong.any():
            at = int(np.argmax(wrong))
            ours, theirs = errors[0][at], errors[1][at]
            said = f"block {first // width + at} is off by {theirs:.3g}, the reference by {ours:.3g}"
        far += int(np.count_nonzero(wrong))
    if not far:
        return Verdict(ENCODED)
    detail = f"{far:,} of {count // width:,} blocks have a larger error than the reference's: {said}"
    return Verdict(kind="error-too-large", detail=detail, count=far * width)


def _survey(pair: Pair) -> tuple[int, Array]:
    """How many NaN and Inf there are, where the source has none at all; and its largest element, as an array of one."""
    invented, finite, largest = 0, True, np.zeros(1, np.float32)
    for _, expected, found in pair.numbers():
        invented += int(np.count_nonzero(~np.isfinite(found)))
        finite = finite and bool(np.isfinite(expected).all())
        largest = np.fmax(largest, np.fmax.reduce(np.abs(expected.astype(np.float32))))
    return invented if finite else 0, largest


def _encoded(flat: Array, kind: BlockType, largest: Array) -> Array:
    """What the reference's quantiser makes of a piece, decoded. Where one scale is for all, the largest of all goes along."""
    values = np.append(flat, largest) if kind.is_whole else flat
    sized = kind.sized(values.size)
    assert sized.encode is not None
    assert sized.decode is not None
    return sized.decode(sized.blocks(np.asarray(sized.encode(values)).reshape(-1).view(np.uint8)))[: flat.size]
