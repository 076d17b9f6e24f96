"""Seventeen kinds of values to encode: what models hold, and what a search or a rounding gets wrong."""

from __future__ import annotations

import numpy as np

KINDS = (
    "normal",
    "uniform",
    "heavy tails",
    "laplace",
    "ties",
    "half codes",
    "constant",
    "zero",
    "zeros among numbers",
    "one outlier a block",
    "scales apart",
    "all positive",
    "alternating",
    "subnormal",
    "tiny",
    "1e30",
    "inf",
)


def values(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Float32 of that shape; `inf` and `1e30` leave the range of f16, the others leave no type's documented range."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    x = rng.standard_normal(shape)
    match kind:
        case "normal":
            x *= 0.02
        case "uniform":
            x = rng.uniform(-1, 1, shape)
        case "heavy tails":
            x = np.clip(rng.standard_t(2, shape), -3e4, 3e4)
        case "laplace":
            x = rng.laplace(size=shape)
        case "ties":  # few different numbers, both signs of each: the first of the largest decides
            x = np.clip(np.round(x * 2), -3, 3) / 2
        case "half codes":  # halves of a power of two: in the middle between codes
            x = np.clip(np.round(x * 6) + 0.5, -15.5, 15.5) / 8
            x[:, ::16] = rng.choice([-1.0, 1.0, 2.0, -2.0], x[:, ::16].shape)
        case "constant":
            x = np.repeat(x[:, :1], shape[1], axis=1)
            x[::3] = -3.25
        case "zero":
            x = np.where(x > 0, 0.0, -0.0)
        case "zeros among numbers":
            x[rng.random(shape) < 0.8] = 0
            x[:, : shape[1] // 2][::2] = 0
        case "one outlier a block":
            x *= 0.01
            x[:, 13::32] *= 1e4
        case "scales apart":  # neighbouring blocks a thousand times larger or smaller
            x *= 10.0 ** rng.uniform(-4, 3, (shape[0], shape[1] // 32)).repeat(32, axis=1)
        case "all positive":
            x = np.abs(x) + 0.5
        case "alternating":
            x = np.where(np.arange(shape[1]) % 2, 1.0, -1.0) * np.exp2(rng.integers(-3, 4, (shape[0], 1)))
            x[1::2] *= rng.uniform(0.9, 1.1, x[1::2].shape)
        case "subnormal":
            x *= 1e-40
        case "tiny":  # around the magnitude that the searches take for nothing
            x *= 10.0 ** rng.uniform(-20, -6, (shape[0], shape[1] // 32)).repeat(32, axis=1)
        case "1e30":
            x *= 1e30
        case "inf":
            x[rng.random(shape) < 0.002] = np.inf
            x[rng.random(shape) < 0.002] = -np.inf
    return x.astype(np.float32)


def importance(columns: int, seed: int) -> np.ndarray:
    """One weight a column as a matrix has them: positive, over some powers of ten, some zero."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(0, 2, columns)).astype(np.float32)
    weights[rng.random(columns) < 0.05] = 0
    return weights
