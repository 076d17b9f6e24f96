"""How the judge describes an architecture: one `Model` for each, which a module of `models` holds.

Read `models.llama` as an example. A record is data: names and shapes of tensors, what formats hold otherwise of them, numbers and
their keys. Whoever needs to know an architecture (`mapping`, `claims`, the samples, `reduce`) asks its record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from rosetta_ref.archive import Kind

#: How the rows of q and k stand, in the numbers of APR's rope_type: adjacent rows are turned with each other, or the two halves.
PAIRS, HALVES = 0, 2
#: Whether the matrices of a role have biases: in some models, or in every one.
SOMETIMES, ALWAYS = "sometimes", "always"


@dataclass(frozen=True)
class Role:
    """What a tensor is for: its name in GGUF and in Hugging Face, behind the layer and before "weight" or "bias".

    `shape` has a letter for each dimension, row-major: V tokens, E width, F inner width, Q rows of q, K rows of k and v, D elements
    of a head, R pairs of a head. A bias has the first of them.
    """

    gguf: str
    hugging_face: str
    shape: str
    #: Whether rope turns its rows against each other, so that their order within a head is one of two.
    rotated: bool = False
    biased: str = ""
    #: What the numbers in GGUF have more than those in Hugging Face: float32(w) + 1, stored in F32.
    plus: int = 0

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows and columns: only such roles can have a bias."""
        return len(self.shape) == 2


class Number(NamedTuple):
    """A number of a model and its key in each format, "" where one has no place for it; GGUF's stands behind "{architecture}."."""

    gguf: str
    hugging_face: str
    apr: str
    #: The kind that llama.cpp reads; config.json has integers, and reals that are this number's shortest decimal.
    kind: Kind = Kind.U32


#: The numbers of every model.
NUMBERS = (
    Number("context_length", "max_position_embeddings", "max_position_embeddings"),
    Number("embedding_length", "hidden_size", "hidden_size"),
    Number("block_count", "num_hidden_layers", "num_layers"),
    Number("feed_forward_length", "intermediate_size", "intermediate_size"),
    Number("attention.head_count", "num_attention_heads", "num_heads"),
    Number("attention.head_count_kv", "num_key_value_heads", "num_kv_heads"),
    Number("attention.key_length", "head_dim", "head_dim"),
    Number("vocab_size", "vocab_size", "vocab_size"),
    Number("attention.layer_norm_rms_epsilon", "rms_norm_eps", "rms_norm_eps", Kind.F32),
    Number("rope.freq_base", "rope_theta", "rope_theta", Kind.F32),
)
#: The factors of llama3's scaling: a tensor in GGUF, of any architecture, and parameters in config.json.
FACTORS_ROLE = Role("rope_freqs", "", "R")
#: GGUF's keys for the tokens of a window, and for the layers that look at one: a flag for each, or one number.
WINDOW, PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"
#: Numbers that say at 0 what they say where they are absent: that there is none (src/models/gemma3.cpp).
NONE_AT_ZERO = (WINDOW, "final_logit_softcapping")
#: What llama.cpp takes where nothing is said: no scaling of 10000, a head of k and v for each of q, the width over the heads.
ASSUMED = frozenset({"rope.freq_base", "attention.head_count_kv", "attention.key_length"})
_LAYER = re.compile(r"(?:blk|model\.layers)\.(0|[1-9]\d*)(\..+)")


