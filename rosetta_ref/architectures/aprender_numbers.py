"""All that APR's own keys say of a model, from GGUF metadata and back: the numbers of its record, then texts and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures import aprender_keys
from rosetta_ref.architectures.aprender_keys import TEXTS, MissingMetadataError, plain, value_of
from rosetta_ref.architectures.models import MODELS
from rosetta_ref.architectures.record import Number
from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats.apr.metadata import lookup

#: The order in which APR has its numbers; those of one architecture only come behind them.
_ORDER = (
    "max_position_embeddings", "hidden_size", "num_layers", "intermediate_size", "num_heads", "num_kv_heads", "rope_theta",
    "rms_norm_eps", "vocab_size",
)  # fmt: skip


def _numbers(architecture: str) -> list[Number]:
    """The numbers with a key in APR; of an unknown architecture those that all known ones share."""
    model = MODELS.get(architecture)
    if model is not None:
        rows = [row for row in model.numbers if row.apr is not None]
    else:
        first, *others = MODELS.values()
        known = [{(row.gguf, row.apr) for row in other.numbers} for other in others]
        rows = [
            row for row in first.numbers if row.apr in _ORDER and all((row.gguf, row.apr) in keys for keys in known)
        ]
    return sorted(rows, key=lambda row: _ORDER.index(row.apr) if row.apr in _ORDER else len(_ORDER))


def apr_keys(metadata: Mapping[str, Value], architecture: str) -> dict[str, Any]:
    """APR's own keys as far as GGUF metadata gives them, in APR's order."""
    made: dict[str, Any] = {"model_type": architecture}
    for key, gguf in TEXTS:
        if (value := plain(metadata, gguf)) is not None and isinstance(value, str):
            made[key] = value
    made |= {key: made.get(key) for key in ("license", "data_source", "data_license")}
    template = plain(metadata, "tokenizer.chat_template")
    made |= {"chat_template": template} if isinstance(template, str) else {}
    made |= aprender_keys.special_tokens(metadata)
    made["architecture"] = architecture
    for row in _numbers(architecture):
        value = plain(metadata, f"{architecture}.{row.gguf}")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value):
            assert row.apr is not None
            made[row.apr] = float(value) if row.kind is Kind.F32 else int(value)
        elif value is None and row.flags >= {"off", "apr-needed"}:
            made[str(row.apr)] = 0  # that there is none has to be said
    tokens = plain(metadata, "tokenizer.ggml.tokens")
    if "vocab_size" not in made and isinstance(tokens, list):
        made["vocab_size"] = len(tokens)
    head = plain(metadata, f"{architecture}.attention.key_length")
    if head is None and made.get("num_heads"):
        head = made.get("hidden_size", 0) // made["num_heads"]
    made |= {"head_dim": head} if isinstance(head, int) and head else {}
    return made | aprender_keys.tokenizer_keys(metadata)


def gguf_metadata(apr: Mapping[str, Any], architecture: str) -> tuple[dict[str, Value], list[str]]:
    """GGUF metadata for a file that nobody here wrote, and notes.

    Raises MissingMetadataError, which names all that is missing, and MetadataValueError.
    """
    made = {"general.architecture": Value.scalar(Kind.STRING, architecture), **aprender_keys.gguf_texts(apr)}
    missing = []
    for row in _numbers(architecture):
        assert row.apr is not None
        value = lookup(apr, row.apr)
        if value is not None:
            made[f"{architecture}.{row.gguf}"] = value_of(row.apr, value, row.kind)
        elif row.flags & {"needed", "apr-needed"}:
            missing.append(row.apr)
    if missing:
        raise MissingMetadataError(f"the metadata does not say {', '.join(missing)}")
    made |= _head_size(apr, architecture)
    tokenizer, notes = aprender_keys.gguf_tokenizer(apr)
    made |= tokenizer
    if "tokenizer.ggml.tokens" in made:
        tokens = value_of("tokenizer.vocabulary", len(made["tokenizer.ggml.tokens"].data), Kind.U32)
        made.setdefault(f"{architecture}.vocab_size", tokens)
    return made, notes


def _head_size(apr: Mapping[str, Any], architecture: str) -> dict[str, Value]:
    hidden, heads = int(lookup(apr, "hidden_size")), int(lookup(apr, "num_heads"))
    stated = lookup(apr, "head_dim")
    if stated is not None:
        value_of("head_dim", stated, Kind.U32)
    size = stated or hidden // max(heads, 1)
    made = {f"{architecture}.rope.dimension_count": value_of("head_dim", size, Kind.U32)}
    if size * heads != hidden:
        made |= {f"{architecture}.attention.{k}_length": value_of("head_dim", size, Kind.U32) for k in ("key", "value")}
    return made
