"""The kernels of the encoders: the searches of `quant.search` and `quant.iq4`, compiled by numba, by the same names.

What a search does is told there. Here groups are rows, of `x` and of their weights, and what is found goes into the arrays
behind them: numbers by group, and the codes of the best trial as they are stored. `LANES` groups are worked on at once, turned
to (element, lane), so that each adds up from its first element to its last, and the innermost loop, over the lanes, becomes vector
code: lanes never meet. What all lanes need lies in one record, whose fields a compiler knows to be apart.

A loop over eight elements inside of the one over the lanes is unrolled, and keeps the sums in registers for as long. Numbers are
read before one is chosen of two: a choice between places in memory would not be vector code.

Everything a kernel calls stands in this module, see `decoding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite.ir import IntType
from numba.extending import intrinsic

from rosetta_ref.quant.iq4 import LEVELS

#: Groups that are worked on at once: four vectors of the widest kind.
LANES = 64
#: The most elements that a group has.
_MOST = 32

#: One number for each group in the lanes.
_BY_LANE = (
    *("low", "high", "origin", "scale", "factor", "best", "tried", "error", "constant", "nothing", "largest", "moved"),
    *("sum_w", "sum_x", "sum_l", "sum_l2", "sum_xl", "determinant", "new_scale", "new_low"),
)
_SCRATCH = np.dtype(
    [(name, np.float32, (_MOST, LANES)) for name in ("x", "w", "codes")]
    + [(name, np.float32, LANES) for name in _BY_LANE]
)
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}
_NOTHING = np.float32(1e-15)
_ZERO, _ONE, _TENTH = np.float32(0), np.float32(1), np.float32(0.1)
_INFINITE = np.float32(np.inf)
_MAGIC = np.float32(12582912)
_LEVELS = np.array(LEVELS, np.float32)
_MIDDLES = (_LEVELS[:-1] + _LEVELS[1:]) / np.float32(2)


def kernel(function: Callable[..., None]) -> Any:
    """Compiled at the first call on a machine and kept on disk, where there is a place that may be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache
        return numba.njit(**_OPTIONS)(function)


#: A step of a kernel.
step: Callable[[Any], Any] = numba.njit(inline="always")


def _bitcast(context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], IntType(32))

    return numba.int32(numba.float32), generate


#: The bits of a float32, without the call that numba's `view` is: no loop with a call becomes vector code.
bits_of: Any = intrinsic(_bitcast)


@step
def nearest_int(value: Any) -> Any:
    """As `rounding.nearest_int`, garbage included; a whole float32."""
    return np.float32(np.int32((bits_of(np.float32(value + _MAGIC)) & np.int32(0x7FFFFF)) - np.int32(0x400000)))


@step
def clipped(value: Any, bottom: Any, top: Any) -> Any:
    """From `bottom` to `top`."""
    raised = value if value > bottom else bottom
    return raised if raised < top else top


@step
def turn(s: Any, x: Any, weights: Any, first: int, count: int, lanes: int) -> None:
    """The next groups to (element, lane); lanes that are left over get the last group again."""
    for lane in range(lanes):
        row = first + (lane if lane < count else count - 1)
        for i in range(x.shape[1]):
            s.x[i, lane], s.w[i, lane] = x[row, i], weights[row, i]


@step
def put_codes(s: Any, codes: Any, first: int, count: int) -> None:
    """The codes back to rows."""
    for lane in range(count):
        for i in range(codes.shape[1]):
            codes[first + lane, i] = np.uint8(np.int32(s.codes[i, lane]))


@kernel
def sums(x: Any, squared: bool, out: Any) -> None:
    """The sum of each row, or of its squares."""
    by_lane = np.zeros(LANES, np.float32)
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        by_lane[:] = 0
        for start in range(0, x.shape[1], 8):
            for lane in range(count):
                row, total = first + lane, by_lane[lane]
                for k in range(8):
                    value = x[row, start + k]
                    total += value * value if squared else value
                by_lane[lane] = total
        for lane in range(count):
            out[first + lane] = by_lane[lane]


# --- scale and minimum -----------------------------------------------------------------------------------------------------


