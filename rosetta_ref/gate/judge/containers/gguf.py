"""GGUF: typed keys below the architecture's name. Source: ggml/docs/gguf.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rosetta_ref.archive import Value
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.mapping import Number
from rosetta_ref.gate.judge.tokenizer import BOS, FLAGS, NAMED, PLACES, PREFIX, loaded
from rosetta_ref.gate.judge.view import View

#: Whether it has Hugging Face's names and numbers, or GGUF's.
AT_HOME = (False,)


def look(view: View) -> None:
    """The architecture is a key."""
    view.architecture = mapping.architecture_of(view.archive.metadata)


def numbers(view: View, rows: Sequence[Number]) -> dict[Number, Any]:
    """By the keys of the architecture."""
    return mapping.numbers_by(rows, view.archive.metadata)


def word(row: Number) -> str:
    """What a number is called there."""
    return row.gguf


def rows(view: View) -> int:
    """Pairs."""
    return mapping.PAIRS


def stated_rows(view: View) -> int | None:
    """No file says it."""
    return None


def scaling(view: View) -> dict[str, Any]:
    """By the keys of rope.scaling."""
    return {theirs: mapping.number(view.archive.metadata, f"rope.scaling.{ours}") for ours, theirs in mapping.SCALING}


def facts(view: View) -> dict[str, Any]:
    """By the keys of the tokenizer."""
    metadata = view.archive.metadata
    found = {name: metadata[key].plain() for name, (key, _) in PLACES.items() if key in metadata}
    prefix = metadata.get("tokenizer.ggml.add_space_prefix")
    found |= {PREFIX: False} if prefix is not None and prefix.plain() is False else {}
    return found | {BOS: _adds_bos(found, metadata), NAMED: _named(metadata), FLAGS: _flags(found)}


def _adds_bos(found: Mapping[str, Any], metadata: Mapping[str, Value]) -> bool | None:
    """As the key says; without it, as the model of the tokenizer has it (`llama_vocab::impl::load` of src/llama-vocab.cpp)."""
    stated = metadata.get("tokenizer.ggml.add_bos_token")
    if "tokens" not in found:
        return None
    if stated is not None:
        return stated.plain() is True
    return found.get("tokenizer") == "llama" or found.get("pre-tokenizer") in _BEGUN


#: Pre-tokenizers whose texts begin with a BOS unless a key says otherwise.
_BEGUN = (
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "tekken",
    "chameleon",
)  # fmt: skip


def _named(metadata: Mapping[str, Value]) -> dict[str, Any] | None:
    """Templates besides the default: the key that lists their names is not read here, each has a key of its own."""
    stem = "tokenizer.chat_template."
    return {key[len(stem) :]: value.plain() for key, value in metadata.items() if key.startswith(stem)} or None


def _flags(found: Mapping[str, Any]) -> dict[int, tuple[int, ...]] | None:
    """The type of each token."""
    types, tokens = found.get("token types"), found.get("tokens")
    if not isinstance(types, list) or not isinstance(tokens, list):
        return None
    texts = [*tokens, *[None] * (len(types) - len(tokens))]
    return {place: loaded(text, kind) for place, (text, kind) in enumerate(zip(texts, types, strict=False))}
