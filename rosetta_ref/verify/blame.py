"""Which weight, or which number, makes two models answer differently.

Both models are walked side by side: the source is computed once and every step of it is kept; then the converted model is computed
with the source's value put in the place of each of its own as soon as it is made. Every step so gets the source's input, and a
step that differs all the same is one whose own weights or numbers are to blame. What was found is confirmed by swapping: the
source's weight goes into the converted model, alone, and what part of the difference that takes away is what it explains.

All is computed in float64. A step counts as different where any bit is, or, between files in which the rows of q and k stand
in different orders (sums run in another order there), from 1e-12 of its largest value on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref import evidence
from rosetta_ref.inference.architecture import EMBEDDING, FACTORS, HEAD
from rosetta_ref.inference.engine import logits_of
from rosetta_ref.inference.model import Model
from rosetta_ref.inference.parameters import Parameters
from rosetta_ref.inference.rope import paired

Array = NDArray[Any]

#: Suspects that are swapped one by one; more differ where every layer is damaged, and then they are told together.
SINGLE = 24
_ROUNDING = 1e-12
#: Numbers that can be swapped without another shape, and those that cannot.
_ROPE = ("theta", "scaling", "local_theta", "local_scaling")
_MASK = ("window", "sliding")
_NUMBERS = ("epsilon", *_ROPE, *_MASK, "scalar", "cap")
_SHAPES = ("architecture", "layers", "width", "inner", "heads", "groups", "head")


@dataclass(frozen=True)
class Suspect:
    """A weight by its role, or a number by its name, and how far its step is off, as a part of the step's largest value."""

    role: str
    step: str
    error: float
    explains: float | None = None

    def __str__(self) -> str:
        if self.explains is None:
            return f"{self.role} differs (step {self.step}, off by {self.error:.2g} of its largest value)"
        return f"{self.role} alone explains {100 * self.explains:.1f} % of the difference"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(evidence.plain(vars(self)))


@dataclass
class Blame:
    """`first` is the first step that differs; suspects come with the one that explains most first."""

    first: str | None = None
    suspects: list[Suspect] = field(default_factory=list)
    together: float | None = None
    notes: list[str] = field(default_factory=list)

    def lines(self, most: int = 8) -> list[str]:
        """What was found, a sentence a line."""
        made = [f"first step that differs: {self.first}"] if self.first else []
        made += [str(suspect) for suspect in self.suspects[:most]]
        if len(self.suspects) > 1 and self.together is not None:
            left = len(self.suspects) - most
            more = f" ({left} more are not shown)" if left > 0 else ""
            made.append(f"all {len(self.suspects)} together explain {100 * self.together:.1f} %{more}")
        return made + self.notes

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(evidence.plain(vars(self) | {"suspects": [suspect.to_json() for suspect in self.suspects]}))


def blame(source: Model, target: Model, tokens: Sequence[int]) -> Blame:
    """What makes `target` answer those tokens otherwise than `source`."""
    shapes = [name for name in _SHAPES if getattr(source.parameters, name) != getattr(target.parameters, name)]
    if shapes:
        said = [f"{n}: {getattr(source.parameters, n)} became {getattr(target.parameters, n)}" for n in shapes]
        return Blame(suspects=[Suspect(name, "numbers", float("inf")) for name in shapes], notes=said)
    errors = _walk(source, target, tokens)
    found: dict[str, Suspect] = {}
    for step, error in errors.items():
        for role in _suspected(step, source, target):
            found.setdefault(role, Suspect(role, step, error))
    made = Blame(next(iter(errors), None))
    if found:
        _swap(made, source, target, tokens, sorted(found.values(), key=lambda one: -one.error))
    elif errors:
        made.notes.append("no weight and no number differs there: the steps themselves do")
    else:
        made.notes.append("no step differs on these tokens when both models are given the same input")
    made.notes += [f"{name}: {getattr(source.parameters, name)} became {getattr(target.parameters, name)}"
                   for name in _NUMBERS if name in found]  # fmt: skip
    return made


def _walk(source: Model, target: Model, tokens: Sequence[int]) -> dict[str, float]:
    """The steps that differ although their input is the same, in order, and by how much of their largest value."""
    steps: dict[str, Array] = {}

    def keep(name: str, value: Array) -> Array:
        steps[name] = value
        return value

    errors: dict[str, float] = {}
    limit = 0.0 if source.parameters.pairing == target.parameters.pairing else _ROUNDING

    def compare(name: str, value: Array) -> Array:
        kept = steps[name]
        expected, value = _in_common(kept, value) if name == "output" else (kept, value)
        with np.errstate(invalid="ignore"):
            error = float(np.abs(value - expected).max() / max(float(np.abs(expected).max()), 1e-300))
        if not error <= limit:  # NaN is no number that is small
            errors[name] = error if np.isfinite(error) else float("inf")
        return kept

    for model, tap in ((source, keep), (target, compare)):
        for _ in logits_of(model, [tokens], np.float64, tap):
            pass
    return errors


