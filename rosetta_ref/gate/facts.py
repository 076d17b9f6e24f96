"""The words of a model as each format has them: tokens by id, merges, scores, special ids, the chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.archive import Value
from rosetta_ref.gate.view import View, read_json
from rosetta_ref.gate.vocabulary import QWEN2_PATTERN

Facts = dict[str, Any]


def facts(view: View) -> Facts:
    """Tokens by id, merges, special ids, the chat template; what the format has no place for is absent. Raises ValueError."""
    if view.format == "gguf":
        found = _of_gguf(view.archive.metadata)
    elif view.format == "apr":
        found = {name: view.archive.metadata.get(key) for name, (_, key) in _PLACES.items()}
    else:
        found = _of_directory(view)
    return {name: value for name, value in found.items() if value is not None and (name, value) != _NO_TOKENIZER}


#: The tokenizer of a model that has none, in llama.cpp's words (llama-vocab.cpp): nothing is lost without it.
_NO_TOKENIZER = ("tokenizer", "no_vocab")
#: Fact: GGUF's key, APR's.
_PLACES = {
    "tokenizer": ("tokenizer.ggml.model", "tokenizer.model"),
    "pre-tokenizer": ("tokenizer.ggml.pre", "tokenizer.pre_type"),
    "tokens": ("tokenizer.ggml.tokens", "tokenizer.vocabulary"),
    "merges": ("tokenizer.ggml.merges", "tokenizer.merges"),
    "bos": ("tokenizer.ggml.bos_token_id", "tokenizer.bos_token_id"),
    "eos": ("tokenizer.ggml.eos_token_id", "tokenizer.eos_token_id"),
    "padding": ("tokenizer.ggml.padding_token_id", "tokenizer.padding_token_id"),
    "scores": ("tokenizer.ggml.scores", "tokenizer.scores"),
    "token types": ("tokenizer.ggml.token_type", "tokenizer.token_type"),
    "chat template": ("tokenizer.chat_template", "chat_template"),
}


def _of_gguf(metadata: Mapping[str, Value]) -> Facts:
    return {name: metadata[key].plain() for name, (key, _) in _PLACES.items() if key in metadata}


def _of_directory(view: View) -> Facts:
    tokenizer = read_json(view.path, "tokenizer.json")
    config = view.config or {}
    stated = read_json(view.path, "tokenizer_config.json") or {}
    template = stated.get("chat_template")
    file = (view.path if view.path.is_dir() else view.path.parent) / "chat_template.jinja"
    found: Facts = {
        "bos": config.get("bos_token_id"),
        "eos": config.get("eos_token_id"),
        "padding": config.get("pad_token_id"),
        "chat template": file.read_text("utf-8") if file.is_file() else template if isinstance(template, str) else None,
    }
    if tokenizer is not None:
        found |= _of_tokenizer(tokenizer)
        for name in ("bos", "eos"):
            word = stated.get(f"{name}_token")
            word = word.get("content") if isinstance(word, dict) else word
            if found[name] is None and word in found["tokens"]:
                found[name] = found["tokens"].index(word)
    return found


def _of_tokenizer(tokenizer: Mapping[str, Any]) -> Facts:
    model = tokenizer["model"]
    vocabulary = model["vocab"]
    by_id = (
        {index: token for token, index in vocabulary.items()}
        if isinstance(vocabulary, dict)
        else dict(enumerate(row[0] for row in vocabulary))
    )
    by_id |= {token["id"]: token["content"] for token in tokenizer.get("added_tokens") or []}
    tokens = [by_id.get(index) for index in range(max(by_id, default=-1) + 1)]
    # SentencePiece has scores in their place: its merges are made of them, and nobody else has them.
    merges = None if model.get("byte_fallback") else model.get("merges")
    spelled = merges and [" ".join(pair) if isinstance(pair, list) else pair for pair in merges]
    kind = "llama" if model.get("byte_fallback") else "gpt2" if model.get("type") == "BPE" else None
    return {"tokenizer": kind, "pre-tokenizer": _pre_tokenizer(tokenizer), "tokens": tokens, "merges": spelled}


def _pre_tokenizer(tokenizer: Mapping[str, Any]) -> str | None:
    """GGUF's name of the steps, for the two that a sample has."""
    steps = (tokenizer.get("pre_tokenizer") or {}).get("pretokenizers") or []
    kinds = [step.get("type") for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    pattern = steps[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
    return "qwen2" if pattern == QWEN2_PATTERN else None
