"""Llama 3's rope scaling: parameters in config.json, a tensor of factors (`rope_freqs.weight`) in GGUF.

Each of the head_dim / 2 frequencies is divided by its factor: 1 where its wavelength is short, `factor` where it is long,
something between in the band between. The tensor does not say which parameters made it; `parameters_of` finds some that
make the very same tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import RosettaError

#: Relative difference between two ways of rounding the same formula.
_ROUNDING = 1e-5


class RopeFactorsError(RosettaError):
    """The factors in rope_freqs.weight are those of some llama3 rope scaling."""


class RopeFactorValuesError(RosettaError):
    """rope_freqs.weight holds a finite, positive factor for each pair of elements of a head."""


def llama3_factors(
    theta: float, head_dim: int, factor: float, low: float, high: float, original: int
) -> NDArray[np.float32]:
    """The factors, shape (head_dim / 2,), in float32 steps as convert_hf_to_gguf takes them."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1) / (np.float32(theta) ** exponents)
    lengths = np.float32(2 * math.pi) / frequencies
    smooth = (np.float32(original) / lengths - np.float32(low)) / np.float32(high - low)
    between = np.float32(1) / ((np.float32(1) - smooth) / np.float32(factor) + smooth)
    factors = np.where(lengths < np.float32(original / high), np.float32(1), between)
    return np.where(lengths > np.float32(original / low), np.float32(factor), factors).astype(np.float32)


def parameters_of(factors: NDArray[np.float32], theta: float, head_dim: int, context: int) -> dict[str, Any]:
    """Parameters (in the words of config.json) that make these factors, to the last bits of float32.

    Those that make the very same bits are preferred: writers differ in how they round on the way. Raises RopeFactorsError
    or RopeFactorValuesError.
    """
    if factors.shape != (head_dim // 2,):
        raise RopeFactorValuesError(f"{list(factors.shape)}, expected {[head_dim // 2]}", tensor="rope_freqs.weight")
    odd = factors[~(np.isfinite(factors) & (factors > 0))]
    if odd.size:
        raise RopeFactorValuesError(f"a factor is {odd[0]}", tensor="rope_freqs.weight")
    factor = float(np.max(factors))
    close = None
    for original, low, high in _candidates(context, factor):
        made = llama3_factors(theta, head_dim, factor, low, high, original)
        if not np.allclose(made, factors, rtol=_ROUNDING, atol=0):
            continue
        found = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        }
        if np.array_equal(made, factors):
            return found
        close = close or found
    if close is None:
        raise RopeFactorsError("no known parameters make these factors", tensor="rope_freqs.weight")
    return close


def _candidates(context: int, factor: float) -> Iterator[tuple[int, float, float]]:
    """Published values first: Llama 3.1 to 3.3 have 8192, 1, 4."""
    originals = [8192, round(context / factor), *(1 << n for n in range(5, 18))]
    yield from (
        (original, low, high) for original, (low, high) in product(originals, product((1.0, 2.0), (4.0, 8.0, 32.0)))
    )
