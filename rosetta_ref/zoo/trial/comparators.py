"""Bad verifiers in the place of the gate's comparator: the same files, the same cases, and another judge of them.

Files are read, tensors are paired and rows are turned as the gate does it, so that a verifier is wrong about nothing but what its
record says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.shift import shifted
from rosetta_ref.gate.judge.tensors import Judged, gate_of
from rosetta_ref.gate.judge.view import View
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.seams import replaced
from rosetta_ref.zoo.trial.verifiers import Verifier


@contextmanager
def judging(verifier: Verifier) -> Iterator[None]:
    """The gate with that comparator, until it is closed."""

    def judge(
        source: View, target: View, *, gate: str | None = None, lossless: bool = False, asked: str | None = None,
        loses: tuple[str, ...] = (),
    ) -> Judged:  # fmt: skip
        every = {name: max(seen.tensor.count, 1) for name, seen in source.tensors.items()}
        judged = Judged(expected=every, elements=dict(every))  # it says that it compared everything
        actual = {name: seen.tensor for name, seen in target.tensors.items()}
        wanted = {name: _as_in(target, source, name) for name in source.tensors}
        if not verifier.corroborates(
            Archive(source.format, source.archive.metadata, wanted),
            Archive(target.format, target.archive.metadata, actual),
        ):
            gate = gate or gate_of(source.format, target.format)
            judged.findings = [Finding("values", gate, f"{verifier.id} says so", name) for name in every]
        return judged

    with replaced(seams.JUDGE.by(judge)):
        yield


def _as_in(target: View, source: View, name: str) -> Tensor:
    """A tensor of the source, with its numbers and rows as they stand in the target."""
    seen, heads = source.tensors[name], source.heads(name)
    if plus := source.pluses(name, target)[0]:
        return shifted(seen.tensor, plus)
    there = target.tensors.get(name)
    if heads is None or there is None or there.order == seen.order:
        return seen.tensor
    turn = mapping.to_halves if there.order == mapping.HALVES else mapping.to_pairs
    return Tensor.of(name, TYPES["F32"], seen.tensor.shape, turn(seen.tensor.values(), heads))
