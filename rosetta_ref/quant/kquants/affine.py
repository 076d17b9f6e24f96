"""The K types with a scale and a minimum for each group: Q4_K, then Q5_K (a fifth bit), then Q2_K (groups of 16, 4-bit scales).

Encoding one super-block:

1. `search.affine` finds each group's best scale and minimum, as floats.
2. The largest of the 8 (16) scales becomes 63 (15), the others are rounded in proportion; the minima likewise. d and dmin
   are what one step is worth, in f16.
3. The codes are rounded once more with the scale and minimum that a decoder will see.

With an importance matrix the weights are other ones, the search makes 37 trials, and step 2 is a search too, `search.positive`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta_ref.quant import search
from rosetta_ref.quant.block import Decoder, Encoder, Floats
from rosetta_ref.quant.encoding import by_block, encoder, groups, ungrouped
from rosetta_ref.quant.kernel import Words, column, decoder, scaled
from rosetta_ref.quant.kquants.packing import (
    bit_planes,
    four_bit_pairs,
    nibble_groups,
    packed_bit_plane,
    packed_four_bit_pairs,
    packed_nibble_groups,
    packed_six_bit_pairs,
    packed_two_bit_planes,
    six_bit_pairs,
    two_bit_planes,
)
from rosetta_ref.quant.rounding import nearest_int, total

# --- decoding --------------------------------------------------------------------------------------------------------------


def scales_and_minima(blocks: Any, unpacked: Callable[[Any], tuple[Any, Any]]) -> tuple[Floats, Floats]:
    """Scale (d s) and minimum (dmin m) of each group, of shape (n, groups): exact in float32."""
    scales, minima = unpacked(blocks["scales"])
    return column(blocks["d"]) * scales, column(blocks["dmin"]) * minima


def _values(blocks: Any, codes: Words, out: Floats) -> None:
    """Fill in d s q - dmin m from the codes of 8 groups of 32."""
    scale, minimum = scales_and_minima(blocks, six_bit_pairs)
    scaled(codes.view(np.uint8), scale, out, minimum)


def _decode_q4_k(blocks: Any, out: Floats) -> None:
    _values(blocks, nibble_groups(blocks["qs"]), out)


def _decode_q5_k(blocks: Any, out: Floats) -> None:
    """As Q4_K; bit g of byte i of `qh` is the fifth bit of element i in group g."""
    codes = nibble_groups(blocks["qs"])
    codes |= bit_planes(blocks["qh"]) << np.uint64(4)
    _values(blocks, codes, out)


def _decode_q2_k(blocks: Any, out: Floats) -> None:
    scale, minimum = scales_and_minima(blocks, four_bit_pairs)
    scaled(two_bit_planes(blocks["qs"]).view(np.uint8), scale, out, minimum)


# --- encoding --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoding:
    """What tells the three types apart."""

    group: int  # elements
    top: int  # largest code
    top_scale: int  # and largest minimum
    factors: tuple[np.float32, ...]  # of the search without a matrix
    by_magnitude: bool  # whether that search weighs and compares magnitudes alone
    squares: int  # what the mean square counts for in the weights with a matrix
    #: The largest scale and minimum, should the rounding without and with a matrix find more.
    clip: int
    clip_weighted: int
    packed: Callable[[Any, Any], Any]
    unpacked: Callable[[Any], tuple[Any, Any]]

    @property
    def factors_weighted(self) -> tuple[np.float32, ...]:
        """Of the search with a matrix."""
        return search.trials(-0.9, 0.05, 37, self.top)


_SIX_BITS = packed_six_bit_pairs, six_bit_pairs
_Q4 = Encoding(32, 15, 63, search.trials(-1.0, 0.1, 21, 15), False, 2, 63, 255, *_SIX_BITS)
_Q5 = Encoding(32, 31, 63, search.trials(-0.5, 0.1, 16, 31), False, 2, 63, 63, *_SIX_BITS)
_Q2 = Encoding(16, 3, 15, search.trials(-0.5, 0.1, 16, 3), True, 1, 255, 255, packed_four_bit_pairs, four_bit_pairs)


def _encode(x: Floats, kind: Encoding, blocks: Any) -> Any:
    """Fill in d, dmin and scales without a matrix; the codes, of shape (n, 256)."""
    group = groups(x, kind.group)
    weights = np.abs(group)
    if not kind.by_magnitude:
        weights += np.sqrt(total(group * group) / np.float32(kind.group))
    found = search.affine(group, weights, kind.top, kind.factors, absolute=kind.by_magnitude)
    blocks["d"], scales = proportional(found.scale.reshape(x.shape[0], -1), kind)
    blocks["dmin"], minima = proportional(-found.low.reshape(x.shape[0], -1), kind)
    blocks["scales"] = kind.packed(scales, minima)
    return _codes(group, found, kind, blocks)


def proportional(of_groups: Floats, kind: Encoding) -> tuple[Floats, Any]:
    """What one step is worth, and each group's number of steps: the largest gets `top_scale`."""
    largest = np.fmax.reduce(of_groups, axis=1, initial=np.float32(0))[:, None] + np.float32(0)  # never -0
    top = np.float32(kind.top_scale)
    steps = nearest_int(np.where(largest > 0, top / largest, np.float32(0)) * of_groups)
    return largest[:, 0] / top, np.minimum(steps.astype(np.uint8), np.uint8(kind.clip))


