"""The sizes of a model: layers, heads, widths, tokens, in any of the three formats.

Which number stands under which key, and which shape a tensor has, say the judge's records of architectures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.judge import mapping, models
from rosetta_ref.gate.judge.model import Model
from rosetta_ref.gate.judge.view import APR_ARCHITECTURE, named_architecture
from rosetta_ref.reduce.search.input import Given, json_of_companion

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

    def shape(self, letters: str) -> tuple[int, ...]:
        """The shape that those letters of `gate.judge.model.Role` stand for."""
        by_letter = {
            "V": self.tokens, "E": self.width, "F": self.inner, "Q": self.heads * self.head, "K": self.groups * self.head,
            "D": self.head, "R": self.head // 2,
        }  # fmt: skip
        return tuple(by_letter[letter] for letter in letters)

    def fits_in(self, other: Sizes) -> bool:
        """Whether no size is larger than the other's, and the heads share out."""
        mine, theirs = vars(self), vars(other)
        return all(0 < mine[name] <= theirs[name] for name in mine) and self.heads % self.groups == 0


@dataclass(frozen=True)
class Place:
    """What a tensor of a known model is: GGUF's name of its role, weight or bias, its shape in letters, its layer if any."""

    role: str
    part: str
    letters: str
    layer: int | None


def model_of(given: Given) -> Model:
    """The record that the names of an input are read by: of the architecture that it states, or by the names that there are."""
    stated = _ARCHITECTURE.get(given.format)
    return models.reading(stated(given) if stated is not None else None, given.tensors)


def _of_config(given: Given) -> str | None:
    config = config_of(given)
    classes = config.get("architectures")
    return named_architecture([*(classes if isinstance(classes, list) else ()), config.get("model_type")])


_ARCHITECTURE: dict[str, Callable[[Given], str | None]] = {
    "gguf": lambda given: mapping.architecture_of(given.metadata),
    "apr": lambda given: named_architecture(given.metadata.get(key) for key in APR_ARCHITECTURE),
    "safetensors": _of_config,
}


def place_of(tensor: Tensor, model: Model) -> Place | None:
    """What a tensor is in a model of that architecture; None for any other."""
    name = mapping.canonical_name(tensor.name, model.name)
    role = mapping.role_of(name, model.name) if name is not None else None
    if role is None or name is None:
        return None
    words = name.split(".")
    letters = role.shape if words[-1] == "weight" else role.shape[:1]
    return Place(role.gguf, words[-1], letters, int(words[1]) if len(words) == 4 else None)


def sizes_of(given: Given) -> Sizes | None:
    """The sizes of a whole model of a known architecture; None where it is none. Each by the first role that shows it."""
    model = model_of(given)
    rows: dict[str, tuple[int, ...]] = {}
    layers = set()
    for tensor in given.tensors.values():
        found = place_of(tensor, model)
        if found is not None and found.part == "weight":
            layers |= {found.layer} - {None}
            if len(found.letters) == 2:
                rows.setdefault(found.letters[0], tensor.shape)
    heads = number(given, "attention.head_count")
    if not isinstance(heads, int) or not set("VQKF") <= rows.keys() or heads < 1:
        return None
    if any(len(rows[letter]) != 2 for letter in "VQKF"):
        return None
    head = rows["Q"][0] // heads
    groups = rows["K"][0] // max(head, 1)
    tokens, width = rows["V"]
    return Sizes(len(layers), tokens, width, rows["F"][0], heads, max(groups, 1), head)


def number(given: Given, key: str) -> Any:
    """A number of a model by GGUF's key; None where it is not stated."""
    stated = _NUMBERS.get(given.format)
    return stated(given, key) if stated is not None else None


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
