"""What names, rows and numbers become between the three formats: the gate's own reading of the formats' documents.

The converter under test may be the reference, so nothing here comes from `rosetta_ref.architectures`. What differs between
architectures stands in their records (`models`). Sources of the rest:

- GGUF's names and keys: "Standardized tensor names" and "Standardized key-value pairs" of ggml/docs/gguf.md.
- Hugging Face's names and keys: the modules and the configuration classes of transformers.
- APR's keys and names: the struct AprV2Metadata of the crate apr-format and the importers of aprender.

Canonical is GGUF: its names, and its order of rows. An architecture is given by its name. Without one, or with one that has no
record, a name means what the plainest record that has it says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.judge.model import ASSUMED, FACTORS_ROLE, HALVES, NUMBERS, PAIRS, Model, Number, Role
from rosetta_ref.gate.judge.models import MODELS, PLAINEST

__all__ = ["HALVES", "MODELS", "NUMBERS", "PAIRS", "Number"]

Array = NDArray[Any]

EMBEDDING, HEAD, FACTORS = "token_embd.weight", "output.weight", f"{FACTORS_ROLE.gguf}.weight"
#: Tensors that llama.cpp's converter makes of config.json's llama3 scaling.
FROM_CONFIGURATION = frozenset({FACTORS})
#: Buffers that old checkpoints hold: computed from rope_theta, so no weights.
_BUFFER = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
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


def hugging_face_name(name: str, architecture: str | None = None) -> str | None:
    """The Hugging Face name of a tensor of a GGUF file; None for one that has none.

    >>> hugging_face_name("blk.3.attn_q.bias")
    'model.layers.3.self_attn.q_proj.bias'
    """
    return next(filter(None, (model.to_hugging_face(name) for model in _readings(architecture))), None)


def gguf_name(name: str, architecture: str | None = None) -> str | None:
    """The GGUF name of a tensor of a Hugging Face model; None for one that has none (a buffer, say).

    >>> gguf_name("lm_head.weight")
    'output.weight'
    """
    return next(filter(None, (model.to_gguf(name) for model in _readings(architecture))), None)


def _readings(architecture: str | None) -> tuple[Model, ...]:
    model = MODELS.get(architecture or "")
    return PLAINEST if model is None else (model,)


def canonical_name(name: str, architecture: str | None = None) -> str | None:
    """The GGUF name of a tensor that goes by either name; None where it has neither."""
    known = name == FACTORS or hugging_face_name(name, architecture) is not None
    return name if known else gguf_name(name, architecture)


def role_of(name: str, architecture: str | None = None) -> Role | None:
    """What a tensor is for, by its canonical name."""
    if name == FACTORS:
        return FACTORS_ROLE
    return next((role for model in _readings(architecture) if (role := model.role(name)) is not None), None)


def apr_name(name: str, architecture: str | None) -> str:
    """The name that aprender's own importers give a GGUF tensor: Hugging Face's in qwen2 files, GGUF's in others."""
    model = MODELS.get(architecture or "")
    theirs = model.to_hugging_face(name) if model is not None and model.apr_theirs else None
    return theirs or name


def is_buffer(name: str) -> bool:
    """Whether a Hugging Face tensor is no weight, so that it may go."""
    return _BUFFER.fullmatch(name) is not None


def row_heads(name: str, metadata: Mapping[str, Value]) -> int | None:
    """The heads over which the rows of that GGUF tensor stand in another order in Hugging Face; None where they do not.

    Weights and biases of q and k, in llama for one; k by the number of its own heads.
    """
    model = MODELS.get(architecture_of(metadata) or "")
    role = model.role(name) if model is not None else None
    if model is None or role is None or not (model.pairs and role.rotated):
        return None
    heads: int | None = number(metadata, "attention.head_count")
    return heads if role.shape[0] == "Q" else number(metadata, "attention.head_count_kv") or heads


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
    return numbers_by(number_rows(architecture_of(metadata)), metadata)


def numbers_by(rows: Collection[Number], metadata: Mapping[str, Value]) -> dict[Number, Any]:
    """The same of those rows, whatever architecture the metadata names."""
    found = assumed_of(number(metadata, "attention.head_count"), number(metadata, "embedding_length"), rows)
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and tokens.kind is Kind.ARRAY:
        found[_NUMBER["vocab_size"]] = len(tokens.data)
    found |= {row: value for row in rows if (value := number(metadata, row.gguf)) is not None}
    return {row: found[row] for row in rows if row in found}


def number_rows(architecture: str | None) -> tuple[Number, ...]:
    """The numbers of an architecture; those of every model, where it has no record."""
    return MODELS[architecture].numbers if architecture in MODELS else NUMBERS


def assumed_of(heads: Any, width: Any, rows: Collection[Number] = NUMBERS) -> dict[Number, Any]:
    """What llama.cpp takes where one of these numbers is absent: of some, a converter may leave out one that is this.

    Made of the numbers that it hangs on; None for one that is not stated.

    >>> [(row.gguf, value) for row, value in assumed_of(8, 256).items()]
    [('rope.freq_base', 10000.0), ('attention.head_count_kv', 8), ('attention.key_length', 32)]
    """
    found: dict[str, Any] = {"rope.freq_base": 10000.0, "rope.freq_base_swa": 10000.0}
    if heads:
        found["attention.head_count_kv"] = heads
    if type(heads) is int and type(width) is int and heads > 0:  # a file may say anything, a list for one
        found |= dict.fromkeys(("attention.key_length", "attention.value_length"), width // heads)
    by_key = {row.gguf: row for row in rows}
    return {by_key[key]: value for key, value in found.items() if key in by_key}


def assumed_alike(architecture: str | None) -> frozenset[str]:
    """Those of these numbers, by GGUF's key, that transformers takes as well where config.json says nothing."""
    return MODELS[architecture].assumed if architecture in MODELS else ASSUMED
