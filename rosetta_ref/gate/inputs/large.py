"""What is larger than most models, and no larger than loaders take: counts beyond 16 bits, the longest names, many layers.

Rows and names of that size stand beside others in every run (`default`). The files of this module are for the nightly profile: each
takes seconds where others take none. Sources: GGML_MAX_NAME of ggml.h, LLAMA_MAX_LAYERS of llama.cpp, the counts of u64 in GGUF and
of u32 in APR.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from rosetta_ref.archive import Archive
from rosetta_ref.gate.converter.words import instead
from rosetta_ref.gate.inputs import models
from rosetta_ref.gate.inputs.models import Spec, build, formats_of, seed_of, tensor_of
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.quant import TYPES

#: A multiple of 32 that 16 bits do not hold.
BEYOND = 65_600
#: Classes of shapes with such a size.
SHAPES = ("long-rows", "many-rows")
#: Bytes of the longest name that ggml loads (GGML_MAX_NAME, with the zero behind it).
LONGEST_NAME = 63


def named(label: str) -> str:
    """A name of all the bytes that there are, the part that tells names apart at its end.

    >>> len(named("f32/long-rows/index-coded"))
    63
    """
    end = label.replace("/", ".")
    return "x" * (LONGEST_NAME - len(end) - 1) + "." + end


def nightly(
    seed: int,
    *,
    architectures: Collection[str] | None = None,
    types: Collection[str] | None = None,
    whole_models: bool = False,
    tokenizers: Collection[str] | None = None,
) -> Iterator[Sample]:
    """A model with 255 layers, one with a part of 65,600 rows, and a file of more than 65,536 tensors, for those who take F32."""
    if types is not None and "F32" not in types:
        return
    for family in models.families(architectures)[:1]:
        tokenizer = instead(MODELS[family].tokenizer, tokenizers)
        if tokenizer:
            tiny = Spec(family, 2, 1, 16, 32, layers=255, tied=True, tokenizer=tokenizer)
            yield build(f"{family}-255-layers", tiny, [("F32", "index-coded")], seed)
            wide = replace(tiny, inner=BEYOND, layers=1)
            yield build(f"{family}-{BEYOND}-rows", wide, [("F32", "index-coded")], seed)
    if not whole_models:
        kind = TYPES["F32"]
        made = [
            tensor_of(f"t.{place}", kind, (1,), "index-coded", seed_of(seed, str(place))) for place in range(BEYOND)
        ]
        model = Archive("gguf", {}, {tensor.name: tensor for tensor in made})
        yield Sample(
            "many-tensors", model, dict.fromkeys(model.tensors, "f32/many/index-coded"), None, formats_of(model), seed
        )
