"""Fewer tokens: the vocabulary of a model cut to its first ones, with the merges that are made of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from rosetta_ref.archive import Kind, Value
from rosetta_ref.reduce.search.input import Given, json_of_companion

_MERGES = ("tokenizer.ggml.merges", "tokenizer.merges")
_TOKENS = ("tokenizer.ggml.tokens", "tokenizer.vocabulary")


def without_words(given: Given) -> Given:
    """Without tokenizer and chat template; the numbers of the model stay."""
    kept = {key: value for key, value in given.metadata.items() if not _is_word(key)}
    companions = {name: data for name, data in given.companions.items() if name == "config.json"}
    return given.with_metadata(kept).with_companions(companions)


def _is_word(key: str) -> bool:
    return key.startswith(("tokenizer.", "general.", "rosetta.")) and key != "general.architecture"


def special_ids(given: Given) -> list[int]:
    """The ids that the metadata or config.json name."""
    stated: dict[str, Any] = dict(given.metadata)
    if "config.json" in given.companions:
        stated |= json_of_companion(given, "config.json")
    plain = {key: value.plain() if isinstance(value, Value) else value for key, value in stated.items()}
    return [value for key, value in plain.items() if key.endswith("_token_id") and isinstance(value, int)]


def with_vocabulary(given: Given, count: int) -> Given:
    """With its first tokens. Lists of the metadata that have an entry for each token are cut alike."""
    key = next((key for key in _TOKENS if key in given.metadata), None)
    made = given
    if key is not None:
        tokens = _listed(given.metadata[key])
        made = given.with_metadata({name: _cut(name, value, tokens, count) for name, value in given.metadata.items()})
    if "tokenizer.json" in made.companions:
        made = made.with_json("tokenizer.json", _tokenizer(json_of_companion(made, "tokenizer.json"), count))
    return made


def _listed(value: Any) -> list[Any]:
    return list(value.data if isinstance(value, Value) else value)


def _cut(name: str, value: Any, tokens: list[Any], count: int) -> Any:
    if name == "tokenizer.vocab_size":
        return count
    if name in _MERGES:
        kept = [merge for merge in _listed(value) if _made_of(merge, set(tokens[:count]))]
        return Value.array(Kind.STRING, kept) if isinstance(value, Value) else kept
    if not name.startswith("tokenizer."):
        return value
    if isinstance(value, Value):
        same = value.item is not None and len(value.data) == len(tokens)
        return replace(value, data=value.data[:count]) if same else value
    return value[:count] if isinstance(value, list) and len(value) == len(tokens) else value


def _made_of(merge: Any, tokens: Collection[Any]) -> bool:
    """Whether both sides of a merge, and what they make, are tokens."""
    sides = merge.split(" ", 1) if isinstance(merge, str) else list(merge)
    return len(sides) == 2 and {*sides, "".join(sides)} <= set(tokens)


def _tokenizer(tokenizer: dict[str, Any], count: int) -> dict[str, Any]:
    """tokenizer.json with the ids below a number."""
    model = dict(tokenizer.get("model") or {})
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, dict):
        model["vocab"] = {token: number for token, number in vocabulary.items() if number < count}
    else:
        model["vocab"] = vocabulary[:count]
    tokens = set(model["vocab"]) if isinstance(model["vocab"], dict) else {row[0] for row in model["vocab"]}
    if model.get("merges"):
        model["merges"] = [merge for merge in model["merges"] if _made_of(merge, tokens)]
    added = [token for token in tokenizer.get("added_tokens") or [] if token["id"] < count]
    return {**tokenizer, "model": model, "added_tokens": added}
