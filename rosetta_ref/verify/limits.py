"""How far an approximation may be from its source, by type; `docs/verify.md` shows the measurements they come from.

The limits are about three times what SmolLM2-135M loses when llama.cpp's own quantiser makes that type of its F32 file: a small
model loses more than a large one, so that this is generous for most, and a damaged tensor is far beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.errors import RosettaError

#: The figures that have limits: at most so much, but for top1, which is at least.
FIGURES = ("mean_kl", "kl_p99", "top1", "logit", "perplexity")


class UnknownLimitError(RosettaError):
    """A limit is set for one of: mean_kl, kl_p99, top1, logit, perplexity; as a finite number."""


#: type: the limit of each figure, in the order of FIGURES.
_TABLE: dict[str, tuple[float, float, float, float, float]] = {
    "Q2_K": (1.0, 5.0, 0.5, 20.0, 1.0),
}


def limits_for(kind: str | None, given: Mapping[str, float] | None = None) -> dict[str, float]:
    """The limits for that type, those of the roughest one where it is not in the table; `given` ones take their place."""
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
