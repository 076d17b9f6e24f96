"""What an approximation does not excuse: the angles of rope, and weights whose type holds every value."""

from __future__ import annotations

import numpy as np

from rosetta_ref.inference.architecture import EMBEDDING, FACTORS, HEAD
from rosetta_ref.inference.engine import NumpyEngine
from rosetta_ref.inference.model import Model
from rosetta_ref.verify.blame import differ
from rosetta_ref.verify.claims import holds
from rosetta_ref.verify.report import Report

#: How far apart angles may be, relatively, where one side has factors in float32.
FREQUENCIES = 1e-6


def require_frequencies(report: Report, ours: Model, theirs: Model) -> None:
    """Parameters on one side and factors on the other must come to the same angles, but for the rounding of the factors."""
    (here, loud), (there, quiet) = (model.frequencies() for model in (ours, theirs))
    if loud != quiet:
        report.fail(
            "numbers", "numpy", f"what rope's cosine and sine are multiplied with: {loud:.6g} became {quiet:.6g}"
        )
    if here.shape == there.shape:
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(here / there - 1)
        if not apart.max() <= FREQUENCIES:  # NaN is never small
            pair = int(apart.argmax())
            report.fail("numbers", "numpy", f"rope frequency of pair {pair}: {here[pair]:.6g} became {there[pair]:.6g}")


def require_the_rest(report: Report, ours: Model, theirs: Model) -> None:
    """An approximation excuses what was rounded: a weight whose type holds every value must be the same, and be there."""
    for role in [*ours.weights, *(role for role in theirs.weights if role not in ours.weights)]:
        here, there = ours.weights.get(role), theirs.weights.get(role)
        if here is None or there is None:
            if role not in (HEAD, FACTORS):
                report.fail("weights", "numpy", f"{role} is {'new' if here is None else 'lost'}")
        elif (
            (here.tensor.shape == there.tensor.shape or role in (EMBEDDING, HEAD))
            and holds(here, there)
            and differ(role, ours, theirs, np.float32)
        ):
            report.fail("weights", "numpy", f"{role} differs, and {there.tensor.type.name} holds what it was")


def one_has_factors(*engines: NumpyEngine) -> bool:
    """Whether one side says Llama 3's scaling in parameters and the other in a tensor."""
    return len({FACTORS in engine.model.weights for engine in engines}) == 2
