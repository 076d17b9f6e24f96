"""What the gate gives to a converter: a few files of many tensors, since one run of the converter judges a whole file.

Models first (names, rows, numbers, tokenizers), then every type in every class of shapes: as tensors that are no model, or inside
models for converters that take nothing else. What some converters refuse for a good reason (NaN, a type, a bias) is a file of
its own, so that no other case is lost with it. Each file shows something: read `_MODELS` and `default`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.converter.words import instead
from rosetta_ref.gate.inputs import facts, models
from rosetta_ref.gate.inputs.alignment import aligned
from rosetta_ref.gate.inputs.archives import FEW, GROUPS, INTERMEDIATE, SCALARS, archives, cases_of, few, turned
from rosetta_ref.gate.inputs.full import full_models
from rosetta_ref.gate.inputs.models import Fill, Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.quant import TYPES

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
    "llama-f32-yarn": (Spec("llama", 8, 2, 8, 64, layers=1, keys=_YARN), "F32"),
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
    named = [name for name in TYPES if name not in INTERMEDIATE] if types is None else types
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
    kinds = {"floats": SCALARS["floats"], "legacy": GROUPS["legacy"]} if alone else {"floats": (first or "",)}
    cases = [case for name, cases in cases_of(known, kinds) if name in kinds for case in cases]
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
        made += archives(known, seed)
        made += [aligned(few(known, seed), alignment, seed) for alignment in _ALIGNMENTS if known & FEW.keys()]
        made += turned(known, seed)
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


def _typed_models(family: str, known: Collection[str], seed: int) -> Iterator[Sample]:
    """As many models as it takes to give each case a matrix."""
    held = set(known) - {"F64"}  # no engine multiplies by it
    for group, cases in cases_of(held, {"floats": SCALARS["floats"], **GROUPS}):
        yield from _filled(f"{family}-{group}", family, cases, seed)


def _filled(name: str, family: str, cases: list[Fill], seed: int) -> Iterator[Sample]:
    tiny = replace(_TINY, layers=2, architecture=family)
    spec = tiny if all(TYPES[kind].is_scalar for kind, _ in cases) else replace(_wide(family), inner=256)
    room = 1 + 7 * spec.layers
    for number, start in enumerate(range(0, len(cases), room)):
        yield build(f"{name}-{number}" if len(cases) > room else name, spec, cases[start : start + room], seed)
