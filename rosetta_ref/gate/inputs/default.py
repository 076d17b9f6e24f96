"""What the gate gives to a converter: a few files of many tensors, since one run of the converter judges a whole file.

Models first (names, rows, numbers, tokenizers), then every type in every class of shapes: as tensors that are no model, or inside
models for converters that take nothing else. What some converters refuse for a good reason (NaN, a type, a bias) is a file of
its own, so that no other case is lost with it. Each file shows something: read `_MODELS` and `default`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.gate.inputs import big_endian, facts, large, models
from rosetta_ref.gate.inputs.alignment import aligned
from rosetta_ref.gate.inputs.full import full_models
from rosetta_ref.gate.inputs.models import Fill, Spec, build, formats_of, seed_of, tensor_of
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.words import instead
from rosetta_ref.patterns import payloads
from rosetta_ref.quant import TYPES, BlockType

#: Types that no model holds, though GGUF can: what engines compute with. Only where they are named.
_INTERMEDIATE = ("Q8_1", "Q8_K")
#: Quantised types that share a file.
_GROUPS = {
    "legacy": ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    "k": ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    "iq": ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"),
    "few-bits": ("TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
    "newest": ("Q1_0", "Q2_0"),
}
#: I16 has no code in APR, so it is a file of its own.
_SCALARS = {"floats": ("F32", "F16", "BF16"), "numbers": ("F64", "I8", "I32", "I64"), "i16": ("I16",)}
#: What has NaN and Inf in it, or numbers beyond F16, which some converters refuse: the types, the payload.
_APART = {
    "floats-large": (("F32", "BF16"), "large"),
    "floats-special": ((*_SCALARS["floats"], "F64"), "special"),
    "blocks-special": (_GROUPS["legacy"] + _GROUPS["k"], "special"),
    "iq-special": (_GROUPS["iq"] + _GROUPS["few-bits"], "special"),
    "newest-special": (_GROUPS["newest"], "special"),
}
_YARN = {
    "llama.rope.scaling.type": Value.scalar(Kind.STRING, "yarn"),
    "llama.rope.scaling.factor": Value.scalar(Kind.F32, np.float32(4)),
    "llama.rope.scaling.original_context_length": Value.scalar(Kind.U32, 32768),
    "llama.context_length": Value.scalar(Kind.U32, 131072),
}

#: Llama 3.1 has a factor of 8, Llama 3.2 one of 32 (their config.json): the one for even seeds, the other for odd ones.
_LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_LONG = {"llama.context_length": Value.scalar(Kind.U32, 131072)}

#: name: the model, and the type of its matrices. Heads: none with kv_heads^2 = heads; 8, 16 and 64 elements in a head. One
#: has eleven layers, whose numbers stand in another order as texts.
_MODELS: dict[str, tuple[Spec, str]] = {
    "llama-f32-tied": (Spec("llama", 8, 2, 8, 96, tied=True), "F32"),
    "llama-f16-scores": (Spec("llama", 6, 3, 16, 64, tokenizer="spm", base="F16"), "F16"),
    "llama-f32-wide": (Spec("llama", 4, 1, 64, 64, layers=1, tied=True), "F32"),
    "llama-bf16-biased": (Spec("llama", 4, 1, 16, 96, biased=True, base="BF16", modern=True), "BF16"),
    "llama-f32-yarn": (Spec("llama", 8, 2, 8, 64, layers=1, tied=True, keys=_YARN), "F32"),
    "llama-f32-llama3": (
        Spec("llama", 8, 2, 8, 64, layers=1, tied=True, llama3=_LLAMA3, keys=_LONG, theta=500_000.0),
        "F32",
    ),
    "llama-f32-long-heads": (Spec("llama", 4, 1, 32, 96, stream=64, layers=11, tied=True), "F32"),
    "qwen2-bf16-tied": (Spec("qwen2", 8, 2, 8, 96, tied=True, base="BF16"), "BF16"),
    "qwen2-f32": (Spec("qwen2", 6, 3, 16, 64, modern=True), "F32"),
}
_TINY = Spec("llama", 4, 1, 16, 96, layers=1, tied=True)
#: Models of blocks, which show of names and rows what others do not: one architecture with rows in pairs, and one without.
_BLOCKS = {
    "llama": Spec("llama", 8, 2, 32, 512, tied=True),
    "qwen2": Spec("qwen2", 8, 1, 32, 512, tied=True),
}
_NARROW_FIRST = ("F16", "BF16", "F32")
_PUBLISHED = ("BF16", "F16", "F32")
_F32: list[Fill] = [("F32", "index-coded")]
#: llama.cpp loads no model that is aligned to less than 32.
_ALIGNMENTS, _MODEL_ALIGNMENTS = (8, 16, 32, 64), (32, 64, 128)
#: Types that also have rows, and numbers of rows, that 16 bits do not count: one of numbers, and one of blocks.
_LONG_IN = ("F32", "Q8_0")
#: Shapes whose sizes are multiples of no alignment.
_FEW = {"F32": (3, 5), "F16": (7,), "BF16": (3, 3), "Q8_0": (3, 32), "Q4_K": (3, 256)}
_TEXTS = ("", "a", 'quotes " and \\', "newline\nand tab\t", "Ĝis! 世界 🦀", "x" * 5000)


def default(
    seed: int,
    *,
    architectures: Collection[str] | None = None,
    types: Collection[str] | None = None,
    whole_models: bool = False,
    quantised: bool = True,
    tokenizers: Collection[str] | None = None,
    rope_scaling: Collection[str] | None = None,
) -> list[Sample]:
    """The samples of the full gate: the same for the same arguments.

    `architectures` and `types` are those that a converter takes (None: all; a model's norms are F32 all the same);
    `tokenizers` and `rope_scaling` likewise: a model whose tokenizer is not taken has another one; where none of the small ones is,
    there are the full ones alone. `whole_models` puts each type's cases inside loadable models; without `quantised` there are no
    blocks.
    """
    named = [name for name in TYPES if name not in _INTERMEDIATE] if types is None else types
    known = {kind.name for kind in TYPES.values() if kind.name in named and (quantised or kind.is_scalar)}
    named_families = models.families(architectures)
    words = {family: instead(MODELS[family].tokenizer, tokenizers) for family in named_families}
    families = [family for family in named_families if words[family]]
    made = [
        build(name, replace(_seeded(spec, seed), tokenizer=own), [(kind, "index-coded")], seed)
        for name, (spec, kind) in _MODELS.items()
        if kind in known
        and spec.architecture in families
        and (own := instead(spec.words, tokenizers))
        and (spec.scaling is None or rope_scaling is None or spec.scaling in rope_scaling)
    ]
    made += full_models(tokenizers, named_families, _full_fills(known, alone=not families), seed)
    with models.worded({family: own for family, own in words.items() if own}):
        others = _others(families, known, seed, whole_models)
    spm = instead("spm", tokenizers) == "spm"
    return made + [sample for sample in others if spm or not sample.name.startswith("llama-silent")]


def _seeded(spec: Spec, seed: int) -> Spec:
    return replace(spec, llama3={**spec.llama3, "factor": 32.0}) if spec.llama3 and seed % 2 else spec


def _full_fills(known: Collection[str], *, alone: bool) -> list[Fill]:
    """What the matrices of full models hold: all of F16; where there are no other models, all that 32 columns have room for."""
    first = next((name for name in _NARROW_FIRST if name in known), None)
    kinds = {"floats": _SCALARS["floats"], "legacy": _GROUPS["legacy"]} if alone else {"floats": (first or "",)}
    cases = [case for name, cases in _cases(known, kinds) if name in kinds for case in cases]
    return (
        [(first, "gaussian"), *cases] if first else []
    )  # no narrow type has so many different numbers as an embedding


def _others(families: Sequence[str], known: Collection[str], seed: int, whole_models: bool) -> list[Sample]:
    made: list[Sample] = []
    made += [sample for family in families for sample in _plain_model(family, known, seed)]
    made += facts.facts(families, seed) if "F32" in known else ()
    for family in [name for name in families if name in _BLOCKS] or families[:1]:
        made += _block_models(family, known, seed)
    for family in families[:1]:
        made += _small_models(replace(_TINY, architecture=family), known, seed)
        made += _typed_models(family, known, seed) if whole_models else ()
    if not whole_models:
        made += _archives(known, seed)
        made += [aligned(_few(known, seed), alignment, seed) for alignment in _ALIGNMENTS if known & _FEW.keys()]
        made += _big_endian(known, seed)
    if families and "F32" in known:
        tiny = replace(_TINY, architecture=families[0])
        # A chain shows whether the writer keeps to the key that it keeps: models have chains, so there is one in any case.
        name, alignments = ("aligned", _MODEL_ALIGNMENTS) if whole_models else ("aligned-model", _MODEL_ALIGNMENTS[1:2])
        made += [aligned(build(name, tiny, _F32, seed), alignment, seed) for alignment in alignments]
    return made


def scaled_models(seed: int, tokenizer: str = "") -> list[tuple[str, Sample]]:
    """A model of each kind of rope scaling, by the kind."""
    specs = {name: spec for name, (spec, _) in _MODELS.items() if spec.scaling is not None}
    return [
        (spec.scaling or "", build(name, replace(spec, tokenizer=tokenizer), _F32, seed))
        for name, spec in specs.items()
    ]


def for_quantisers(
    seed: int,
    faces: Sequence[str] = ("gguf",),
    architectures: Collection[str] | None = None,
    tokenizers: Collection[str] | None = None,
) -> list[Sample]:
    """For F-CONV-QUANT-001: a model in F32 with rows of 256, whose blocks are of all the kinds that encoders get wrong.

    `faces` are the formats that a converter is asked for a type from; the first of its architectures is asked with.
    """
    family = next(iter(models.families(architectures)), "llama")
    spec = replace(
        _wide(family),
        tokenizer=instead(MODELS[family].tokenizer, tokenizers) or "",
        inner=256,
        layers=1,
        keys={"general.file_type": Value.scalar(Kind.U32, 0)},
    )
    return [replace(build(f"{family}-rough", spec, [("F32", "rough")], seed), formats=tuple(faces))]


def _plain_model(family: str, known: Collection[str], seed: int) -> Iterator[Sample]:
    """The model of an architecture that has none above: everything of its own, in the type that such models are published in."""
    kind = next((name for name in _PUBLISHED if name in known), None)
    if kind is None or any(spec.architecture == family for spec, _ in _MODELS.values()):
        return
    model = MODELS[family]
    layers, stream = max(model.pattern, 2), 96 if model.head_keys else 0
    spec = Spec(family, 8, 2, 16, 160, layers=layers, stream=stream, tied=model.tied, base=kind, modern=True)
    yield build(f"{family}-{kind.lower()}", spec, [(kind, "index-coded")], seed)


def _small_models(tiny: Spec, known: Collection[str], seed: int) -> Iterator[Sample]:
    own = [(name, "index-coded") for name in ("AprQ4", "AprQ8") if name in known]
    if own:  # the quantised types that only APR has
        yield replace(build("apr-types", tiny, own, seed), formats=("apr",))
    if "F32" in known:
        if MODELS[tiny.architecture].pairs:  # in APR such rows stand in either order, and rope_type says in which
            yield replace(build("apr-halves", tiny, _F32, seed), formats=("apr",), halves_in_apr=True)
        yield from _sharded(replace(tiny, layers=2), seed)
        yield from (_metadata(tiny, seed, finite=finite) for finite in (True, False))


def _block_models(family: str, known: Collection[str], seed: int) -> Iterator[Sample]:
    """q, k and all others in blocks: what APR has codes for, what is common, and numbers of real size."""
    mixes = {
        "q4_k_m": ("index-coded", ("Q4_K", "Q4_K", "Q6_K")),
        "mix": ("index-coded", ("Q8_0", "Q5_K", "Q4_0", "Q6_K", "Q5_0", "Q3_K", "Q4_1", "Q2_K", "Q5_1", "Q4_K")),
        "gaussian": ("gaussian", ("Q6_K", "Q8_0", "Q4_K", "Q4_0", "Q5_K")),
    }
    for mix, (payload, kinds) in mixes.items():
        cases = [(kind, payload) for kind in kinds if kind in known]
        if cases and (family, mix) != ("qwen2", "gaussian"):
            yield build(f"{family}-{mix}", replace(_wide(family), tied=mix != "mix"), cases, seed)


def _wide(family: str) -> Spec:
    """Rows of 256 for every type of blocks; heads of 32."""
    return _BLOCKS.get(family) or replace(_BLOCKS["llama"], architecture=family)


def _sharded(spec: Spec, seed: int) -> Iterator[Sample]:
    """Three files; and a set in which three tensors have stale copies in files that the index does not take them from.

    They are one model, so that a chain is converted once for both.
    """
    sample = replace(build("sharded", spec, _F32, seed), shards=3)
    yield replace(sample, formats=("gguf", "safetensors"))
    yield replace(sample, name="sharded-stale", stale=True, formats=("safetensors",))


def _metadata(spec: Spec, seed: int, *, finite: bool) -> Sample:
    """Values of every kind, alone and in arrays, at their ends, and texts that are not plain; or floats that are not finite."""
    sample = build("metadata" if finite else "metadata-special", spec, _F32, seed)
    keys = dict(sample.model.metadata)
    for kind in Kind:
        values = _ends(kind, finite)
        if values is not None:
            name = f"rosetta.{kind.name.lower()}"
            keys |= {f"{name}.{place}": Value(kind, value) for place, value in enumerate(values)}
            keys[f"{name}.array"] = Value(Kind.ARRAY, values, kind)
            keys |= {f"{name}.empty": Value(Kind.ARRAY, values[:0], kind)} if finite else {}
    if finite:
        keys |= {f"rosetta.string.{place}": Value.scalar(Kind.STRING, text) for place, text in enumerate(_TEXTS)}
        keys["rosetta.string.array"] = Value.array(Kind.STRING, _TEXTS)
        keys["general.tags"] = Value.array(Kind.STRING, ["test", "tiny"])
        keys["general.license"] = Value.scalar(Kind.STRING, "mit")
    return replace(sample, model=replace(sample.model, metadata=keys), formats=("gguf",))


def _ends(kind: Kind, finite: bool) -> NDArray[Any] | None:
    """The ends of a kind of numbers, as an array of its NumPy type, or what floats have beyond; None where there are none."""
    if kind.dtype is None or (kind.dtype.kind != "f" and not finite):
        return None
    if kind is Kind.BOOL:
        return np.array([0, 1], kind.dtype)
    if kind.dtype.kind != "f":
        info = np.iinfo(kind.dtype)
        return np.array([info.min, info.max, 1], kind.dtype)
    limits = np.finfo(kind.dtype)
    return np.array(
        [0.1, -0.0, limits.max, limits.smallest_subnormal] if finite else [np.inf, -np.inf, np.nan], kind.dtype
    )


def _cases(known: Collection[str], groups: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[Fill]]]:
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


def _typed_models(family: str, known: Collection[str], seed: int) -> Iterator[Sample]:
    """As many models as it takes to give each case a matrix."""
    held = set(known) - {"F64"}  # no engine multiplies by it
    for group, cases in _cases(held, {"floats": _SCALARS["floats"], **_GROUPS}):
        yield from _filled(f"{family}-{group}", family, cases, seed)


def _filled(name: str, family: str, cases: list[Fill], seed: int) -> Iterator[Sample]:
    tiny = replace(_TINY, layers=2, architecture=family)
    spec = tiny if all(TYPES[kind].is_scalar for kind, _ in cases) else replace(_wide(family), inner=256)
    room = 1 + 7 * spec.layers
    for number, start in enumerate(range(0, len(cases), room)):
        yield build(f"{name}-{number}" if len(cases) > room else name, spec, cases[start : start + room], seed)


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


def _archives(known: Collection[str], seed: int) -> Iterator[Sample]:
    """Tensors that are no model: each type in each class of shapes, each payload in one of them."""
    for name, cases in _cases(known, {**_SCALARS, **_GROUPS, "intermediate": _INTERMEDIATE}):
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


def _big_endian(known: Collection[str], seed: int) -> Iterator[Sample]:
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


def _few(known: Collection[str], seed: int) -> Sample:
    tensors: dict[str, Tensor] = {}
    labels = {}
    for kind, shape in _FEW.items():
        if kind in known:
            name = f"{kind.lower()}.odd-size"
            tensors[name] = tensor_of(name, TYPES[kind], shape, "index-coded", seed_of(seed, name))
            labels[name] = f"{kind.lower()}/odd-size/index-coded"
    model = Archive("gguf", {}, tensors)
    return Sample("aligned", model, labels, None, ("gguf",), seed)