@step
def _affine_start(s: Any, size: int, top: Any, lanes: int) -> None:
    for lane in range(lanes):
        s.low[lane] = s.high[lane] = s.x[0, lane]
        s.sum_w[lane] = s.sum_x[lane] = 0
    for start in range(0, size, 8):
        for lane in range(lanes):
            low, high, sum_w, sum_x = s.low[lane], s.high[lane], s.sum_w[lane], s.sum_x[lane]
            for k in range(8):
                x, w = s.x[start + k, lane], s.w[start + k, lane]
                low, high = x if x < low else low, x if x > high else high
                sum_w += w
                sum_x += w * x
            s.low[lane], s.high[lane], s.sum_w[lane], s.sum_x[lane] = low, high, sum_w, sum_x
    for lane in range(lanes):
        low = s.low[lane] if s.low[lane] <= _ZERO else _ZERO
        constant = s.high[lane] == low
        factor = top / (s.high[lane] - low)
        s.scale[lane] = _ZERO if constant else _ONE / factor
        s.factor[lane] = s.tried[lane] = _ZERO if constant else factor
        s.low[lane] = s.origin[lane] = low
        s.constant[lane] = _ONE if constant else _ZERO


@step
def _affine_sums(s: Any, size: int, top: Any, lanes: int) -> None:
    for lane in range(lanes):
        s.sum_l[lane] = s.sum_l2[lane] = s.sum_xl[lane] = 0
    for start in range(0, size, 8):
        for lane in range(lanes):
            low, factor = s.low[lane], s.tried[lane]
            sum_l, sum_l2, sum_xl = s.sum_l[lane], s.sum_l2[lane], s.sum_xl[lane]
            for k in range(8):
                x = s.x[start + k, lane]
                code = clipped(nearest_int((x - low) * factor), _ZERO, top)
                weighted = s.w[start + k, lane] * code
                sum_l += weighted
                sum_l2 += weighted * code
                sum_xl += weighted * x
            s.sum_l[lane], s.sum_l2[lane], s.sum_xl[lane] = sum_l, sum_l2, sum_xl


@step
def _affine_error(s: Any, scales: Any, lows: Any, size: int, top: Any, absolute: bool, lanes: int) -> None:
    """The error of scale x code + low, into `error`. The codes are made once more: that costs less than to keep them."""
    for lane in range(lanes):
        s.error[lane] = 0
    for start in range(0, size, 8):
        for lane in range(lanes):
            origin, factor, scale, low, error = s.low[lane], s.tried[lane], scales[lane], lows[lane], s.error[lane]
            for k in range(8):
                x = s.x[start + k, lane]
                code = clipped(nearest_int((x - origin) * factor), _ZERO, top)
                difference = scale * code + low - x
                error += (abs(difference) if absolute else difference * difference) * s.w[start + k, lane]
            s.error[lane] = error


@step
def _affine_line(s: Any, lanes: int) -> None:
    """The best line through the codes, into `new_scale` and `new_low`."""
    for lane in range(lanes):
        sum_l, sum_l2, sum_xl, sum_w, sum_x = (
            s.sum_l[lane],
            s.sum_l2[lane],
            s.sum_xl[lane],
            s.sum_w[lane],
            s.sum_x[lane],
        )
        determinant = sum_w * sum_l2 - sum_l * sum_l
        scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        above = low > _ZERO
        s.determinant[lane] = determinant
        s.new_scale[lane] = sum_xl / sum_l2 if above else scale
        s.new_low[lane] = _ZERO if above else low


@step
def _affine_keep(s: Any, lanes: int) -> None:
    for lane in range(lanes):
        error, best, scale, factor = s.error[lane], s.best[lane], s.scale[lane], s.factor[lane]
        origin, low, tried, new_scale, new_low = (
            s.origin[lane],
            s.low[lane],
            s.tried[lane],
            s.new_scale[lane],
            s.new_low[lane],
        )
        better = (s.determinant[lane] > _ZERO) & (error < best)
        s.best[lane], s.scale[lane] = error if better else best, new_scale if better else scale
        s.factor[lane], s.origin[lane] = tried if better else factor, low if better else origin
        s.low[lane] = new_low if better else low


