"""The encoders of the K types and IQ4 with compiled searches.

What is done once a group or once a block (scales, minima, packing) is done by the readable codecs' own functions; what is done
to each element many times is in `searching`. The loop over pieces, the refusals and what a NaN counts for are those of
`quant.encoding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rosetta_ref.quant import iq4
from rosetta_ref.quant.block import Encoder, Floats
from rosetta_ref.quant.encoding import by_block, encoder
from rosetta_ref.quant.fast import searching
from rosetta_ref.quant.kernel import column
from rosetta_ref.quant.kquants import affine, symmetric
from rosetta_ref.quant.kquants.packing import packed_six_bit_scales, six_bit_scales
from rosetta_ref.quant.levels import packed_halves
from rosetta_ref.quant.rounding import inverse

#: Fill in blocks; with an importance of each value or without.
_Fill = Callable[[Floats, Any, Floats | None], None]


def _encoder(name: str, fill: _Fill) -> Encoder:
    def plain(x: Floats, blocks: Any) -> None:
        fill(x, blocks, None)

    def weighted(x: Floats, blocks: Any, importance: Floats, mean: Floats) -> None:
        fill(x, blocks, importance)

    return encoder(name, plain, weighted)


def _squares(rows: Floats) -> Floats:
    """The sum of the squares of each row."""
    found = np.empty(rows.shape[0], np.float32)
    searching.sums(rows, True, found)
    return found


def _by_block(weights: Floats, blocks: int) -> Floats:
    """The sum of the weights of each group, as rows of blocks."""
    found = np.empty(weights.shape[0], np.float32)
    searching.sums(weights, False, found)
    return found.reshape(blocks, -1)


def _spread(x: Floats, mean: Floats, importance: Floats) -> Floats:
    """The weights with a matrix: importance x root of (mean + square)."""
    weights = x * x
    weights += column(mean)
    np.sqrt(weights, out=weights)
    weights *= importance
    return weights


# --- scale and minimum -----------------------------------------------------------------------------------------------------


def _fill_affine(kind: affine.Encoding, store: Callable[[Any, Any], None]) -> _Fill:
    top = np.float32(kind.top)
    plain, weighted = (np.array(factors, np.float32) for factors in (kind.factors, kind.factors_weighted))

    def numbers(of_groups: Floats, of_weights: Floats | None) -> tuple[Floats, Any]:
        """What one step is worth, and the number of steps of each group."""
        if of_weights is None:
            return affine.proportional(of_groups, kind)
        scale, steps = np.empty(of_groups.shape[0], np.float32), np.empty(of_groups.shape, np.uint8)
        searching.positive(of_groups, of_weights, np.float32(kind.top_scale), scale, steps)
        return scale, np.minimum(steps, np.uint8(kind.clip_weighted))

    def fill(x: Floats, blocks: Any, importance: Floats | None) -> None:
        rows = x.reshape(-1, kind.group)
        if importance is not None:
            mean = np.float32(kind.squares) * _squares(x) / np.float32(256)
            weights = _spread(x, mean, importance).reshape(rows.shape)
        else:
            weights = np.abs(rows)
            if not kind.by_magnitude:
                weights += column(np.sqrt(_squares(rows) / np.float32(kind.group)))
        scale, low = np.empty((2, blocks.size, 256 // kind.group), np.float32)
        codes = np.empty(rows.shape, np.uint8)
        by_magnitude = kind.by_magnitude and importance is None
        factors = plain if importance is None else weighted
        searching.affine(rows, weights, top, factors, by_magnitude, scale.reshape(-1), low.reshape(-1), codes)
        of_weights = None if importance is None else _by_block(weights, blocks.size)
        blocks["d"], scales = numbers(scale, of_weights)
        blocks["dmin"], minima = numbers(-low, of_weights)
        blocks["scales"] = kind.packed(scales, minima)
        stored = (numbers.reshape(-1) for numbers in affine.scales_and_minima(blocks, kind.unpacked))
        searching.rounded(rows, *stored, np.float32(0), top, codes)
        store(blocks, codes.reshape(-1, 256))

    return fill


# --- scale alone -----------------------------------------------------------------------------------------------------------


def _search(search: Any, rows: Floats, weights: Floats, half: int) -> tuple[Floats, Any]:
    """Scale and codes of each group by one of the two searches."""
    scale, codes = np.empty(rows.shape[0], np.float32), np.empty(rows.shape, np.uint8)
    search(rows, weights, np.float32(half), scale, codes)
    return scale, codes


def _rounded(rows: Floats, scales: Floats, half: int, codes: Any) -> Any:
    """The codes, shape (n, 256), with the scales that are stored."""
    no_minima = np.zeros(rows.shape[0], np.float32)
    searching.rounded(rows, scales.reshape(-1), no_minima, np.float32(-half), np.float32(half - 1), codes)
    return codes.reshape(-1, 256)


def _fill_q6_k(x: Floats, blocks: Any, importance: Floats | None) -> None:
    rows = x.reshape(-1, 16)
    weights = rows * rows if importance is None else importance.reshape(rows.shape)
    scale, codes = _search(searching.symmetric, rows, weights, 32)
    nothing = symmetric.scales_of_q6_k(by_block(scale, blocks.size), blocks)
    symmetric.store_q6_k(blocks, _rounded(rows, column(blocks["d"]) * blocks["scales"], 32, codes))
    blocks[nothing] = np.zeros((), blocks.dtype)


def _fill_q3_k(x: Floats, blocks: Any, importance: Floats | None) -> None:
    rows = x.reshape(-1, 16)
    if importance is None:
        scale, codes = _search(searching.descended, rows, rows * rows, 4)
        symmetric.scales_of_q3_k(by_block(scale, blocks.size), blocks)
    else:
        mean = np.float32(2) * _squares(x) / np.float32(256)
        weights = _spread(x, mean, importance).reshape(rows.shape)
        scale, codes = _search(searching.symmetric, rows, weights, 4)
        d, steps = _search(searching.symmetric, scale.reshape(-1, 16), _by_block(weights, blocks.size), 32)
        blocks["d"], blocks["scales"] = d, packed_six_bit_scales(steps)
    scales = column(blocks["d"]) * six_bit_scales(blocks["scales"])
    symmetric.store_q3_k(blocks, _rounded(rows, scales, 4, codes))


# --- levels ----------------------------------------------------------------------------------------------------------------


def _fill_iq4(x: Floats, blocks: Any, importance: Floats | None) -> None:
    rows = x.reshape(-1, 32)
    if importance is None:
        weights = rows * rows
    else:
        weights = _spread(x, _squares(x) * np.float32(2 / x.shape[1]), importance).reshape(rows.shape)
    scale, codes = np.empty(rows.shape[0], np.float32), np.empty(rows.shape, np.uint8)
    searching.levels(rows, weights, scale)
    if rows.shape == x.shape:
        blocks["d"], factor = scale, inverse(scale)
    else:
        factor = iq4.scales_of_iq4_xs(scale.reshape(-1, 8), blocks).reshape(-1)
    searching.rounded_to_levels(rows, factor, codes)
    blocks["qs"] = packed_halves(codes).reshape(blocks.size, -1)


#: name: encode
ENCODERS: dict[str, Encoder] = {
    **{name: _encoder(name, _fill_affine(*encoding)) for name, encoding in affine.ENCODINGS.items()},
    "Q6_K": _encoder("Q6_K", _fill_q6_k),
    "Q3_K": _encoder("Q3_K", _fill_q3_k),
    "IQ4_NL": _encoder("IQ4_NL", _fill_iq4),
    "IQ4_XS": _encoder("IQ4_XS", _fill_iq4),
}
