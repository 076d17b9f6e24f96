"""What names, rows and numbers become between the three formats: the gate's own reading of the formats' documents.

The converter under test may be the reference, so nothing here comes from `rosetta_ref.architectures`. Sources:

- GGUF's names and keys: "Standardized tensor names" and "Standardized key-value pairs" of ggml/docs/gguf.md.
- Hugging Face's names and keys: the modules and the configuration classes of transformers, models/llama and models/qwen2.
- Row order: rope turns adjacent rows of a head in llama files of llama.cpp (LLAMA_ROPE_TYPE_NORM) and the two halves against
  each other in Hugging Face's models (`rotate_half`) and in qwen2 files (LLAMA_ROPE_TYPE_NEOX).
- APR's keys and names: the struct AprV2Metadata of the crate apr-format and the importers of aprender.

Canonical is GGUF: its names, and its order of rows. Read `ROLES` and `NUMBERS` first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Kind, Value

Array = NDArray[Any]

EMBEDDING, HEAD, FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
#: Modules of the whole model and of a layer: in GGUF, in Hugging Face.
ROLES = (
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
)
LAYER_ROLES = (
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
)
#: Tensors that a file of one format has and one of another need not: a head that is the embedding again; factors that llama.cpp's
#: converter makes of config.json's llama3 scaling.
MAY_BE_ABSENT = frozenset({HEAD, FACTORS})
FROM_CONFIGURATION = frozenset({FACTORS})
#: Buffers that old checkpoints hold: computed from rope_theta, so no weights.
_BUFFER = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


class Family(NamedTuple):
    """An architecture: class and model_type in config.json, rope_type in APR, whether q and k stand in pairs in GGUF files."""

    hugging_face: str
    model_type: str
    pairs: bool
    #: APR files keep GGUF's names and rows (rope_type 0), or have Hugging Face's (2): what is written here; both are right.
    apr_rope_type: int


#: By general.architecture.
FAMILIES = {
    "llama": Family("LlamaForCausalLM", "llama", pairs=True, apr_rope_type=0),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", pairs=False, apr_rope_type=2),
}
#: What APR's rope_type says of the rows of q and k.
PAIRS, HALVES = 0, 2


class Number(NamedTuple):
    """A number of a model and its key in each format; GGUF's stands behind "{architecture}."."""

    gguf: str
    hugging_face: str
    apr: str
    #: The kind that llama.cpp reads; config.json has integers, and reals that are this number's shortest decimal.
    kind: Kind = Kind.U32


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
_NUMBER = {row.gguf: row for row in NUMBERS}
#: Special tokens by id: GGUF, config.json, APR.
SPECIAL_IDS = (
    ("tokenizer.ggml.bos_token_id", "bos_token_id", "tokenizer.bos_token_id"),
    ("tokenizer.ggml.eos_token_id", "eos_token_id", "tokenizer.eos_token_id"),
    ("tokenizer.ggml.padding_token_id", "pad_token_id", "tokenizer.padding_token_id"),
)
#: The rest of the tokenizer: GGUF, APR. In a Hugging Face directory it is tokenizer.json and tokenizer_config.json.
TOKENIZER = (
    ("tokenizer.ggml.tokens", "tokenizer.vocabulary"),
    ("tokenizer.ggml.model", "tokenizer.model"),
    ("tokenizer.ggml.pre", "tokenizer.pre_type"),
    ("tokenizer.ggml.merges", "tokenizer.merges"),
    ("tokenizer.ggml.scores", "tokenizer.scores"),
    ("tokenizer.ggml.token_type", "tokenizer.token_type"),
    ("tokenizer.ggml.add_bos_token", "tokenizer.add_bos_token"),
    ("tokenizer.chat_template", "chat_template"),
)
#: Rope scaling: GGUF behind "{architecture}.rope.scaling.", config.json inside rope_scaling (rope_parameters since transformers 5).
SCALING = (
    ("type", "rope_type"),
    ("factor", "factor"),
    ("original_context_length", "original_max_position_embeddings"),
    ("yarn_beta_fast", "beta_fast"),
    ("yarn_beta_slow", "beta_slow"),
    ("yarn_attn_factor", "attention_factor"),
)


def hugging_face_name(name: str) -> str | None:
    """The Hugging Face name of a tensor of a GGUF file; None for one that has none.

    >>> hugging_face_name("blk.3.attn_q.bias")
    'model.layers.3.self_attn.q_proj.bias'
    """
    return _renamed(name, "blk", "model.layers", _OURS_TO_THEIRS)


def gguf_name(name: str) -> str | None:
    """The GGUF name of a tensor of a Hugging Face model; None for one that has none (a buffer, say).

    >>> gguf_name("lm_head.weight")
    'output.weight'
    """
    return _renamed(name, "model.layers", "blk", _THEIRS_TO_OURS)


#: With the part behind the stem; only projections have biases. Those of layers begin with a dot.
_OURS_TO_THEIRS = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in ROLES}
_OURS_TO_THEIRS |= {f".{ours}.weight": f".{theirs}.weight" for ours, theirs in LAYER_ROLES}
_OURS_TO_THEIRS |= {f".{ours}.bias": f".{theirs}.bias" for ours, theirs in LAYER_ROLES if theirs.endswith("proj")}
_THEIRS_TO_OURS = {theirs: ours for ours, theirs in _OURS_TO_THEIRS.items()}