class Within(NamedTuple):
    """What config.json calls a model that has a text model inside, and how the names of its tensors begin.

    `prefixes` are those of the text model with what stands in their place alone; `aside` those of the other parts.
    """

    hugging_face: str
    model_type: str
    prefixes: Mapping[str, str]
    aside: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """An architecture by its general.architecture; class and model_type are those of config.json."""

    name: str
    hugging_face: str
    model_type: str
    #: The roles of the whole model: the embedding, the head, which may be the embedding again, the last norm.
    whole: tuple[Role, ...]
    #: Those of a layer, in the order of llama.cpp's converter.
    layer: tuple[Role, ...]
    #: The vocabulary of its samples (`inputs.tokenizers`): what models of this architecture have.
    tokenizer: str
    #: What APR files are written with: the order of rows, and whether they have Hugging Face's names. Either is right.
    apr_rope_type: int
    apr_theirs: bool
    numbers: tuple[Number, ...] = NUMBERS
    #: Whether GGUF has such rows in pairs, where Hugging Face has them in halves.
    pairs: bool = False
    #: GGUF's keys that state the size of a head; without them it is the width over the heads.
    head_keys: tuple[str, ...] = ()
    #: What transformers takes, as llama.cpp does, where config.json says nothing of it: GGUF's keys.
    assumed: frozenset[str] = ASSUMED
    #: What transformers takes of numbers that config.json leaves out, by GGUF's key; a key stands for that number's value.
    taken: Mapping[str, Any] = field(default_factory=dict)
    #: GGUF's keys that llama.cpp's loader of it reads, besides those that it reads of every model.
    loads: frozenset[str] = frozenset({"attention.layer_norm_rms_epsilon"})
    #: Of so many layers the last one looks at everything, the others at a window; 0 where all do the same.
    pattern: int = 0
    #: Whether the head is the embedding in every model.
    tied: bool = False
    #: Further numbers that its samples state, by GGUF's key; all of them are rows of `numbers`.
    example: Mapping[str, float] = field(default_factory=dict)
    #: What config.json has to say besides, of a model with those numbers (by GGUF's key): what llama.cpp has no key for.
    implied: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda numbers: {}
    #: What transformers takes of these, where that is something else, when config.json says nothing.
    silent: Mapping[str, Any] = field(default_factory=dict)
    #: What config.json says of every such model, and the keys that say whether a role has biases.
    config: Mapping[str, Any] = field(default_factory=lambda: {"hidden_act": "silu"})
    bias_keys: Mapping[str, str] = field(default_factory=dict)
    #: A model with further parts (images) that has this one inside; None where there is none.
    within: Within | None = None

    def role(self, name: str) -> Role | None:
        """The role of a tensor by its GGUF name; None for one that the architecture does not have.

        >>> from rosetta_ref.gate.judge.models import MODELS
        >>> MODELS["llama"].role("blk.3.attn_q.bias").shape
        'QE'
        """
        layer, rest = _split(name)
        return self._roles.get(rest) if name.startswith("blk." if layer is not None else rest.lstrip(".")) else None

    def to_hugging_face(self, name: str) -> str | None:
        """The Hugging Face name of a GGUF tensor; None for one that has none."""
        return _renamed(name, "blk", "model.layers", self._to_hugging_face)

    def to_gguf(self, name: str) -> str | None:
        """The GGUF name of a Hugging Face tensor, which may stand inside of another model; None for one that has none."""
        return _renamed(self.alone(name), "model.layers", "blk", self._to_gguf)

    def alone(self, name: str) -> str:
        """What a tensor inside of another model is called in one that stands alone; any other name as it is."""
        prefixes = self.within.prefixes if self.within is not None else {}
        found = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        return name if found is None else prefixes[found] + name.removeprefix(found)

    def is_aside(self, name: str) -> bool:
        """Whether a Hugging Face tensor is one of another part, which no file of the text model has."""
        return self.within is not None and name.startswith(self.within.aside)

    @cached_property
    def _roles(self) -> dict[str, Role]:
        """By GGUF name with the part behind the stem; those of layers begin with a dot."""
        found = {f"{role.gguf}.weight": role for role in self.whole}
        found |= {f".{role.gguf}.weight": role for role in self.layer}
        return found | {f".{role.gguf}.bias": role for role in self.layer if role.is_matrix}

    @cached_property
    def _to_hugging_face(self) -> dict[str, str]:
        def theirs(name: str, role: Role) -> str:
            dot, part = "." if name.startswith(".") else "", name.rpartition(".")[2]
            return f"{dot}{role.hugging_face}.{part}"

        return {name: theirs(name, role) for name, role in self._roles.items()}

    @cached_property
    def _to_gguf(self) -> dict[str, str]:
        return {theirs: ours for ours, theirs in self._to_hugging_face.items()}


def _split(name: str) -> tuple[str | None, str]:
    """The number of the layer and what stands behind it, with its dot; None and the name for what is of no layer."""
    found = _LAYER.fullmatch(name)
    return (None, name) if found is None else (found[1], found[2])


def _renamed(name: str, layers: str, other_layers: str, names: Mapping[str, str]) -> str | None:
    layer, rest = _split(name)
    if layer is None:
        return None if name.startswith(".") else names.get(name)
    found = names.get(rest) if name.startswith(f"{layers}.") else None
    return None if found is None else f"{other_layers}.{layer}{found}"