@kernel
def affine(x: Any, weights: Any, top: Any, numerators: Any, absolute: bool, scales: Any, lows: Any, codes: Any) -> None:
    """`search.affine`; `numerators` are its trials."""
    s, size, lanes = np.zeros(1, _SCRATCH)[0], x.shape[1], LANES
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        turn(s, x, weights, first, count, lanes)
        _affine_start(s, size, top, lanes)
        _affine_error(s, s.scale, s.low, size, top, absolute, lanes)
        for lane in range(lanes):
            s.best[lane] = -_INFINITE if s.constant[lane] != _ZERO else s.error[lane]
        for numerator in numerators:
            for lane in range(lanes):
                s.tried[lane] = _ZERO if s.constant[lane] != _ZERO else numerator / (s.high[lane] - s.low[lane])
            _affine_sums(s, size, top, lanes)
            _affine_line(s, lanes)
            _affine_error(s, s.new_scale, s.new_low, size, top, absolute, lanes)
            _affine_keep(s, lanes)
        for lane in range(count):
            scales[first + lane], lows[first + lane] = s.scale[lane], s.low[lane]
        for i in range(size):
            for lane in range(lanes):
                s.codes[i, lane] = clipped(nearest_int((s.x[i, lane] - s.origin[lane]) * s.factor[lane]), _ZERO, top)
        put_codes(s, codes, first, count)


# --- scale alone -----------------------------------------------------------------------------------------------------------


@step
def _extreme(s: Any, size: int, lanes: int) -> None:
    """`rounding.extreme`, into `largest`; where that is as good as nothing, 1, and a mark."""
    for lane in range(lanes):
        s.largest[lane] = s.best[lane] = 0
    for i in range(size):
        for lane in range(lanes):
            magnitude = abs(s.x[i, lane])
            larger = magnitude > s.best[lane]
            s.largest[lane] = s.x[i, lane] if larger else s.largest[lane]
            s.best[lane] = magnitude if larger else s.best[lane]
    for lane in range(lanes):
        s.nothing[lane] = _ONE if s.best[lane] < _NOTHING else _ZERO
        s.largest[lane] = _ONE if s.nothing[lane] != _ZERO else s.largest[lane]


@step
def _symmetric_sums(s: Any, size: int, half: Any, lanes: int) -> None:
    for lane in range(lanes):
        s.sum_l2[lane] = s.sum_xl[lane] = 0
    for start in range(0, size, 8):
        for lane in range(lanes):
            factor, sum_l2, sum_xl = s.tried[lane], s.sum_l2[lane], s.sum_xl[lane]
            for k in range(8):
                x, w = s.x[start + k, lane], s.w[start + k, lane]
                code = clipped(nearest_int(x * factor), -half, half - _ONE)
                sum_xl += w * x * code
                sum_l2 += w * code * code
            s.sum_l2[lane], s.sum_xl[lane] = sum_l2, sum_xl


@kernel
def symmetric(x: Any, weights: Any, half: Any, scales: Any, codes: Any) -> None:
    """`search.symmetric`."""
    s, size, lanes = np.zeros(1, _SCRATCH)[0], x.shape[1], LANES
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        turn(s, x, weights, first, count, lanes)
        _extreme(s, size, lanes)
        for lane in range(lanes):
            s.tried[lane] = s.factor[lane] = -half / s.largest[lane]
        _symmetric_sums(s, size, half, lanes)
        for lane in range(lanes):
            s.scale[lane] = s.sum_xl[lane] / s.sum_l2[lane] if s.sum_l2[lane] != _ZERO else _ZERO
            s.best[lane] = s.scale[lane] * s.sum_xl[lane]
        for i in range(-9, 10):
            if i == 0:
                continue
            wanted = -(half + _TENTH * np.float32(i))
            for lane in range(lanes):
                s.tried[lane] = wanted / s.largest[lane]
            _symmetric_sums(s, size, half, lanes)
            _keep_line(s, lanes)
        for lane in range(count):
            scales[first + lane] = _ZERO if s.nothing[lane] != _ZERO else s.scale[lane]
        for i in range(size):
            for lane in range(lanes):
                code = clipped(nearest_int(s.x[i, lane] * s.factor[lane]), -half, half - _ONE) + half
                s.codes[i, lane] = _ZERO if s.nothing[lane] != _ZERO else code
        put_codes(s, codes, first, count)


@step
def _keep_line(s: Any, lanes: int) -> None:
    """A line through the origin, if it is better than the best."""
    for lane in range(lanes):
        sum_l2, sum_xl, best, tried = s.sum_l2[lane], s.sum_xl[lane], s.best[lane], s.tried[lane]
        scale, factor, new_scale = s.scale[lane], s.factor[lane], sum_xl / sum_l2
        better = (sum_l2 > _ZERO) & (sum_xl * sum_xl > best * sum_l2)
        s.scale[lane], s.factor[lane] = new_scale if better else scale, tried if better else factor
        s.best[lane] = new_scale * sum_xl if better else best


# --- one code at a time ----------------------------------------------------------------------------------------------------


