"""The sizes of a model: layers, heads, widths, tokens, in any of the three formats.

Which number stands under which key is the gate's mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import mapping
from rosetta_ref.reduce.search.input import Given, json_of_companion

#: The shape of a role in letters: V tokens, E width, F inner, Q and K rows of q and k, D a head.
SHAPES = {
    "token_embd": "VE", "output": "VE", "output_norm": "E", "attn_norm": "E", "ffn_norm": "E", "attn_q": "QE", "attn_k": "KE",
    "attn_v": "KE", "attn_output": "EQ", "ffn_gate": "FE", "ffn_up": "FE", "ffn_down": "EF", "rope_freqs": "R",
}  # fmt: skip
#: GGUF's key of each size; the other formats' by the mapping.
KEYS = {
    "layers": ("block_count",), "width": ("embedding_length",), "inner": ("feed_forward_length",),
    "heads": ("attention.head_count",), "groups": ("attention.head_count_kv",),
    "head": ("attention.key_length", "attention.value_length", "rope.dimension_count"), "tokens": ("vocab_size",),
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Layers, tokens, width, inner width, heads of q, heads of k and v, elements of a head."""

    layers: int
    tokens: int
    width: int
    inner: int
    heads: int
    groups: int
    head: int

    def shape(self, role: str, part: str) -> tuple[int, ...]:
        """The shape of a role's weight or bias."""
        by_letter = {
            "V": self.tokens, "E": self.width, "F": self.inner, "Q": self.heads * self.head, "K": self.groups * self.head,
            "R": self.head // 2,
        }  # fmt: skip
        letters = SHAPES[role] if part == "weight" else SHAPES[role][:1]
        return tuple(by_letter[letter] for letter in letters)

    def fits_in(self, other: Sizes) -> bool:
        """Whether no size is larger than the other's, and the heads share out."""
        mine, theirs = vars(self), vars(other)
        return all(0 < mine[name] <= theirs[name] for name in mine) and self.heads % self.groups == 0


def role_of(tensor: Tensor) -> tuple[str, str, int | None] | None:
    """Role, weight or bias, and the layer of a tensor of a known model; None for any other."""
    name = mapping.canonical_name(tensor.name)
    words = name.split(".") if name is not None else []
    if len(words) not in (2, 4) or words[-2] not in SHAPES:
        return None
    return words[-2], words[-1], int(words[1]) if len(words) == 4 else None


def sizes_of(given: Given) -> Sizes | None:
    """The sizes of a whole model of a known architecture; None where it is none."""
    shapes: dict[str, tuple[int, ...]] = {}
    layers = set()
    for tensor in given.tensors.values():
        found = role_of(tensor)
        if found is not None and found[1] == "weight":
            shapes.setdefault(found[0], tensor.shape)
            layers |= {found[2]} - {None}
    heads = number(given, "attention.head_count")
    if not isinstance(heads, int) or not {"token_embd", "attn_q", "attn_k", "ffn_up"} <= shapes.keys() or heads < 1:
        return None
    if any(len(shapes[role]) != 2 for role in ("token_embd", "attn_q", "attn_k", "ffn_up")):
        return None
    head = shapes["attn_q"][0] // heads
    groups = shapes["attn_k"][0] // max(head, 1)
    tokens, width = shapes["token_embd"]
    return Sizes(len(layers), tokens, width, shapes["ffn_up"][0], heads, max(groups, 1), head)


def number(given: Given, key: str) -> Any:
    """A number of a model by GGUF's key; None where it is not stated."""
    return _NUMBERS[given.format](given, key)


_ROWS = {row.gguf: row for row in mapping.NUMBERS}
_NUMBERS: dict[str, Callable[[Given, str], Any]] = {
    "gguf": lambda given, key: mapping.number(given.metadata, key),
    "apr": lambda given, key: given.metadata.get(_ROWS[key].apr),
    "safetensors": lambda given, key: config_of(given).get(_ROWS[key].hugging_face),
}


def config_of(given: Given) -> dict[str, Any]:
    """config.json; empty where there is none."""
    return json_of_companion(given, "config.json")


def with_free_heads(given: Given) -> bool:
    """Whether the size of a head is stated, so that it need not be the width over the heads."""
    return number(given, "attention.key_length") is not None
