"""ggml's IQ4_NL and IQ4_XS: four-bit codes for sixteen levels that lie closer together near zero.

Read IQ4_NL first: as Q4_0, 32 elements with one f16 scale, but a code stands for one of `LEVELS`. IQ4_XS is 8 such groups under
one f16 scale d, each with a 6-bit scale s of its own: value = d (s - 32) level. Every product is
exact in float32.

Encoding is a search, `_search`. The element of largest magnitude asks for a scale that gives it the lowest level, -127; 15
scales around that one are tried. With each the group is rounded, and its best scale for those codes follows by weighted
least squares. The one with the smallest error stays; the codes are then made anew, with its scale before it is rounded to f16. The
weight of an element is its square, or with an importance matrix what `_importance` makes of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import encoder, groups
from rosetta_ref.quant.kernel import column, decoder, planes, scaled
from rosetta_ref.quant.levels import Levels, packed_halves
from rosetta_ref.quant.rounding import inverse, nearest_int, total

LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

_LEVELS = Levels(LEVELS)
_LOWEST = np.float32(LEVELS[0])
#: A group whose largest magnitude is below this is taken for zeros.
_NOTHING = np.float32(1e-15)

# --- decoding --------------------------------------------------------------------------------------------------------------


def _decode_iq4_nl(blocks: Any, out: Floats) -> None:
    scaled(_LEVELS.of(planes(blocks["qs"], width=16, bits=4)), column(blocks["d"]), out)


def six_bit_scales(low: Any, high: Any) -> Any:
    """The 8 signed scales (minus 32) of IQ4_XS, as int8 of shape (n, 8): four low bits in nibbles, two high ones in a word."""
    scales = np.stack([low & 15, low >> 4], axis=2).reshape(-1, 8)
    top = (high[:, None] >> np.arange(0, 16, 2, dtype=np.uint16)).astype(np.uint8) & 3
    return (scales | top << 4).view(np.int8) - np.int8(32)


def _decode_iq4_xs(blocks: Any, out: Floats) -> None:
    scale = column(blocks["d"]) * six_bit_scales(blocks["scales_l"], blocks["scales_h"])
    scaled(_LEVELS.of(planes(blocks["qs"], width=16, bits=4)), scale, out)


# --- encoding --------------------------------------------------------------------------------------------------------------

#: Twice the middles between neighbours: integers, so that the whole part of 2x tells on which side of each x lies.
_MIDDLES = np.array(LEVELS[:-1]) + np.array(LEVELS[1:])
_FIRST, _LAST = np.float32(_MIDDLES[0] - 1), np.float32(_MIDDLES[-1])
_NEAREST = np.searchsorted(_MIDDLES, np.arange(_FIRST, _LAST + 1), side="right").astype(np.uint8)
_NEAREST_LEVEL = np.array(LEVELS, np.float32)[_NEAREST]


def _place(x: Floats) -> NDArray[np.int32]:
    """Where x lies between the middles: an index into `_NEAREST`. A middle belongs to the level above, NaN to the highest."""
    place = x + x
    np.fmin(place, _LAST, out=place)
    np.maximum(place, _FIRST, out=place)
    np.floor(place, out=place)
    place -= _FIRST
    return place.astype(np.int32)


def _nearest(x: Floats) -> NDArray[np.uint8]:
    """The code of the nearest level."""
    return np.take(_NEAREST, _place(x), mode="clip")


def _fit(x: Floats, factor: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The sums of weight x level x element and weight x level squared, for the levels nearest to factor x element."""
    levels = np.take(_NEAREST_LEVEL, _place(factor * x), mode="clip")
    weighted = weights * levels
    levels *= weighted
    weighted *= x
    return total(weighted), total(levels)


