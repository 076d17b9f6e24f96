"""Mutators: valid bytes in, bytes that break a rule out, and a word for what was done. One module for each kind of file.

`junk` has the values, `raw` knows bytes only, `trees` JSON, `texts` what people write; the formats have a module each, and `files`
puts links, pipes and folders where files belong.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rosetta_ref.campaigns.mutate import apr, gguf, proto, raw, safetensors, texts, trees

Mutator = Callable[[random.Random, bytes], tuple[bytes, str]]

#: By the end of a name.
_KINDS: tuple[tuple[str, Mutator], ...] = (
    (".gguf", gguf.mutate), (".apr", apr.mutate), (".safetensors", safetensors.mutate), (".json", trees.mutate),
    (".yaml", texts.yaml), (".toml", texts.toml), (".jinja", texts.jinja), (".txt", texts.merges), (".model", proto.mutate),
)  # fmt: skip


def mutate(rng: random.Random, name: str, data: bytes) -> tuple[bytes, str]:
    """Change a file once, as its name says; what was done."""
    for end, how in _KINDS:
        if name.endswith(end):
            return how(rng, data)
    return raw.mutate(rng, data)


def stacked(rng: random.Random, name: str, data: bytes) -> tuple[bytes, list[str]]:
    """One to three changes, one upon the other."""
    labels = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        data, label = mutate(rng, name, data)
        labels.append(label)
    return data, labels
