"""Tensors that are no model: every type in every class of shapes, and every payload; which types and payloads share a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.gate.inputs import big_endian, large
from rosetta_ref.gate.inputs.models import Fill, formats_of, seed_of, tensor_of
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.patterns import payloads
from rosetta_ref.quant import TYPES, BlockType

#: Types that no model holds, though GGUF can: what engines compute with. Only where they are named.
INTERMEDIATE = ("Q8_1", "Q8_K")
#: Quantised types that share a file.
GROUPS = {
    "legacy": ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    "k": ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    "iq": ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"),
    "few-bits": ("TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
    "newest": ("Q1_0", "Q2_0"),
}
#: I16 has no code in APR, so it is a file of its own.
SCALARS = {"floats": ("F32", "F16", "BF16"), "numbers": ("F64", "I8", "I32", "I64"), "i16": ("I16",)}
#: What has NaN and Inf in it, or numbers beyond F16, which some converters refuse: the types, the payload.
_APART = {
    "floats-large": (("F32", "BF16"), "large"),
    "floats-special": ((*SCALARS["floats"], "F64"), "special"),
    "blocks-special": (GROUPS["legacy"] + GROUPS["k"], "special"),
    "iq-special": (GROUPS["iq"] + GROUPS["few-bits"], "special"),
    "newest-special": (GROUPS["newest"], "special"),
}
#: Types that also have rows, and numbers of rows, that 16 bits do not count: one of numbers, and one of blocks.
_LONG_IN = ("F32", "Q8_0")
#: Shapes whose sizes are multiples of no alignment.
FEW = {"F32": (3, 5), "F16": (7,), "BF16": (3, 3), "Q8_0": (3, 32), "Q4_K": (3, 256)}


def cases_of(known: Collection[str], groups: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[Fill]]]:
    """The files of those groups by name, and those for what stands apart; each with types and payloads."""
    apart = {payload for _, payload in _APART.values()}
    for name, kinds in groups.items():
        together = [(kind, each) for kind in kinds if kind in known for each in payloads.payloads_of(TYPES[kind])]
        yield name, [case for case in together if case[1] not in apart]
    for name, (kinds, payload) in _APART.items():
        yield (
            name,
            [(kind, payload) for kind in kinds if kind in known and payload in payloads.payloads_of(TYPES[kind])],
        )


def _shapes(kind: BlockType) -> dict[str, tuple[int, ...]]:
    """Shapes of index-coded tensors by class: none square, rows of floats of no round length."""
    block = kind.elements
    if kind.is_scalar:
        shapes: dict[str, tuple[int, ...]] = {
            "one-row": (7,), "two-rows": (2, 3), "ragged": (5, 33), "3-d": (2, 3, 5), "4-d": (2, 3, 2, 5),
        }  # fmt: skip
    else:
        shapes = {
            "one-block": (block,), "two-blocks": (2 * block,), "two-rows": (2, block), "oblong": (3, 2 * block),
            "3-d": (2, 3, block), "many": (16, 3 * block),
        }  # fmt: skip
    if kind.name in _LONG_IN:
        shapes |= {"long-rows": (2, large.BEYOND), "many-rows": (large.BEYOND, kind.elements)}
    return shapes


def archives(known: Collection[str], seed: int) -> Iterator[Sample]:
    """Tensors that are no model: each type in each class of shapes, each payload in one of them."""
    for name, cases in cases_of(known, {**SCALARS, **GROUPS, "intermediate": INTERMEDIATE}):
        tensors, labels = {}, {}
        for kind, payload in cases:
            for shape_name, shape in _shapes(TYPES[kind]).items():
                if payload == "index-coded" or shape_name in ("ragged", "oblong"):
                    label = f"{kind.lower()}/{shape_name}/{payload}"
                    tensor = large.named(label) if shape_name in large.SHAPES else label.replace("/", ".")
                    made = tensor_of(tensor, TYPES[kind], shape, payload, seed_of(seed, name, tensor))
                    tensors[tensor], labels[tensor] = made, label
        if tensors:
            model = Archive("gguf", {}, tensors)
            yield Sample(name, model, labels, None, formats_of(model), seed)


def turned(known: Collection[str], seed: int) -> Iterator[Sample]:
    """Two rows of two blocks of each type, and a text and an array in the metadata."""
    made = {name: tensor_of(f"{name.lower()}.oblong", TYPES[name], (2, 2 * TYPES[name].elements), "index-coded",
                            seed_of(seed, "big-endian", name)) for name in big_endian.TYPES if name in known}  # fmt: skip
    keys = {
        "general.name": Value.scalar(Kind.STRING, "big"), "general.tags": Value.array(Kind.STRING, ["test", "tiny"]),
        "rosetta.numbers": Value.array(Kind.U32, np.array([1, 256], np.uint32)),
    }  # fmt: skip
    if made:
        tensors = {tensor.name: tensor for tensor in made.values()}
        labels = {tensor.name: f"{name.lower()}/oblong/index-coded" for name, tensor in made.items()}
        yield Sample("big-endian", Archive("gguf", keys, tensors), labels, None, ("gguf",), seed, big_endian=True)


def few(known: Collection[str], seed: int) -> Sample:
    """One tensor of each of some types, of a size that no alignment divides."""
    tensors: dict[str, Tensor] = {}
    labels = {}
    for kind, shape in FEW.items():
        if kind in known:
            name = f"{kind.lower()}.odd-size"
            tensors[name] = tensor_of(name, TYPES[kind], shape, "index-coded", seed_of(seed, name))
            labels[name] = f"{kind.lower()}/odd-size/index-coded"
    model = Archive("gguf", {}, tensors)
    return Sample("aligned", model, labels, None, ("gguf",), seed)
