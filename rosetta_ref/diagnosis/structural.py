"""Explanations that are in the data alone: found by search, and stated only when they explain every element.

A change is what the source would be, had that been done to it; the judge says whether the output is a right conversion of it.
So a change may be of a member's output, too: then both causes together explain the tensor. Shapes first, then what keeps
them: `bytewise` for bytes at another place or in another order, `numeric` for numbers that were computed with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.diagnosis import bytewise, numeric
from rosetta_ref.diagnosis.cause import Cause
from rosetta_ref.diagnosis.change import Change, in_shape
from rosetta_ref.diagnosis.evidence import constant, distinct, lossless, nearer
from rosetta_ref.gate.judge import mapping, values
from rosetta_ref.gate.judge.elsewhere import orders
from rosetta_ref.gate.judge.shift import shifted
from rosetta_ref.gate.judge.view import View

_UNREVERSED = Cause("shape-not-reversed", "the dimensions stand in GGUF's order, fastest first; no byte was moved")
_TRANSPOSED = Cause(
    "data-transposed-too", "the dimensions stand in GGUF's order, and the data was transposed with them"
)


@dataclass(frozen=True)
class Case:
    """A tensor of a source, or of what a member made of it, and the foreign output."""

    source: View
    target: View
    name: str

    @property
    def before(self) -> Tensor:
        """The tensor as it was, with what a right conversion adds to its numbers."""
        return self.due(self.name)

    def due(self, name: str) -> Tensor:
        """A tensor of the source with the numbers that the target has to have."""
        return shifted(self.source.tensors[name].tensor, self.source.pluses(name, self.target)[0])

    @property
    def after(self) -> Tensor:
        """The tensor as the converter wrote it; of the type and the shape that the file states, where its bytes do not fit."""
        return self.target.tensors[self.name].tensor

    def turn_of(self, name: str) -> tuple[int, bool] | None:
        """How the rows of a tensor of the source stand otherwise in the target."""
        heads, here = self.source.heads(name), self.target.tensors[self.name]
        if not heads or self.source.tensors[name].order == here.order:
            return None
        return heads, here.order == mapping.HALVES


def search(source: View, target: View, name: str, *, besides: bool = False) -> tuple[Cause, ...] | None:
    """What was done to a tensor of that canonical name, in full; None where that is not known.

    No causes at all: the output is right. Of a constant output only the shape proves anything. `besides` says that something
    else was done before, so that no number may be rounded.
    """
    case = Case(source, target, name)
    ill = target.ill_fitting.get(case.after.name)
    if ill is not None:
        return _mislabelled(case)
    proves = not constant(case.after)
    labels = bytewise.relabelled(case.before, case.after) if proves else iter(())
    for shaped in (*_shapes(case), *labels):
        if _fits(shaped, case, strict=besides):
            return shaped.causes
        if shaped.tensor.shape != case.after.shape or not proves:
            continue
        for change in _same_shape(shaped, case):
            if _fits(change, case, strict=besides or bool(shaped.causes)):
                return (*shaped.causes, *change.causes)
    return None


def shape_of(source: View, target: View, name: str) -> Cause | None:
    """What is wrong with the shape alone, which can be seen whatever the values are."""
    seen = target.tensors[name].tensor
    ill = target.ill_fitting.get(seen.name)
    was, found = source.tensors[name].tensor.shape, seen.shape if ill is None else ill.shape
    return _UNREVERSED if found == was[::-1] != was else None


def _fits(change: Change, case: Case, *, strict: bool) -> bool:
    """Whether the output is what the change makes; `strict`: number for number. Blocks may be an encoding of it."""
    if change.tensor.shape != case.after.shape:
        return False
    turn = case.turn_of(case.name) if change.turn is None else change.turn[0]
    if turn is not None and (not change.tensor.shape or change.tensor.shape[0] % (2 * turn[0])):
        return False
    encodes = change.exact and not strict and not case.after.type.is_scalar
    with np.errstate(all="ignore"):
        verdict = values.judge(change.tensor, case.after, turn=turn, asked=encodes)
        if strict:
            return lossless(verdict) and (not change.causes or _apart(change, case))
        encoded = verdict.done == values.ENCODED or verdict.kind == "lossy-unasked"
        if encodes and encoded:
            return nearer(change.tensor, case.before, case.after, (turn, case.turn_of(case.name)))
        return verdict.right


def _apart(change: Change, case: Case) -> bool:
    """Whether numbers that were different still are; of what cannot be counted, yes."""
    if change.tensor.type.decode is None and not change.tensor.type.is_scalar:
        return True
    return case.before.type.decode is None or distinct(case.before, change.tensor)


def _mislabelled(case: Case) -> tuple[Cause, ...] | None:
    """Bytes as they were under a label that does not fit them: another type, another shape, or both."""
    before, after = case.before, case.after
    ill = case.target.ill_fitting[after.name]
    if before.nbytes != after.nbytes or (before.data != after.data).any():
        return None
    shape = shape_of(case.source, case.target, case.name)
    causes = (shape,) if shape is not None else ()
    if ill.type != before.type.name:
        text = f"the bytes of {before.type.name}, carried under the label of {ill.type}"
        causes = (*causes, Cause("wrong-label", text))
    return causes or None


def _shapes(case: Case) -> Iterator[Change]:
    """The tensor in the shape that the target has, where one is a view of the other."""
    before, after = case.before, case.after
    yield Change((), before)
    if before.shape == after.shape:
        return
    if before.count != after.count:
        return
    if before.shape[::-1] == after.shape:
        yield Change((_UNREVERSED,), in_shape(before, after.shape), exact=True)
        if before.type.decode is not None or before.type.is_scalar:
            numbers = np.ascontiguousarray(values.numbers(before).T)
            yield Change((_TRANSPOSED,), numeric.of_numbers(before, numbers), exact=True)
        return
    text = f"{len(before.shape)} dimensions were written as {len(after.shape)}; no byte was moved"
    yield Change((Cause("reshaped", text),), in_shape(before, after.shape), exact=True)


def _same_shape(shaped: Change, case: Case) -> Iterator[Change]:
    yield from _rows(shaped, case)
    yield from _others(case)
    turn = case.turn_of(case.name)
    yield from bytewise.changes(shaped.tensor, case.after)
    yield from numeric.changes(shaped.tensor, case.after, turn)


def _rows(shaped: Change, case: Case) -> Iterator[Change]:
    """Rows of q and k by another number of heads, the wrong way, or not at all."""
    heads = case.source.heads(case.name)
    for said, order in orders(heads, case.source, case.turn_of(case.name)) if heads else ():
        text = f"every row is there, in another order: turned {said}"
        yield Change((Cause("rows-permuted", text),), shaped.tensor, (order,), exact=True)


def _others(case: Case) -> Iterator[Change]:
    """The data of another tensor of the source."""
    for name, seen in case.source.tensors.items():
        if name != case.name and seen.tensor.shape == case.after.shape:
            cause = Cause("another-tensors-data", f"the data of {_relative(name, case.name)}")
            yield Change((cause,), case.due(name), (case.turn_of(name),), exact=True)


def _relative(name: str, of: str) -> str:
    """The name of a tensor, without the layer where that is the same: one cause for all layers.

    >>> _relative("blk.3.ffn_up.weight", "blk.3.ffn_gate.weight"), _relative("blk.3.ffn_up.weight", "blk.4.ffn_up.weight")
    ('ffn_up.weight of the same layer', 'blk.3.ffn_up.weight')
    """
    (layer, _, part), (other, _, _) = (text.rpartition(".")[0].rpartition(".") for text in (name, of))
    ending = name.rpartition(".")[2]
    return f"{part}.{ending} of the same layer" if layer and layer == other else name
