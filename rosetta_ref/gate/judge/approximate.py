"""How good an approximation is: each block's errors against the reference quantiser's, and against what its type may lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rosetta_ref.gate.judge import rounding
from rosetta_ref.gate.judge.pairs import Array, Pair
from rosetta_ref.gate.judge.verdict import Verdict
from rosetta_ref.quant import BlockType

ENCODED = "encoded"
#: How much worse than the reference's quantiser a block may be, in its squared error and in its largest one: another order of sums,
#: other ties and another step of the scale are no fault.
MARGIN = 1.25
#: How many times the reference's error is no more tolerated, whatever the type may lose.
FAR = 4.0
#: The share of the blocks of a type that nothing here encodes that may be beyond its tolerance: ggml's own IQ3_S makes of a block
#: with a group of zeros another one, and nothing tells here which blocks are as odd as that.
ODD = 0.25
#: How many times too large or small the blocks of such a type may be, by their median: ggml's own are up to 1.37 times too large.
FIT = 1.6
#: Blocks whose largest number is below this need a scale that F16 has few bits for, or none: all of them may be lost.
TINY, _ALL = 2.0**-14, 1.001
#: Of the largest number of a block: what float32 loses on the way.
_NOTHING = 1e-6


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
    """Each block loses no more than the reference quantiser's, and a margin, or than its type may lose.

    A block is wrong where its squared error and its largest error both exceed the reference's by more than the margin: another
    quantiser may well buy a smaller squared error with a larger single one. It is wrong, too, where either is beyond the tolerance
    of its type, which is all there is for a type that nothing here encodes. Blocks are those of the type; where one block is all of
    the tensor, or the last one is padded, all of it.
    """
    kind, count = pair.target.type, pair.target.count
    invented, largest = _survey(pair)
    if invented:
        return Verdict(kind="nan", detail=f"{invented:,} of {count:,} elements", count=invented)
    if kind.encode is None and rounding.tolerance(kind.name) is None:
        return unknown(kind)
    width = count if kind.is_whole or count % kind.unit else kind.unit
    far, said, error, fits = 0, "", 0.0, list[Array]()
    for first, errors in _errors(pair, width, largest):
        wrong = errors.wrong(kind.name)
        if not said and wrong.any():
            at = int(np.argmax(wrong))
            said = f"block {first // width + at} {errors.told(at)}"
        far += int(np.count_nonzero(wrong))
        error = max(error, float(errors.theirs[1][wrong].max(initial=0.0)))
        fits += [errors.fit] if errors.fit is not None else []
    if fits and (about := float(np.median(np.concatenate([*fits, np.ones(1)])))) and not 1 / FIT <= about <= FIT:
        detail = f"most blocks are {1 / about:.3g} times what they were"
        return Verdict(kind="error-too-large", detail=detail, count=count, error=error)
    if far <= (0 if kind.encode is not None else ODD * (count // width)):
        return Verdict(ENCODED)
    detail = f"{far:,} of {count // width:,} blocks lose more than {_compared_with(kind)}: {said}"
    return Verdict(kind="error-too-large", detail=detail, count=far * width, error=error)


def unknown(kind: BlockType) -> Verdict:
    """Of a type whose blocks nobody can judge: no fault of the converter's."""
    return Verdict(
        kind="unknown-type", detail=f"nothing here knows what {kind.name} may lose, so its error is not judged"
    )


def _compared_with(kind: BlockType) -> str:
    return f"with the reference's {kind.name}" if kind.encode is not None else f"{kind.name} has to"


@dataclass(frozen=True)
class _Errors:
    """Of some blocks: the mean square of their numbers and the largest of them; of the errors of both the same, `ours` first.

    There are none of ours in a type that nothing here encodes.
    """

    square: Array
    peak: Array
    theirs: tuple[Array, Array]
    ours: tuple[Array, Array] | None
    #: In such a type: how large the numbers are, measured in those that the converter made of them.
    fit: Array | None = None

    @classmethod
    def of(cls, flat: Array, found: Array, made: Array | None, width: int) -> _Errors:
        """Of numbers, what the converter made of them, and what the reference's quantiser did."""
        about = _sizes(flat, width)
        ours = None if made is None else _sizes(made - flat, width)
        return cls(*about, _sizes(found - flat, width), ours, _fit(flat, found, width) if made is None else None)

    def scaled(self, share: float) -> _Errors:
        """A piece of that share of a block: its share of the mean squares."""
        ours = None if self.ours is None else (share * self.ours[0], self.ours[1])
        return _Errors(share * self.square, self.peak, (share * self.theirs[0], self.theirs[1]), ours)

    def joined(self, other: _Errors) -> _Errors:
        """Two pieces of one block."""

        def both(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
            return one[0] + two[0], np.maximum(one[1], two[1])

        about = both((self.square, self.peak), (other.square, other.peak))
        ours = None if self.ours is None or other.ours is None else both(self.ours, other.ours)
        return _Errors(*about, both(self.theirs, other.theirs), ours)

    def wrong(self, kind: str) -> Array:
        """Which blocks are."""
        squares, largest = self.theirs
        tolerated = rounding.tolerance(kind)
        beyond: Array = np.zeros(squares.shape, bool)
        if tolerated is not None:
            least = (0, 0) if self.ours is None else (FAR**2 * self.ours[0], FAR * self.ours[1])
            share, top = (np.where(self.peak < TINY, max(one, _ALL), one) for one in tolerated)
            beyond = squares > np.maximum(share**2 * self.square, least[0])
            beyond |= largest > np.maximum(top * self.peak, least[1])
        if self.ours is not None:
            more = squares > MARGIN * self.ours[0] + (_NOTHING * self.peak) ** 2
            beyond |= more & (largest > MARGIN * self.ours[1] + _NOTHING * self.peak)
        return beyond

    def told(self, at: int) -> str:
        """The errors of a block."""
        said = f"is off by {self.theirs[1][at]:.3g}"
        if self.ours is None:
            return f"{said} where its largest number is {self.peak[at]:.3g}"
        return f"{said}, the reference by {self.ours[1][at]:.3g}"


def _errors(pair: Pair, width: int, largest: Array) -> Iterator[tuple[int, _Errors]]:
    """The first element of some blocks, and their errors. What is one block comes once, whatever pieces it is looked at in."""
    kind, count = pair.target.type, pair.target.count
    pieces, total = kind.is_whole and not count % kind.unit, None
    for first, expected, found in pair.numbers(whole=width == count and not pieces):
        flat = expected.astype(np.float32)
        made = _encoded(flat, kind, largest) if kind.encode is not None else None
        if not pieces:
            yield first, _Errors.of(flat, found, made, width)
        else:
            part = _Errors.of(flat, found, made, flat.size).scaled(flat.size / count)
            total = part if total is None else total.joined(part)
    if total is not None:
        yield 0, total


def _fit(flat: Array, found: Array, width: int) -> Array:
    """The factor by which what was made of each block comes nearest to it; of none but zeros, none."""
    rows, made = (values.astype(np.float64).reshape(-1, width) for values in (flat, found))
    rows, made = (values[(made != 0).any(axis=1)] for values in (rows, made))
    fit: Array = (rows * made).sum(axis=1) / (made**2).sum(axis=1)
    return fit


def _sizes(values: Array, width: int) -> tuple[Array, Array]:
    """The mean of the squares of each block, and the largest magnitude in it."""
    rows = np.abs(values.astype(np.float64)).reshape(-1, width)
    return (rows**2).mean(axis=1), rows.max(axis=1)


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
