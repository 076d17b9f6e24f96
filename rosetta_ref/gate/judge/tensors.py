"""A source and what a converter made of it: everything that is wrong, each at the finest level that holds.

Tensors are paired by canonical name, so a foreign name, a lost tensor, a wrong shape, rows in another order and wrong values are
different findings. What converters may do without a fault is in `mapping`: rename, reverse ne, turn rows of q and k, leave out a
head that is the embedding, factors made from the configuration, buffers. Numbers and words of a model are judged in `metadata`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from rosetta_ref.archive import Tensor
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge import mapping, pairs, values
from rosetta_ref.gate.judge.elsewhere import elsewhere, fits, orders, same
from rosetta_ref.gate.judge.shift import judge_shifted
from rosetta_ref.gate.judge.values import Verdict
from rosetta_ref.gate.judge.view import IllFitting, Seen, View
from rosetta_ref.gate.pairs import LETTERS, PAIRS

PAIR_GATES = {pair: f"F-CONV-{number:03}" for number, pair in enumerate(PAIRS, start=1)}
CARD, NAME, META, QUANT = "F-CONV-CARD-001", "F-CONV-NAME-001", "F-CONV-META-001", "F-CONV-QUANT-001"
_LETTER = {name: letter for letter, name in LETTERS.items()}


def gate_of(source_format: str, target_format: str) -> str:
    """The gate of a pair of formats.

    >>> gate_of("safetensors", "apr")
    'F-CONV-006'
    """
    return PAIR_GATES.get(f"{_LETTER[source_format]}-{_LETTER[target_format]}", QUANT)


@dataclass
class Judged:
    """What was found. `elements` are those compared by canonical name; `expected` those that there were to compare."""

    findings: list[Finding] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    types: dict[str, tuple[str, str]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    by_tensor: dict[str, str] = field(default_factory=dict)
    nbytes: int = 0
    #: Names in the target of tensors that the source has under another one.
    renamed: set[str] = field(default_factory=set)

    def of(self, *tensors: str) -> list[Finding]:
        """The findings on those tensors, by canonical name."""
        return [finding for finding in self.findings if finding.tensor in tensors]


def judge(
    source: View, target: View, *, gate: str | None = None, lossless: bool = False, asked: str | None = None,
    loses: tuple[str, ...] = (),
) -> Judged:  # fmt: skip
    """Every tensor of the target against the source's. `asked` is the type that a quantiser was asked for."""
    judged = Judged()
    gate = gate or gate_of(source.format, target.format)
    target = target.read_as(source)
    for name, seen in source.tensors.items():
        tensor = seen.tensor
        if mapping.is_buffer(tensor.name):
            continue
        judged.expected[name] = max(tensor.count, 1)
        here = target.tensors.get(name)
        if here is None:
            _absent(judged, source, target, name, gate)
            continue
        if (seen.tensor.name, source.format) != (here.tensor.name, target.format):
            _check_name(judged, source, target, name)
        verdicts = judge_pair(source, target, name, asked=asked is not None)
        judged.elements[name] = tensor.count or 1
        judged.nbytes += tensor.nbytes + here.tensor.nbytes
        judged.types[name] = (tensor.type.name, target.stored_type(here.tensor))
        for verdict in verdicts:
            if verdict.done == values.NARROWED and lossless and asked is None:
                verdict = replace(verdict, kind="narrowed", detail=f"{verdict.count:,} elements were rounded")
            if not verdict.right and verdict.kind not in loses:
                judged.findings.append(
                    Finding(
                        verdict.kind,
                        gate,
                        verdict.detail,
                        name,
                        *judged.types[name],
                        verdict.count,
                        verdict.first,
                        error=verdict.error,
                    )
                )
            else:
                judged.done[verdict.done or verdict.kind] += 1
                judged.by_tensor[name] = verdict.done or verdict.kind
    _surplus(judged, source, target)
    return judged


