"""GGUF's metadata keys and APR's, side by side: texts and the tokenizer, which are the same for every architecture.

Tables first; the functions below walk them in opposite directions. Numbers differ by architecture: `aprender_numbers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.architectures.aprender_json import strings_are_unicode
from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError

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


def plain(metadata: Mapping[str, Value], key: str) -> Any:
    """The plain value of a GGUF key; None where it is absent, or is text that JSON cannot hold."""
    value = metadata.get(key)
    return value.plain() if value is not None and strings_are_unicode(value) else None


def special_tokens(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """APR's `special_tokens`: the texts of the tokens that GGUF names by id."""
    tokens = plain(metadata, "tokenizer.ggml.tokens")
    if not isinstance(tokens, list):
        return {}
    found = {}
    for key, word in _SPECIAL.items():
        number = plain(metadata, f"tokenizer.ggml.{word}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            found[key] = tokens[number]
    return {"special_tokens": found} if found else {}


def tokenizer_keys(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """APR's keys of the tokenizer."""
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


def gguf_texts(apr: Mapping[str, Any]) -> dict[str, Value]:
    """The general keys of a file that nobody here wrote. Raises MetadataValueError."""
    return {gguf: value_of(key, apr[key], Kind.STRING) for key, gguf in TEXTS if apr.get(key) is not None}


def gguf_tokenizer(apr: Mapping[str, Any]) -> tuple[dict[str, Value], list[str]]:
    """The tokenizer's keys of a file that nobody here wrote, and notes.

    Raises MissingMetadataError or MetadataValueError.
    """
    made: dict[str, Value] = {}
    if apr.get("tokenizer.vocabulary") is None:
        made["tokenizer.ggml.model"] = Value.scalar(Kind.STRING, "no_vocab")
        return made, ["the file has no tokenizer, and so has what is made of it"]
    for key, gguf, kind, item in TOKENIZER:
        value = apr.get(key, apr.get("tokenizer.chat_template") if key == "chat_template" else None)
        if value is None:
            continue
        made[gguf] = value_of(key, _tokenizer_model(value) if key == "tokenizer.model" else value, kind, item)
    if "tokenizer.ggml.model" not in made:
        raise MissingMetadataError("the metadata does not say tokenizer.model (gpt2 or llama)")
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


def value_of(key: str, value: Any, kind: Kind, item: Kind | None = None) -> Value:
    """A value of APR's JSON as one of GGUF's. Raises MetadataValueError."""
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