@step
def _sums_of_codes(s: Any, size: int, lanes: int) -> None:
    for lane in range(lanes):
        s.sum_l2[lane] = s.sum_xl[lane] = 0
    for i in range(size):
        for lane in range(lanes):
            s.sum_xl[lane] += s.w[i, lane] * s.x[i, lane] * s.codes[i, lane]
            s.sum_l2[lane] += s.w[i, lane] * s.codes[i, lane] * s.codes[i, lane]


@step
def _descend(s: Any, size: int, bottom: Any, top: Any, as_bytes: bool, lanes: int) -> None:
    """`search.descend`, the scale into `scale`. With `as_bytes` a code is not clipped from below, and becomes a byte."""
    for _ in range(5):
        for lane in range(lanes):
            s.moved[lane] = 0
        for i in range(size):
            for lane in range(lanes):
                x, w, old = s.x[i, lane], s.w[i, lane], s.codes[i, lane]
                sum_xl, sum_l2 = s.sum_xl[lane], s.sum_l2[lane]
                rest_xl, rest_l2 = sum_xl - w * x * old, sum_l2 - w * old * old
                code = clipped(nearest_int(x * rest_l2 / rest_xl), bottom, top)
                new_xl, new_l2 = rest_xl + w * x * code, rest_l2 + w * code * code
                moves = (code != old) & (rest_xl > _ZERO) & ((rest_l2 if as_bytes else new_l2) > _ZERO)
                moves &= new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2
                stored = (as_byte(code) if as_bytes else code) if moves else old
                s.codes[i, lane] = stored
                s.sum_xl[lane], s.sum_l2[lane] = new_xl if moves else sum_xl, new_l2 if moves else sum_l2
                s.moved[lane] += abs(stored - old)
        moved = _ZERO
        for lane in range(lanes):
            moved += s.moved[lane]
        if moved == _ZERO:
            break
    for lane in range(lanes):
        scale = s.sum_xl[lane] / s.sum_l2[lane] if s.sum_l2[lane] > _ZERO else _ZERO
        s.scale[lane] = _ZERO if s.nothing[lane] != _ZERO else scale


@step
def as_byte(code: Any) -> Any:
    """C's conversion of an integer to a byte."""
    return np.float32(np.int32(code) & np.int32(255))


@kernel
def descended(x: Any, weights: Any, half: Any, scales: Any, codes: Any) -> None:
    """`search.descended`."""
    s, size, lanes = np.zeros(1, _SCRATCH)[0], x.shape[1], LANES
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        turn(s, x, weights, first, count, lanes)
        _extreme(s, size, lanes)
        for i in range(size):
            for lane in range(lanes):
                s.codes[i, lane] = clipped(nearest_int(-half / s.largest[lane] * s.x[i, lane]), -half, half - _ONE)
        _sums_of_codes(s, size, lanes)
        _descend(s, size, -half, half - _ONE, False, lanes)
        for lane in range(count):
            scales[first + lane] = s.scale[lane]
        for i in range(size):
            for lane in range(lanes):
                s.codes[i, lane] = _ZERO if s.nothing[lane] != _ZERO else s.codes[i, lane] + half
        put_codes(s, codes, first, count)


@step
def _positive_error(s: Any, size: int, top: Any, lanes: int) -> None:
    """The error of the trial, each code at the trial's own scale."""
    for lane in range(lanes):
        s.error[lane] = 0
    for i in range(size):
        for lane in range(lanes):
            code = nearest_int(s.tried[lane] * s.x[i, lane])
            difference = s.x[i, lane] - _ONE / s.tried[lane] * (code if code < top else top)
            s.error[lane] += s.w[i, lane] * difference * difference