def judge_pair(source: View, target: View, name: str, *, asked: bool = False) -> list[Verdict]:
    """What there is to say of a tensor that both files have, by its canonical name: one thing, or a shape and something else."""
    before, after = source.tensors[name], target.tensors[name]
    ill = target.ill_fitting.get(after.tensor.name)
    if ill is not None and source.ill_fitting.get(before.tensor.name) != ill:
        return _ill_fitting(before.tensor, after.tensor, ill)
    if before.tensor.shape != after.tensor.shape:
        return _other_shape(before.tensor, after.tensor)
    return _of_one_shape(source, target, name, asked)


def _of_one_shape(source: View, target: View, name: str, asked: bool) -> list[Verdict]:
    before, after = source.tensors[name], target.tensors[name]
    if any(pluses := source.pluses(name, target)):
        return [judge_shifted(before.tensor, after.tensor, pluses, asked=asked)]
    heads = source.rotated_heads(name)
    if heads and not fits(before.tensor, heads):
        heads = None
    differ = source.heads(name) is not None and before.order != after.order
    turn = (heads, after.order == mapping.HALVES) if heads and differ else None
    verdict = values.judge(before.tensor, after.tensor, turn=turn, asked=asked)
    if not verdict.right and verdict.kind != "lossy-unasked" and heads:
        return _permuted(before, after, heads, source, turn) or [verdict]
    return [verdict]


def _ill_fitting(source: Tensor, target: Tensor, ill: IllFitting) -> list[Verdict]:
    """Of another size than type and shape say; most often carried bytes under a wrong label or an unreversed shape."""
    same = pairs.Pair(source, target).same_bytes()
    found: list[Verdict] = []
    if not same:
        found.append(Verdict(kind="size", detail=ill.problem, count=source.count))
    elif ill.type != source.type.name:
        detail = f"the bytes of {source.type.name}, carried under the label of {ill.type}: {ill.problem}"
        found.append(Verdict(kind="label", detail=detail, count=source.count))
    if source.shape[::-1] == ill.shape != source.shape:
        found.append(_reversed(source, ill.shape, "the bytes are in order" if same else ill.problem))
    elif not found:
        detail = f"{list(source.shape)} became {list(ill.shape)}, the bytes are in order: {ill.problem}"
        found.append(Verdict(kind="shape", detail=detail, count=source.count))
    return found


def _reversed(source: Tensor, found: tuple[int, ...], said: str) -> Verdict:
    detail = f"{list(source.shape)} became {list(found)}, {said}"
    return Verdict(kind="shape-not-reversed", detail=detail, count=source.count)


def _other_shape(source: Tensor, target: Tensor) -> list[Verdict]:
    """Reversed with the bytes as they were, transposed with them, or another shape altogether."""
    detail = f"{list(source.shape)} became {list(target.shape)}"
    if source.shape[::-1] != target.shape:
        return [Verdict(kind="shape", detail=detail, count=source.count)]
    there = Tensor(target.name, target.type, source.shape, target.source, target.file, target.offset)
    verdict = values.judge(source, there)
    if verdict.right:
        return [_reversed(source, target.shape, "the bytes are in order")]
    if source.type.is_scalar and target.type.is_scalar and pairs.transposed(source, target):
        detail = f"{detail}, the data was transposed as well"
        return [Verdict(kind="transposed", detail=detail, count=source.count)]
    return [verdict, _reversed(source, target.shape, "and something else is wrong as well")]


def _permuted(before: Seen, after: Seen, heads: int, source: View, turn: tuple[int, bool] | None) -> list[Verdict]:
    """Whether every element is there, its rows in the order of some other convention; perhaps encoded anew as well."""
    for said, order in orders(heads, source, turn):
        if order is not None and before.tensor.shape[0] % (2 * order[0]):
            continue
        verdict = values.judge(before.tensor, after.tensor, turn=order)
        if verdict.right or verdict.kind == "lossy-unasked":
            permuted = _rows_permuted(before.tensor, said)
            return [permuted] if verdict.right else [permuted, verdict]
    return []