def _renamed(name: str, layers: str, other_layers: str, names: Mapping[str, str]) -> str | None:
    found = re.fullmatch(rf"{re.escape(layers)}\.(0|[1-9]\d*)(\..+)", name)
    if found is None:
        return None if name.startswith(".") else names.get(name)
    rest = names.get(found[2])
    return None if rest is None else f"{other_layers}.{found[1]}{rest}"


def canonical_name(name: str) -> str | None:
    """The GGUF name of a tensor that goes by either name; None where it has neither."""
    return name if name == FACTORS or hugging_face_name(name) is not None else gguf_name(name)


def apr_name(name: str, architecture: str | None) -> str:
    """The name that aprender's own importers give a GGUF tensor: Hugging Face's in qwen2 files, GGUF's in others."""
    family = FAMILIES.get(architecture or "")
    theirs = hugging_face_name(name) if family is not None and family.apr_rope_type == HALVES else None
    return theirs or name


def is_buffer(name: str) -> bool:
    """Whether a Hugging Face tensor is no weight, so that it may go."""
    return _BUFFER.fullmatch(name) is not None


def row_heads(name: str, metadata: Mapping[str, Value]) -> int | None:
    """The heads over which the rows of that GGUF tensor stand in another order in Hugging Face; None where they do not.

    Weights and biases of q and k, in llama only; k by the number of its own heads.
    """
    architecture = architecture_of(metadata)
    family = FAMILIES.get(architecture or "")
    found = re.fullmatch(r"blk\.\d+\.attn_([qk])\.(weight|bias)", name)
    if family is None or not family.pairs or found is None:
        return None
    heads: int | None = number(metadata, "attention.head_count")
    return heads if found[1] == "q" else number(metadata, "attention.head_count_kv") or heads


def to_halves(rows: Array, heads: int) -> Array:
    """Rows in GGUF's order (x0 y0 x1 y1 ...) in Hugging Face's (x0 x1 ... y0 y1 ...), head by head; any number of columns.

    >>> to_halves(np.arange(8), 2)
    array([0, 2, 1, 3, 4, 6, 5, 7])
    """
    return _within_heads(rows, heads, (-1, 2))


def to_pairs(rows: Array, heads: int) -> Array:
    """The inverse of `to_halves`.

    >>> to_pairs(to_halves(np.arange(24), 2), 2)[:7]
    array([0, 1, 2, 3, 4, 5, 6])
    """
    return _within_heads(rows, heads, (2, -1))


def _within_heads(rows: Array, heads: int, split: tuple[int, int]) -> Array:
    if not heads or len(rows) % (2 * heads):
        raise ValueError(f"{len(rows)} rows are not pairs of {heads} heads")
    return np.ascontiguousarray(rows.reshape(heads, *split, *rows.shape[1:]).swapaxes(1, 2)).reshape(rows.shape)


def architecture_of(metadata: Mapping[str, Value]) -> str | None:
    """general.architecture, where it is a string."""
    value = metadata.get("general.architecture")
    return value.data if value is not None and value.kind is Kind.STRING else None


def number(metadata: Mapping[str, Value], key: str) -> Any:
    """The plain value of "{architecture}.{key}", None where it is absent."""
    value = metadata.get(f"{architecture_of(metadata)}.{key}")
    return None if value is None else shortest(value)


def shortest(value: Value) -> Any:
    """A value as JSON would have it: an F32 as its shortest decimal, which config.json and GGUF then agree on.

    >>> shortest(Value.scalar(Kind.F32, 1e-5))
    1e-05
    """
    return float(str(value.data)) if value.kind is Kind.F32 else value.plain()


def numbers_of(metadata: Mapping[str, Value]) -> dict[Number, Any]:
    """The numbers of a model: those that are stated, those that are assumed, and the vocabulary, counted."""
    found = assumed_numbers(metadata)
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and tokens.kind is Kind.ARRAY:
        found[_NUMBER["vocab_size"]] = len(tokens.data)
    found |= {row: value for row in NUMBERS if (value := number(metadata, row.gguf)) is not None}
    return {row: found[row] for row in NUMBERS if row in found}


def assumed_numbers(metadata: Mapping[str, Value]) -> dict[Number, Any]:
    """What loaders of every format take where a key is absent: a converter may leave out a number that is this one."""
    return assumed_of(number(metadata, "attention.head_count"), number(metadata, "embedding_length"))


def assumed_of(heads: Any, width: Any) -> dict[Number, Any]:
    """The same from the numbers that it hangs on; None for one that is not stated.

    >>> [(row.gguf, value) for row, value in assumed_of(8, 256).items()]
    [('rope.freq_base', 10000.0), ('attention.head_count_kv', 8), ('attention.key_length', 32)]
    """
    found: dict[Number, Any] = {_NUMBER["rope.freq_base"]: 10000.0}
    if heads:
        found[_NUMBER["attention.head_count_kv"]] = heads
    if type(heads) is int and type(width) is int and heads > 0:  # a file may say anything, a list for one
        found[_NUMBER["attention.key_length"]] = width // heads
    return found