@kernel
def positive(x: Any, weights: Any, top: Any, scales: Any, codes: Any) -> None:
    """`search.positive`."""
    s, size, lanes = np.zeros(1, _SCRATCH)[0], x.shape[1], LANES
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        turn(s, x, weights, first, count, lanes)
        for lane in range(lanes):
            largest = _ZERO
            for i in range(size):
                largest = largest if largest > s.x[i, lane] else s.x[i, lane]
            s.nothing[lane] = _ONE if largest < _NOTHING else _ZERO
            s.largest[lane] = _ONE if s.nothing[lane] != _ZERO else largest
            s.tried[lane] = s.factor[lane] = top / s.largest[lane]
            s.best[lane] = 0
        for i in range(size):
            for lane in range(lanes):
                code = as_byte(nearest_int(s.factor[lane] * s.x[i, lane]))
                difference = s.x[i, lane] - _ONE / s.factor[lane] * code
                s.best[lane] += s.w[i, lane] * difference * difference
        for trial in range(-4, 5):
            if trial == 0:
                continue
            wanted = _TENTH * np.float32(trial) + top
            for lane in range(lanes):
                s.tried[lane] = wanted / s.largest[lane]
            _positive_error(s, size, top, lanes)
            for lane in range(lanes):
                better = s.error[lane] < s.best[lane]
                s.best[lane] = s.error[lane] if better else s.best[lane]
                s.factor[lane] = s.tried[lane] if better else s.factor[lane]
        for i in range(size):
            for lane in range(lanes):
                code = nearest_int(s.factor[lane] * s.x[i, lane])
                s.codes[i, lane] = code if code < top else top
        _sums_of_codes(s, size, lanes)
        for i in range(size):
            for lane in range(lanes):
                s.codes[i, lane] = as_byte(s.codes[i, lane])
        _descend(s, size, -_INFINITE, top, True, lanes)
        for lane in range(count):
            scales[first + lane] = s.scale[lane]
        for i in range(size):
            for lane in range(lanes):
                s.codes[i, lane] = _ZERO if s.nothing[lane] != _ZERO else s.codes[i, lane]
        put_codes(s, codes, first, count)


# --- levels ----------------------------------------------------------------------------------------------------------------


@step
def _levels_sums(s: Any, lanes: int) -> None:
    for lane in range(lanes):
        s.sum_l2[lane] = s.sum_xl[lane] = 0
    for start in range(0, 32, 4):
        for lane in range(lanes):
            factor, sum_l2, sum_xl = s.tried[lane], s.sum_l2[lane], s.sum_xl[lane]
            for k in range(4):
                x = s.x[start + k, lane]
                level = nearest_level(factor * x)
                weighted = s.w[start + k, lane] * level
                sum_xl += weighted * x
                sum_l2 += weighted * level
            s.sum_l2[lane], s.sum_xl[lane] = sum_l2, sum_xl


@step
def nearest_level(x: Any) -> Any:
    """The level on whose side of the middles x lies: a middle belongs to the level above it, NaN to the highest."""
    level = _LEVELS[0]
    for i in range(15):
        level = level if x < _MIDDLES[i] else _LEVELS[i + 1]
    return level


@kernel
def levels(x: Any, weights: Any, scales: Any) -> None:
    """The search of IQ4: the scale alone."""
    s, lanes = np.zeros(1, _SCRATCH)[0], LANES
    for first in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - first)
        turn(s, x, weights, first, count, lanes)
        _extreme(s, 32, lanes)
        for lane in range(lanes):
            s.tried[lane] = _ONE / (-s.largest[lane] / _LEVELS[0])
        _levels_sums(s, lanes)
        for lane in range(lanes):
            s.scale[lane] = s.sum_xl[lane] / s.sum_l2[lane] if s.sum_l2[lane] > _ZERO else _ZERO
            s.best[lane] = s.scale[lane] * s.sum_xl[lane]
        for trial in range(-7, 8):
            for lane in range(lanes):
                s.tried[lane] = (np.float32(trial) + _LEVELS[0]) / s.largest[lane]
            _levels_sums(s, lanes)
            _keep_line(s, lanes)
        for lane in range(count):
            scales[first + lane] = _ZERO if s.nothing[lane] != _ZERO else s.scale[lane]


# --- the last rounding -----------------------------------------------------------------------------------------------------


@kernel
def rounded(x: Any, scales: Any, minima: Any, bottom: Any, top: Any, codes: Any) -> None:
    """(x + minimum) / scale as codes counted from `bottom`; where the scale is 0, the codes stay as they are."""
    for row in range(x.shape[0]):
        scale, minimum = scales[row], minima[row]
        if scale != _ZERO:
            for i in range(x.shape[1]):
                code = clipped(nearest_int((x[row, i] + minimum) / scale), bottom, top)
                codes[row, i] = np.uint8(np.int32(code - bottom))


@kernel
def rounded_to_levels(x: Any, factors: Any, codes: Any) -> None:
    """The code of the level nearest to factor x element."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            scaled, code = x[row, i] * factors[row], np.int32(0)
            for k in range(15):
                code += np.int32(0) if scaled < _MIDDLES[k] else np.int32(1)
            codes[row, i] = np.uint8(code)