def _suspected(step: str, source: Model, target: Model) -> Iterator[str]:
    """The weights and numbers of a step that are not the same on both sides."""
    part = step.rsplit(".", 1)[-1]
    if part == "output":
        heads = {source.head, target.head}
        yield HEAD if HEAD in heads else EMBEDDING
        yield from _numbers(("cap",), source.parameters, target.parameters)
        return
    if part.startswith("rope_"):
        yield from _numbers((*_ROPE, *_MASK), source.parameters, target.parameters)
        if differ(FACTORS, source, target):
            yield FACTORS
        return
    if part == "attn_mix":
        yield from _numbers((*_MASK, "scalar"), source.parameters, target.parameters)
    if part.endswith("norm"):
        yield from _numbers(("epsilon",), source.parameters, target.parameters)
    for role in (f"{step}.weight", f"{step}.bias"):
        if differ(role, source, target):
            yield role


def _numbers(names: Sequence[str], source: Parameters, target: Parameters) -> list[str]:
    return [name for name in names if getattr(source, name) != getattr(target, name)]


def differ(role: str, source: Model, target: Model, dtype: Any = np.float64) -> bool:
    """Whether a weight is not the same on both sides; rows of q and k are looked at pair by pair, as rope does.

    Of a vocabulary that was padded, the rows that both have are looked at.
    """
    sides = [model.weights.get(role) for model in (source, target)]
    if None in sides:
        return sides[0] is not sides[1]
    rotary = source.record.role(role).turned
    values = []
    for weight in sides:
        assert weight is not None
        made = weight.values(dtype)
        if rotary:
            heads = made.reshape(-1, source.parameters.head, made.size // made.shape[0])
            made = paired(heads.swapaxes(1, 2), weight.pairing)
        values.append(made)
    rows = min(map(len, values))
    return not np.array_equal(values[0][:rows], values[1][:rows], equal_nan=True)


def _swap(made: Blame, source: Model, target: Model, tokens: Sequence[int], suspects: Sequence[Suspect]) -> None:
    """Fill in what each suspect explains alone, the most first, and what all explain together."""
    expected = _logits(source, tokens)
    whole = _distance(expected, _logits(target, tokens))

    def explained(names: Sequence[str]) -> float:
        roles = [name for name in names if name not in _NUMBERS]
        numbers = {name: getattr(source.parameters, name) for name in names if name in _NUMBERS}
        left = _distance(expected, _logits(target.with_parts_of(source, roles, numbers), tokens))
        return 1 - left / whole if np.isfinite(whole) else float(np.isfinite(left))

    if not whole > 0:
        made.suspects = list(suspects)
        made.notes.append("the logits of these tokens do not differ")
        return
    told = [Suspect(one.role, one.step, one.error, explained([one.role])) for one in suspects[:SINGLE]]
    made.suspects = sorted(told, key=lambda one: -(one.explains or 0)) + list(suspects[SINGLE:])
    made.together = told[0].explains if len(suspects) == 1 else explained([one.role for one in suspects])


def _logits(model: Model, tokens: Sequence[int]) -> Array:
    return next(logits_of(model, [tokens], np.float64))


def _in_common(a: Array, b: Array) -> tuple[Array, Array]:
    """The logits of the tokens that both models have."""
    width = min(a.shape[-1], b.shape[-1])
    return a[..., :width], b[..., :width]


def _distance(expected: Array, found: Array) -> float:
    """The root of the mean squared difference; Inf where a logit is no number."""
    expected, found = _in_common(expected, found)
    with np.errstate(invalid="ignore", over="ignore"):
        made = float(np.sqrt(np.mean(np.square(expected - found))))
    return made if np.isfinite(made) else float("inf")


def numbers_that_differ(source: Parameters, target: Parameters) -> Mapping[str, tuple[Any, Any]]:
    """Every number of the model that is not the same on both sides; the pairing belongs to the format."""
    return {
        name: (value, getattr(target, name))
        for name, value in vars(source).items()
        if name != "pairing" and value != getattr(target, name)
    }
