"""GGUF's metadata keys and APR's, side by side. Tables first; the two functions below walk them in opposite directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures.aprender_json import strings_are_unicode
from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.metadata import lookup

#: APR key, GGUF key below the architecture's name, GGUF type, and whether llama.cpp loads no model without it.
NUMBERS = (
    ("max_position_embeddings", "context_length", Kind.U32, True),
    ("hidden_size", "embedding_length", Kind.U32, True),
    ("num_layers", "block_count", Kind.U32, True),
    ("intermediate_size", "feed_forward_length", Kind.U32, True),
    ("num_heads", "attention.head_count", Kind.U32, True),
    ("num_kv_heads", "attention.head_count_kv", Kind.U32, False),
    ("rope_theta", "rope.freq_base", Kind.F32, False),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon", Kind.F32, True),
    ("vocab_size", "vocab_size", Kind.U32, False),
)
#: APR key and GGUF key of texts.
TEXTS = (
    ("name", "general.name"),
    ("description", "general.description"),
    ("author", "general.author"),
    ("license", "general.license"),
    ("version", "general.version"),
)
#: APR key, GGUF key, GGUF type and element type of the tokenizer.
TOKENIZER = (
    ("tokenizer.model", "tokenizer.ggml.model", Kind.STRING, None),
    ("tokenizer.pre_type", "tokenizer.ggml.pre", Kind.STRING, None),
    ("tokenizer.vocabulary", "tokenizer.ggml.tokens", Kind.ARRAY, Kind.STRING),
    ("tokenizer.scores", "tokenizer.ggml.scores", Kind.ARRAY, Kind.F32),
    ("tokenizer.token_type", "tokenizer.ggml.token_type", Kind.ARRAY, Kind.I32),
    ("tokenizer.merges", "tokenizer.ggml.merges", Kind.ARRAY, Kind.STRING),
    ("tokenizer.bos_token_id", "tokenizer.ggml.bos_token_id", Kind.U32, None),
    ("tokenizer.eos_token_id", "tokenizer.ggml.eos_token_id", Kind.U32, None),
    ("tokenizer.padding_token_id", "tokenizer.ggml.padding_token_id", Kind.U32, None),
    ("tokenizer.add_bos_token", "tokenizer.ggml.add_bos_token", Kind.BOOL, None),
    ("chat_template", "tokenizer.chat_template", Kind.STRING, None),
)
#: Where a GGUF value may stand in an APR file under a key of APR's own.
PLACES = {gguf: apr for apr, gguf, kind, item in TOKENIZER if item is not None} | {
    "tokenizer.chat_template": "chat_template"
}
#: What other writers call the kinds of tokenizer.
_TOKENIZER_MODELS = {
    "gpt2": "gpt2", "bpe": "gpt2", "llama": "llama", "spm": "llama", "sentencepiece": "llama", "unigram": "llama",
}  # fmt: skip
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


class MissingMetadataError(RosettaError):
    """A model is described in full: what GGUF needs stands in the metadata."""


class MetadataValueError(RosettaError):
    """A metadata value has the type and the range that its key asks for."""


def apr_keys(metadata: Mapping[str, Value], architecture: str) -> dict[str, Any]:
    """APR's own keys as far as GGUF metadata gives them, in APR's order."""
    made: dict[str, Any] = {"model_type": architecture}
    for key, gguf in TEXTS:
        if (value := _plain(metadata, gguf)) is not None and isinstance(value, str):
            made[key] = value
    made |= {key: made.get(key) for key in ("license", "data_source", "data_license")}
    template = _plain(metadata, "tokenizer.chat_template")
    made |= {"chat_template": template} if isinstance(template, str) else {}
    made |= _special_tokens(metadata)
    made["architecture"] = architecture
    for key, gguf, kind, _ in NUMBERS:
        value = _plain(metadata, f"{architecture}.{gguf}")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value):
            made[key] = float(value) if kind is Kind.F32 else int(value)
    tokens = _plain(metadata, "tokenizer.ggml.tokens")
    if "vocab_size" not in made and isinstance(tokens, list):
        made["vocab_size"] = len(tokens)
    head = _plain(metadata, f"{architecture}.attention.key_length")
    if head is None and made.get("num_heads"):
        head = made.get("hidden_size", 0) // made["num_heads"]
    made |= {"head_dim": head} if isinstance(head, int) and head else {}
    return made | _tokenizer_keys(metadata)


def _plain(metadata: Mapping[str, Value], key: str) -> Any:
    value = metadata.get(key)
    return value.plain() if value is not None and strings_are_unicode(value) else None


def _special_tokens(metadata: Mapping[str, Value]) -> dict[str, Any]:
    tokens = _plain(metadata, "tokenizer.ggml.tokens")
    if not isinstance(tokens, list):
        return {}
    found = {}
    for key, word in _SPECIAL.items():
        number = _plain(metadata, f"tokenizer.ggml.{word}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            found[key] = tokens[number]
    return {"special_tokens": found} if found else {}


def _tokenizer_keys(metadata: Mapping[str, Value]) -> dict[str, Any]:
    made = {}
    for key, gguf, kind, item in TOKENIZER:
        value = metadata.get(gguf)
        if key == "chat_template" or value is None or not strings_are_unicode(value):
            continue
        if (value.kind, value.item) == (kind, item) and _finite(value):
            made[key] = value.plain()
    if "tokenizer.vocabulary" in made:
        made["tokenizer.vocab_size"] = len(made["tokenizer.vocabulary"])
    return made


def _finite(value: Value) -> bool:
    return isinstance(value.data, (str, list)) or bool(np.isfinite(value.data).all())


def gguf_metadata(apr: Mapping[str, Any], architecture: str) -> tuple[dict[str, Value], list[str]]:
    """GGUF metadata for a file that nobody here wrote, and notes.

    Raises MissingMetadataError, which names all that is missing, and MetadataValueError.
    """
    made = {"general.architecture": Value.scalar(Kind.STRING, architecture)}
    for key, gguf in TEXTS:
        if apr.get(key) is not None:
            made[gguf] = _value(key, apr[key], Kind.STRING)
    missing = []
    for key, gguf, kind, needed in NUMBERS:
        value = lookup(apr, key)
        if value is not None:
            made[f"{architecture}.{gguf}"] = _value(key, value, kind)
        elif needed:
            missing.append(key)
    if missing:
        raise MissingMetadataError(f"the metadata does not say {', '.join(missing)}")
    made |= _head_size(apr, architecture)
    return _with_tokenizer(made, apr, architecture)


def _head_size(apr: Mapping[str, Any], architecture: str) -> dict[str, Value]:
    hidden, heads = int(lookup(apr, "hidden_size")), int(lookup(apr, "num_heads"))
    stated = lookup(apr, "head_dim")
    if stated is not None:
        _value("head_dim", stated, Kind.U32)
    size = stated or hidden // max(heads, 1)
    made = {f"{architecture}.rope.dimension_count": _value("head_dim", size, Kind.U32)}
    if size * heads != hidden:
        made |= {f"{architecture}.attention.{k}_length": _value("head_dim", size, Kind.U32) for k in ("key", "value")}
    return made


def _with_tokenizer(
    made: dict[str, Value], apr: Mapping[str, Any], architecture: str
) -> tuple[dict[str, Value], list[str]]:
    tokens = apr.get("tokenizer.vocabulary")
    if tokens is None:
        made["tokenizer.ggml.model"] = Value.scalar(Kind.STRING, "no_vocab")
        return made, ["the file has no tokenizer, and so has what is made of it"]
    for key, gguf, kind, item in TOKENIZER:
        value = apr.get(key, apr.get("tokenizer.chat_template") if key == "chat_template" else None)
        if value is None:
            continue
        made[gguf] = _value(key, _tokenizer_model(value) if key == "tokenizer.model" else value, kind, item)
    if "tokenizer.ggml.model" not in made:
        raise MissingMetadataError("the metadata does not say tokenizer.model (gpt2 or llama)")
    made.setdefault(f"{architecture}.vocab_size", _value("tokenizer.vocabulary", len(tokens), Kind.U32))
    notes = [
        f"the file does not say {key}, so {gguf} is left to the reader's default"
        for key, gguf in (
            ("tokenizer.pre_type", "tokenizer.ggml.pre"),
            ("tokenizer.token_type", "tokenizer.ggml.token_type"),
        )
        if gguf not in made
    ]
    return made, notes


def _tokenizer_model(value: Any) -> str:
    known = _TOKENIZER_MODELS.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise MetadataValueError(f"tokenizer.model {shown(value)} is none of {', '.join(_TOKENIZER_MODELS)}")
    return known


def _value(key: str, value: Any, kind: Kind, item: Kind | None = None) -> Value:
    values = value if item is not None else [value]
    allowed = {Kind.STRING: (str,), Kind.BOOL: (bool,), Kind.F32: (int, float)}.get(item or kind, (int,))
    if not isinstance(values, list) or not all(
        isinstance(v, allowed) and (bool in allowed or not isinstance(v, bool)) for v in values
    ):
        raise MetadataValueError(f"metadata key {key!r} is {shown(value)}, not {(item or kind).name}")
    try:
        made = Value.array(item, values) if item is not None else Value.scalar(kind, value)
        if Kind.STRING in (kind, item):
            "".join(values).encode()
    except (OverflowError, UnicodeEncodeError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeEncodeError) else f"too large for {(item or kind).name}"
        raise MetadataValueError(f"metadata key {key!r} is {shown(value)}, {why}") from error
    return made