def _search(x: Floats, weights: Floats) -> Floats:
    """The scale of each group; `x` and `weights` have the shape (32, groups)."""
    largest = np.take_along_axis(x, np.argmax(np.abs(x), axis=0)[None], axis=0)[0]
    sum_qx, sum_q2 = _fit(x, np.float32(1) / (-largest / _LOWEST), weights)
    scale = np.where(sum_q2 > 0, sum_qx / sum_q2, np.float32(0))
    best = scale * sum_qx
    for step in range(-7, 8):
        sum_qx, sum_q2 = _fit(x, (np.float32(step) + _LOWEST) / largest, weights)
        better = (sum_q2 > 0) & (sum_qx * sum_qx > best * sum_q2)
        tried = sum_qx / sum_q2
        np.copyto(scale, tried, where=better)
        np.copyto(best, tried * sum_qx, where=better)
    return np.where(np.abs(largest) < _NOTHING, np.float32(0), scale)


def _importance(x: Floats, weights: Floats) -> Floats:
    """How much each element counts with an importance matrix; rows are blocks."""
    squares = x * x
    spread = total(np.ascontiguousarray(squares.T)) * np.float32(2 / x.shape[1])
    return weights * np.sqrt(column(spread) + squares)


def _fill_iq4_nl(x: Floats, blocks: Any, weights: Floats) -> None:
    scale = _search(groups(x, 32), groups(weights, 32))
    blocks["d"] = scale
    blocks["qs"] = packed_halves(_nearest(x * column(inverse(scale))))


def _fill_iq4_xs(x: Floats, blocks: Any, weights: Floats) -> None:
    factor = scales_of_iq4_xs(_search(groups(x, 32), groups(weights, 32)).reshape(-1, 8), blocks)
    codes = _nearest(x.reshape(-1, 8, 32) * factor[:, :, None])
    blocks["qs"] = packed_halves(codes).reshape(-1, 128)


def scales_of_iq4_xs(found: Floats, blocks: Any) -> Floats:
    """Fill in d and scales from what was found for each group, shape (n, 8); what the elements are multiplied with."""
    d = -_largest(found) / np.float32(32)
    scales = np.clip(nearest_int(column(inverse(d)) * found), -32, 31)
    stored = (scales + 32).astype(np.uint8)
    top = (stored >> 4).astype(np.uint16) << np.arange(0, 16, 2, dtype=np.uint16)
    blocks["d"] = d
    blocks["scales_l"] = stored[:, 0::2] & 15 | (stored[:, 1::2] & 15) << 4
    blocks["scales_h"] = np.bitwise_or.reduce(top, axis=1)
    return inverse(column(d) * scales.astype(np.float32))


def _encode_iq4_nl(x: Floats, blocks: Any) -> None:
    _fill_iq4_nl(x, blocks, x * x)


def _encode_iq4_nl_weighted(x: Floats, blocks: Any, weights: Floats, mean: Floats) -> None:
    _fill_iq4_nl(x, blocks, _importance(x, weights))


def _encode_iq4_xs(x: Floats, blocks: Any) -> None:
    _fill_iq4_xs(x, blocks, x * x)


def _encode_iq4_xs_weighted(x: Floats, blocks: Any, weights: Floats, mean: Floats) -> None:
    _fill_iq4_xs(x, blocks, _importance(x, weights))


def _largest(scales: Floats) -> Floats:
    """The first of largest magnitude in each row, NaN passed over; +0 where there is none."""
    magnitudes = np.nan_to_num(np.abs(scales), nan=0.0, posinf=np.inf)
    found = np.take_along_axis(scales, np.argmax(magnitudes, axis=1)[:, None], axis=1)[:, 0]
    return np.where(magnitudes.any(axis=1), found, np.float32(0))


#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "IQ4_NL": (decoder(32, _decode_iq4_nl), encoder("IQ4_NL", _encode_iq4_nl, _encode_iq4_nl_weighted)),
    "IQ4_XS": (decoder(256, _decode_iq4_xs), encoder("IQ4_XS", _encode_iq4_xs, _encode_iq4_xs_weighted)),
}
