"""Rotary position embedding: which elements of a head are turned against each other, and how fast.

A head of q or k is hd / 2 pairs of elements; pair i of the token at position p is turned by the angle p f_i. The formats differ in
where the two elements of a pair stand (adjacent, or half a head apart), so the first thing done to a head is to part it into its
first and its second elements. Behind that every file looks the same: an order of rows that does not go with the pairing shows as
wrong numbers, and nowhere is an order translated into the other.

Frequencies and their scalings: transformers' `modeling_rope_utils` for the words of config.json, llama.cpp's
`rope_freqs.weight`, which divides each frequency by a factor of its own, for GGUF.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.inference.architecture import ADJACENT
from rosetta_ref.inference.keys import ParameterError
from rosetta_ref.inference.parameters import Parameters
from rosetta_ref.inference.scaling import Scaling

Array = NDArray[Any]


def frequencies(
    parameters: Parameters, factors: Array | None = None, *, sliding: bool = False
) -> tuple[NDArray[np.float64], float]:
    """The angle per position of each pair, shape (head / 2,), and what cosine and sine are multiplied with.

    `factors` is `rope_freqs.weight` where the model has one; `sliding` for the layers that slide. Raises ParameterError where a
    scaling cannot be computed.
    """
    try:
        with np.errstate(all="ignore"):
            return _frequencies(parameters.head, *parameters.rope(sliding=sliding), factors)
    except (ArithmeticError, ValueError) as error:
        raise ParameterError(f"rope cannot be computed of {parameters.rope(sliding=sliding)[1]}: {error}") from error


def _frequencies(
    size: int, theta: float, scaling: Scaling | None, factors: Array | None
) -> tuple[NDArray[np.float64], float]:
    plain = theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    if factors is not None:
        plain = plain / factors
    if scaling is None:
        return plain, 1.0
    if scaling.kind == "linear":
        return plain / scaling.factor, 1.0
    if scaling.kind == "llama3":
        return _llama3(plain, scaling), 1.0
    return _yarn(plain, scaling, size, theta)


def _llama3(plain: NDArray[np.float64], scaling: Scaling) -> NDArray[np.float64]:
    """Long wavelengths are divided by the factor, short ones are not, and between the two bounds it is blended."""
    turns = scaling.original * plain / (2 * math.pi)
    kept = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return plain * ((1 - kept) / scaling.factor + kept)


def _yarn(plain: NDArray[np.float64], scaling: Scaling, size: int, theta: float) -> tuple[NDArray[np.float64], float]:
    """Pairs that turn more than beta_fast times in the original context keep their frequency, slow ones are divided."""

    def place(turns: float) -> float:
        return size * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = max(math.floor(place(scaling.beta_fast)), 0), min(math.ceil(place(scaling.beta_slow)), size - 1)
    slow = np.clip((np.arange(size // 2) - first) / max(last - first, 0.001), 0, 1)
    kept = (1 - slow) * scaling.extrapolation
    magnitude = scaling.attention
    if magnitude is None:
        magnitude = 0.1 * math.log(scaling.factor) + 1 if scaling.factor > 1 else 1.0
    return plain * (kept + (1 - kept) / scaling.factor), magnitude


def paired(heads: Array, pairing: str) -> Array:
    """Heads of shape (..., hd) with the first elements of all pairs before the second ones."""
    if pairing == ADJACENT:
        return np.concatenate([heads[..., 0::2], heads[..., 1::2]], axis=-1)
    return heads


def turned(heads: Array, positions: Array, frequency: NDArray[np.float64], magnitude: float) -> Array:
    """Turn `paired` heads of shape (tokens, heads, hd) by their tokens' positions."""
    angles = positions[:, None, None] * frequency
    cosine, sine = (np.asarray(f(angles) * magnitude, heads.dtype) for f in (np.cos, np.sin))
    half = heads.shape[-1] // 2
    first, second = heads[..., :half], heads[..., half:]
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
