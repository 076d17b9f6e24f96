"""Models with the full vocabulary of a published tokenizer: one for each, as narrow as it can be, its embedding in F16."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rosetta_ref.gate.inputs.models import Fill, Spec, build
from rosetta_ref.gate.inputs.sample import Sample

#: Tokenizer: the architectures that have it, the nearest first.
_OF = {"full-smollm2": ("llama", "qwen2"), "full-gpt2": ("llama", "qwen2"), "full-qwen2": ("qwen2", "llama")}
#: Matrices of a layer.
_ROOM = 7


def full_models(
    tokenizers: Collection[str] | None, families: Sequence[str], fills: Sequence[Fill], seed: int
) -> list[Sample]:
    """A model for each full tokenizer that is named; none where nothing is said.

    The embedding takes the first fill, the other matrices take the rest.
    """
    made = []
    for name, nearest in _OF.items():
        family = next((each for each in nearest if each in families), None)
        if name in (tokenizers or ()) and family is not None and fills:
            layers = max(1, -(-len(fills) // _ROOM))
            spec = Spec(family, 4, 1, 8, 96, layers=layers, tied=True, base="F16", tokenizer=name)
            made.append(build(f"{family}-{name}", spec, fills, seed))
    return made
