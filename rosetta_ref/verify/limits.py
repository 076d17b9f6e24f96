"""How far an approximation may be from its source, by type; `docs/verify.md` shows the measurements they come from.

The limits are about twice what SmolLM2-135M loses over the built-in prompts when llama.cpp's own quantiser makes that type of its
F32 file (`benchmarks/lossy.py`). A small model loses more than a large one, so that this is generous for most.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.errors import RosettaError

#: The figures that have limits: at most so much, but for top1, which is at least.
FIGURES = ("mean_kl", "kl_p99", "top1", "logit", "perplexity")


class UnknownLimitError(RosettaError):
    """A limit is set for one of: mean_kl, kl_p99, top1, logit, perplexity; as a finite number."""


#: type: the limit of each figure, in the order of FIGURES. The K and IQ types as they stand in llama.cpp's mixes of that name.
_TABLE: dict[str, tuple[float, float, float, float, float]] = {
    "F16": (8e-6, 6e-5, 0.99, 0.15, 0.001),
    "BF16": (3e-4, 3e-3, 0.99, 2.5, 0.004),
    "Q8_0": (5e-3, 0.04, 0.95, 7, 0.01),
    "Q6_K": (0.02, 0.15, 0.88, 10, 0.015),
    "Q5_K": (0.25, 2.5, 0.62, 40, 0.27),
    "Q5_1": (0.35, 3, 0.54, 35, 0.36),
    "Q5_0": (0.3, 3, 0.63, 48, 0.2),
    "Q4_K": (0.25, 4, 0.7, 56, 0.18),
    "Q4_1": (0.9, 5, 0.3, 53, 0.6),
    "Q4_0": (0.9, 5, 0.3, 53, 0.6),
    "AprQ4": (0.9, 5, 0.3, 53, 0.6),
    "IQ4_XS": (0.56, 4, 0.45, 42, 0.45),
    "IQ4_NL": (0.57, 4, 0.46, 40, 0.43),
    "Q3_K": (0.5, 4, 0.5, 49, 0.4),
    "Q2_K": (1.3, 6, 0.15, 56, 0.85),
}


def limits_for(kind: str | None, given: Mapping[str, float] | None = None) -> dict[str, float]:
    """The limits for that type, those of Q2_K where it is not in the table; `given` ones take their place."""
    row = _TABLE.get(kind or "", _TABLE["Q2_K"])
    limits = dict(zip(FIGURES, row, strict=True))
    for name, value in (given or {}).items():
        if name not in FIGURES or not value == value or value in (float("inf"), -float("inf")):
            raise UnknownLimitError(f"{name} = {value}")
        limits[name] = value
    return limits


def beyond(figures: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """The figures that are not within their limits; one that is no number is not."""

    def within(name: str) -> bool:
        value = abs(figures[name]) if name == "perplexity" else figures[name]
        return value >= limits[name] if name == "top1" else value <= limits[name]

    return [name for name in FIGURES if not within(name)]