def _rows_permuted(tensor: Tensor, said: str) -> Verdict:
    detail = f"every row is there, in another order: turned {said}"
    return Verdict(kind="rows-permuted", detail=detail, count=tensor.count)


# Names and numbers of tensors


def _check_name(judged: Judged, source: View, target: View, name: str) -> None:
    stored = target.tensors[name].tensor.name
    expected = mapping.hugging_face_name(name, source.reading) if of(target.format).has_companions else name
    if stored == source.tensors[name].tensor.name and source.architecture not in mapping.MODELS:
        return  # of tensors that are no model any name is right that stays
    outer = mapping.MODELS.get(target.architecture or "") if target.inside else None
    right = {name, mapping.hugging_face_name(name, source.reading)} if target.format == "apr" else {expected or name}
    if (stored if outer is None else outer.alone(stored)) not in right:
        judged.renamed.add(stored)
        detail = f"it is called {stored!r}, and {expected!r} in every {target.format} file of that kind"
        judged.findings.append(Finding("foreign-name", NAME, detail, name))


def _absent(judged: Judged, source: View, target: View, name: str, gate: str) -> None:
    tensor = source.tensors[name].tensor
    if name in mapping.FROM_CONFIGURATION and target.format != "gguf":
        judged.elements[name] = judged.expected[name]
        judged.by_tensor[name] = "from the configuration"
        return
    embedding = source.tensors.get(mapping.EMBEDDING)
    if name == mapping.HEAD and embedding is not None and same(tensor, embedding.tensor):
        judged.elements[name] = judged.expected[name]
        judged.by_tensor[name] = "tied"
        return
    found = elsewhere(source, target, name)
    if found is not None:
        judged.renamed.add(found.name)
        judged.elements[name] = judged.expected[name]
        kind, detail = "foreign-name", f"its values arrive as {found.name!r}"
        if found.fused:
            kind, detail = "fused", f"its rows stand in {found.name!r}, among those of others"
        judged.findings.append(Finding(kind, NAME, detail, name))
        if found.permuted:
            permuted = _rows_permuted(tensor, found.permuted)
            judged.findings.append(
                Finding(permuted.kind, gate, permuted.detail, name, tensor.type.name, "", permuted.count)
            )
        return
    judged.findings.append(Finding("lost", CARD, "it is not there", name, tensor.type.name))
    judged.findings.append(
        Finding("lost", gate, "none of its elements arrive", name, tensor.type.name, "", tensor.count)
    )


def _surplus(judged: Judged, source: View, target: View) -> None:
    for name in (name for name in target.twice if name not in source.twice):
        judged.findings.append(Finding("twice", CARD, "its canonical name stands twice", name))
    for broken in (each for each in target.broken if each not in source.broken):
        judged.findings.append(
            Finding(
                broken.kind, CARD, broken.detail, mapping.canonical_name(broken.name, target.reading) or broken.name
            )
        )
    for name, seen in target.tensors.items():
        if name in source.tensors or seen.tensor.name in judged.renamed or mapping.is_buffer(seen.tensor.name):
            continue
        if name in mapping.FROM_CONFIGURATION:
            continue
        embedding = target.tensors.get(mapping.EMBEDDING)
        copy = name == mapping.HEAD and embedding is not None and same(seen.tensor, embedding.tensor)
        kind, ill = target.stored_type(seen.tensor), target.ill_fitting.get(seen.tensor.name)
        stored = f"the source has none; this one is {kind} {list(ill.shape if ill else seen.tensor.shape)}"
        detail = "a copy of the embedding, as a head that the source does not have" if copy else stored
        judged.findings.append(Finding("invented", CARD, detail, name, "", kind))
