"""Where a tensor stands that its canonical name does not find: under a foreign name, or in one matrix with others.

The rows of q and k may stand in two orders, so they are compared in the order that the target's format has. If only another order
fits, the tensor is there with its rows permuted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, islice

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import mapping, pairs, values
from rosetta_ref.gate.judge.shift import shifted
from rosetta_ref.gate.judge.view import View

#: How the rows of a tensor stand in the target: the heads over which they are turned, and whether to halves; None: as they were.
Turn = tuple[int, bool] | None
#: Elements that are looked at before all are: whole blocks of any type.
_FIRST = 4096
#: Foreign tensors that are tried for one that is not there: an output may have any number.
_TRIED = 1000


@dataclass(frozen=True)
class Elsewhere:
    """The tensor of the target that holds another one, and whether among others; `permuted` says how its rows stand, if wrongly."""

    name: str
    fused: bool = False
    permuted: str = ""


def elsewhere(source: View, target: View, name: str) -> Elsewhere | None:
    """Where a tensor of the source stands; None where it is lost. A right order anywhere comes before a wrong one."""
    tensor = source.tensors[name].tensor
    foreign = (seen.tensor for other, seen in target.tensors.items() if other not in source.tensors)
    others = [*islice(foreign, _TRIED)]
    alike = [other for other in others if other.shape == tensor.shape]
    wanted = [shifted(tensor, plus) for plus in source.pluses(name, target)]
    for wrong in (False, True):
        tried = list(_orders_of(source, target, name, wrong=wrong))
        for said, turn in tried:
            found = next((other for other in alike if any(same(one, other, turn) for one in wanted)), None)
            if found is not None:
                return Elsewhere(found.name, permuted=said)
        if (fused := _fused(source, target, name, others, wrong=wrong)) is not None:
            return fused
    return None


def _orders_of(source: View, target: View, name: str, *, wrong: bool) -> Iterator[tuple[str, Turn]]:
    """The right order of the rows of a tensor in the target, or the wrong ones, each with how they are turned then."""
    seen, heads = source.tensors[name], source.rotated_heads(name)
    if heads is None or not fits(seen.tensor, heads):
        yield from () if wrong else [("", None)]
        return
    differ = source.heads(name) is not None and seen.order != target.rows
    turn = (heads, target.rows == mapping.HALVES) if differ else None
    if not wrong:
        yield "", turn
        return
    yield from (each for each in orders(heads, source, turn) if each[1] is None or fits(seen.tensor, each[1][0]))


def _fused(source: View, target: View, name: str, others: list[Tensor], *, wrong: bool) -> Elsewhere | None:
    """The foreign tensor that holds q, k and v of a layer one after the other; `wrong`: q or k in another order than is right."""
    layer, _, rest = name.rpartition(".attn_")
    names = [f"{layer}.attn_{part}{rest[1:]}" for part in "qkv"]
    if rest[:1] not in ("q", "k", "v") or not all(each in source.tensors for each in names):
        return None
    parts = {each: source.tensors[each].tensor for each in names}
    first = parts[names[0]]
    shape = (sum(tensor.shape[0] for tensor in parts.values()), *first.shape[1:])
    ends = list(accumulate(tensor.count for tensor in parts.values()))
    for other in others:
        if other.shape != shape or not other.type.is_scalar:
            continue
        found = {}
        for (each, tensor), end in zip(parts.items(), ends, strict=True):
            piece = replace(pairs.within(other, end - tensor.count, end), shape=tensor.shape)
            tried = [*_orders_of(source, target, each, wrong=False)]
            tried += _orders_of(source, target, each, wrong=True) if wrong else ()
            if (said := next((said for said, turn in tried if same(tensor, piece, turn)), None)) is None:
                break
            found[each] = said
        if len(found) == len(parts):
            return Elsewhere(other.name, fused=True, permuted=found[name])
    return None


def fits(tensor: Tensor, heads: int) -> bool:
    """Whether the rows of a tensor are pairs of that many heads: a chain's own file may state any number."""
    return bool(tensor.shape) and tensor.shape[0] % (2 * heads) == 0


def orders(heads: int, source: View, turn: Turn) -> list[tuple[str, Turn]]:
    """The wrong orders of rows of q or k, each with how they were turned; `turn` is the right one."""
    ways = (turn[1], not turn[1]) if turn is not None else (True, False)
    stated = source.head_counts
    others = sorted((stated | {max(n // m, 1) for n in stated for m in stated}) - {heads})
    tried: list[tuple[str, Turn]] = [("not at all", None)] if turn is not None else []
    tried += [(f"by {other} heads, not {heads}", (other, ways[0])) for other in others] if turn is not None else []
    how = ("", "the wrong way") if turn is not None else ("though they stood right", "though they stood right, back")
    tried += [(said, (heads, way)) for said, way in zip(how, ways, strict=True) if said]
    return tried + [(f"by {other} heads", (other, way)) for other in others for way in ways]


def same(one: Tensor, other: Tensor, turn: Turn = None) -> bool:
    """Whether a tensor is a right conversion of another one, in the same shape. Its first blocks say so of most that are not."""
    if one.shape != other.shape:
        return False
    few = min(_FIRST, one.count)
    first = values.judge(pairs.part(pairs.turned(one, turn), 0, few), pairs.part(other, 0, few))
    return first.right and values.judge(one, other, turn=turn).right
