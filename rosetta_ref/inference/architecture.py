"""What a record of an architecture says, for the forward pass: its weights, its numbers, and its operations.

The records are in `rosetta_ref.inference.models`, one module each. They are this package's own reading: typed from the modeling and
configuration files of transformers, and for GGUF's keys from llama.cpp's loader. The converter and the judge of the gate have other
readings, from other sources; none of the three uses another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rosetta_ref.errors import RosettaError

#: Which elements of a head rope turns against each other.
ADJACENT, HALVES = "adjacent pairs", "split halves"
EMBEDDING, HEAD, FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"

#: Numbers that every decoder has: GGUF's key below the architecture's name, config.json's, and APR's.
NUMBERS: Mapping[str, tuple[str, str, str]] = MappingProxyType({
    "layers": ("block_count", "num_hidden_layers", "num_layers"),
    "width": ("embedding_length", "hidden_size", "hidden_size"),
    "inner": ("feed_forward_length", "intermediate_size", "intermediate_size"),
    "heads": ("attention.head_count", "num_attention_heads", "num_heads"),
    "groups": ("attention.head_count_kv", "num_key_value_heads", "num_kv_heads"),
    "head": ("attention.key_length", "head_dim", "head_dim"),
    "epsilon": ("attention.layer_norm_rms_epsilon", "rms_norm_eps", "rms_norm_eps"),
    "theta": ("rope.freq_base", "rope_theta", "rope_theta"),
})  # fmt: skip


class NoForwardPassError(RosettaError):
    """Only what the record of an architecture describes is computed."""


@dataclass(frozen=True)
class Role:
    """A weight by what it does, under its name in GGUF and in Hugging Face; `{}` stands for the number of the layer.

    shape: V tokens, E width, F inner, Q rows of q, K rows of k, H elements of a head, P pairs of a head. bias: there may be one.
    turned: rope turns the rows, so that their order within a head is the format's. optional: a model may go without. plus_one:
    Hugging Face stores w where 1 + w is meant, and GGUF stores what is meant. A role that Hugging Face does not have is called
    nothing there. does: the role by its usual name, where GGUF's name is that of another one (`post_attention_norm` is what some
    architectures call the norm before the feed-forward network).
    """

    gguf: str
    hugging_face: str
    shape: str
    bias: bool = False
    turned: bool = False
    optional: bool = False
    plus_one: bool = False
    does: str = ""

    @property
    def name(self) -> str:
        """What the forward pass calls it."""
        return self.does or self.gguf

    @property
    def per_layer(self) -> bool:
        """Whether every layer has one."""
        return "{}" in self.gguf


@dataclass(frozen=True)
class Architecture:
    """What the forward pass knows of an architecture.

    Which of the operations are made follows from the weights: a norm of q or k within each head, and of what attention and
    the feed-forward network give (`post_attention_norm`, `post_ffw_norm`), where there are weights for it. Windows, the base of
    rope on the layers that slide, the scale of attention scores and the cap of logits follow from the keys.

    name: GGUF's, before whose keys it stands. words: what config.json and APR files call it, in lower case. pairing: how the rows
    of q and k stand in GGUF; in Hugging Face it is always the halves. activation: of the gate of the feed-forward network.
    scaled_embedding: the embedding is multiplied with the root of the width. width_scaled: numbers of layers at which llama.cpp
    knows a model whose scores are scaled by width / heads and not by the size of a head, which GGUF has no key for. tied: whether
    the head is the embedding where config.json does not say. biased: keys of config.json that say whether parts have biases; a
    class without such a key has none.

    numbers: the three keys of each that every architecture has. For those that not every one has: gguf, what the absence of a key
    means to llama.cpp; config, what it means in config.json to the configuration class; apr, what APR calls a key of GGUF's. A key
    that is not there says nothing. kin: by a word of `words`, the keys in which another configuration class differs.
    """

    name: str
    words: tuple[str, ...]
    weights: tuple[Role, ...]
    pairing: str
    config: Mapping[str, Any]
    gguf: Mapping[str, Any] = field(default_factory=dict)
    apr: Mapping[str, str] = field(default_factory=dict)
    kin: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    activation: str = "silu"
    scaled_embedding: bool = False
    width_scaled: tuple[int, ...] = ()
    tied: bool | None = None
    biased: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[str, str, str]] = field(default_factory=lambda: NUMBERS)

    def config_of(self, word: str) -> Mapping[str, Any]:
        """What silence means in the configuration class of that name."""
        return {**self.config, **self.kin.get(word, {})}

    def role(self, weight: str) -> Role:
        """The role of a weight by its name here: `blk.3.attn_k.weight`, `blk.3.attn_k.bias`."""
        stem = weight.rpartition(".")[0].split(".")
        name = ".".join([stem[0], "{}", *stem[2:]] if stem[0] == "blk" else stem)
        return next(role for role in self.weights if role.name == name)