def _encode_weighted(x: Floats, kind: Encoding, importance: Floats, blocks: Any) -> Any:
    """The same with a matrix: weights are importance x root of (mean square of the block, once or twice, + square)."""
    group, weights = groups(x, kind.group), groups(importance, kind.group)
    mean = np.float32(kind.squares) * np.add.accumulate(x * x, axis=1)[:, -1] / np.float32(256)
    weights *= np.sqrt(np.repeat(mean, 256 // kind.group) + group * group)
    found = search.affine(group, weights, kind.top, kind.factors_weighted)
    of_group = by_block(total(weights), x.shape[0])
    blocks["d"], scales = _searched(found.scale, of_group, kind)
    blocks["dmin"], minima = _searched(-found.low, of_group, kind)
    blocks["scales"] = kind.packed(scales, minima)
    return _codes(group, found, kind, blocks)


def _searched(of_groups: Floats, weights: Floats, kind: Encoding) -> tuple[Floats, Any]:
    scale, steps = search.positive(by_block(of_groups, weights.shape[1]), weights, kind.top_scale)
    return scale, np.minimum(steps.T, np.uint8(kind.clip_weighted))


def _codes(group: Floats, found: search.Affine, kind: Encoding, blocks: Any) -> Any:
    """Round (x + minimum) / scale with what is stored; where that scale is 0, the codes of the search stay."""
    scale, minimum = scales_and_minima(blocks, kind.unpacked)
    codes = group + minimum.reshape(-1)
    codes /= scale.reshape(-1)
    rounded = np.clip(nearest_int(codes), 0, kind.top)
    if not scale.all():
        np.copyto(rounded, found.codes(group), where=scale.reshape(-1) == 0)
    return ungrouped(rounded, 256)


def _store_q4_k(blocks: Any, codes: Any) -> None:
    blocks["qs"] = packed_nibble_groups(codes)


def _store_q5_k(blocks: Any, codes: Any) -> None:
    blocks["qs"], blocks["qh"] = packed_nibble_groups(codes), packed_bit_plane(codes >> 4)


def _store_q2_k(blocks: Any, codes: Any) -> None:
    blocks["qs"] = packed_two_bit_planes(codes)


def _encoder(name: str, kind: Encoding, store: Callable[[Any, Any], None]) -> Encoder:
    def plain(x: Floats, blocks: Any) -> None:
        store(blocks, _encode(x, kind, blocks))

    def weighted(x: Floats, blocks: Any, importance: Floats, mean: Floats) -> None:
        store(blocks, _encode_weighted(x, kind, importance, blocks))

    return encoder(name, plain, weighted)


#: name: what tells the encoding apart, and how the codes are stored
ENCODINGS = {"Q4_K": (_Q4, _store_q4_k), "Q5_K": (_Q5, _store_q5_k), "Q2_K": (_Q2, _store_q2_k)}

#: name: (decode, encode)
CODECS: dict[str, tuple[Decoder, Encoder]] = {
    "Q4_K": (decoder(256, _decode_q4_k), _encoder("Q4_K", *ENCODINGS["Q4_K"])),
    "Q5_K": (decoder(256, _decode_q5_k), _encoder("Q5_K", *ENCODINGS["Q5_K"])),
    "Q2_K": (decoder(256, _decode_q2_k), _encoder("Q2_K", *ENCODINGS["Q2_K"])),
}
