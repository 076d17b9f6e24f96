"""The sizes of a model, and the same model in smaller ones: layers, heads, widths, tokens, in any of the three formats.

Tensors are cut to their leading rows and columns, and the numbers that state a size say the new one. Which number stands under
which key is the gate's mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosetta_ref.archive import Tensor, Value
from rosetta_ref.gate import mapping
from rosetta_ref.reduce.cut import resized
from rosetta_ref.reduce.given import Given, json_of_companion
from rosetta_ref.reduce.words import with_vocabulary

#: The shape of a role in letters: V tokens, E width, F inner, Q and K rows of q and k, D a head.
SHAPES = {
    "token_embd": "VE", "output": "VE", "output_norm": "E", "attn_norm": "E", "ffn_norm": "E", "attn_q": "QE", "attn_k": "KE",
    "attn_v": "KE", "attn_output": "EQ", "ffn_gate": "FE", "ffn_up": "FE", "ffn_down": "EF", "rope_freqs": "R",
}  # fmt: skip
#: GGUF's key of each size; the other formats' by the mapping.
_KEYS = {
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
    if given.format == "gguf":
        return mapping.number(given.metadata, key)
    row = next(row for row in mapping.NUMBERS if row.gguf == key)
    stated = given.metadata if given.format == "apr" else config_of(given)
    return stated.get(row.apr if given.format == "apr" else row.hugging_face)


def config_of(given: Given) -> dict[str, Any]:
    """config.json; empty where there is none."""
    return json_of_companion(given, "config.json")


def resize(given: Given, old: Sizes, new: Sizes) -> Given:
    """The model in smaller sizes. Raises ValueError where one of its tensors cannot be cut so."""
    kept = [name for name, tensor in given.tensors.items() if _stays(tensor, new.layers)]

    def cut(tensor: Tensor) -> Tensor:
        found = role_of(tensor)
        if found is None:
            return tensor
        shape = new.shape(*found[:2])
        return tensor if shape == tensor.shape else resized(tensor, shape)

    made = given.only(kept).with_tensors(cut)
    if new.tokens < old.tokens:
        made = with_vocabulary(made, new.tokens)
    changed = {name: getattr(new, name) for name in _KEYS if getattr(new, name) != getattr(old, name)}
    return _stated(made, changed)


def _stays(tensor: Tensor, layers: int) -> bool:
    found = role_of(tensor)
    return found is None or found[2] is None or found[2] < layers


def _stated(given: Given, changed: Mapping[str, int]) -> Given:
    """With the numbers that are stated already, changed."""
    keys = {key: value for name, value in changed.items() for key in _KEYS[name]}
    if given.format == "gguf":
        architecture = mapping.architecture_of(given.metadata)
        metadata = dict(given.metadata)
        for key, value in keys.items():
            if (name := f"{architecture}.{key}") in metadata:
                metadata[name] = Value.scalar(metadata[name].kind, value)
        return given.with_metadata(metadata)
    rows = {row.gguf: row for row in mapping.NUMBERS}
    if given.format == "apr":
        words = {rows[key].apr: value for key, value in keys.items() if key in rows}
        return given.with_metadata({key: words.get(key, value) for key, value in given.metadata.items()})
    words = {rows[key].hugging_face: value for key, value in keys.items() if key in rows}
    config = {key: words.get(key, value) for key, value in config_of(given).items()}
    return given.with_json("config.json", config) if config else given


def with_free_heads(given: Given) -> bool:
    """Whether the size of a head is stated, so that it need not be the width over the heads."""
    return number(given, "attention.key_length") is not None
