"""Whether configuration and tokenizer arrive: F-CONV-META-001, fact by fact, each in the words of the format that it stands in.

A fact is asked for where the target's format has a place for it. More than that is allowed. What describes the encoding (file type,
alignment) is not compared. Between files of one format every typed key must come back (`compare_keys`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats.apr.metadata import spellings
from rosetta_ref.gate import mapping
from rosetta_ref.gate.judge import META, same
from rosetta_ref.gate.mapping import Number
from rosetta_ref.gate.result import Finding
from rosetta_ref.gate.view import UnreadableError, View, read_json

#: Of the encoding or of one writing of a file.
_OF_THE_FILE = (
    "general.file_type", "general.quantization_version", "general.alignment", "split.no", "split.count",
    "split.tensors.count",
)  # fmt: skip
_NUMBER = {row.gguf: row for row in mapping.NUMBERS}
Facts = dict[str, Any]


@dataclass
class Asked:
    """Facts that there were to compare, and that were; what is wrong with them."""

    expected: int = 0
    compared: int = 0
    findings: list[Finding] = field(default_factory=list)

    def wrong(self, kind: str, detail: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, META, detail))


def judge_words(source: View, target: View) -> Asked:
    """Numbers, special tokens, vocabulary, merges and chat template of a model."""
    asked = Asked()
    if target.format == "apr":
        _spelled_once(asked, target)
    if source.architecture is None or mapping.EMBEDDING not in source.tensors:
        return asked  # tensors that are no model
    asked.expected += 1
    asked.compared += 1
    if target.architecture != source.architecture:
        asked.wrong("architecture", f"{source.architecture} became {target.architecture}")
    if target.format == "safetensors" and target.config is None:
        asked.wrong("config-missing", "there is no config.json")
    elif target.config is not None:
        _head(asked, target)
    _numbers(asked, source, target)
    try:
        theirs = facts(target)
    except (UnreadableError, ValueError, KeyError, TypeError) as error:
        asked.wrong("tokenizer-broken", f"it cannot be read: {error}")
        theirs = {}
    no_place = () if target.format != "safetensors" else ("scores", "token types", "pre-tokenizer")
    _facts(asked, {name: value for name, value in facts(source).items() if name not in no_place}, theirs)
    return asked


def _head(asked: Asked, target: View) -> None:
    """A loader ties the head to the embedding where config.json says so, and only there; whatever tensors there are."""
    embedding, head = (target.tensors.get(name) for name in (mapping.EMBEDDING, mapping.HEAD))
    if embedding is None or target.config is None:
        return
    asked.expected += 1
    asked.compared += 1
    tied = bool(target.config.get("tie_word_embeddings", False))
    if head is None and not tied:
        asked.wrong("head-missing", "config.json says that the head is not the embedding, and there is none")
    elif head is not None and tied and not same(head.tensor, embedding.tensor):
        asked.wrong("head-ignored", "config.json says that the head is the embedding, beside a head of its own")


def _spelled_once(asked: Asked, target: View) -> None:
    """A number of an APR file stands under one key. Beside an alias, even a null, the engine realizar drops all metadata."""
    keys = target.archive.metadata
    twice = {
        row.apr: found
        for row in mapping.NUMBERS
        if len(found := [key for key in spellings(row.apr) if key in keys]) > 1
    }
    asked.expected += 1
    asked.compared += 1
    if twice:
        said = ", ".join(" and ".join(repr(key) for key in found) for found in twice.values())
        asked.wrong("key-twice", f"{len(twice)} numbers stand under more than one key: {said}")


def _numbers(asked: Asked, source: View, target: View) -> None:
    assumed = _assumed(source)
    for row, value in (assumed | source.numbers).items():
        asked.expected += 1
        here = target.numbers.get(row)
        name = getattr(row, {"safetensors": "hugging_face"}.get(target.format, target.format))
        if here is None and row in assumed and _equal(value, assumed[row]):
            asked.compared += 1  # every loader takes that number where there is none
        elif here is None and row not in source.numbers:
            asked.compared += 1
        elif here is None and row.gguf != "vocab_size":
            asked.wrong("number-lost", f"{name} is not there; it is {value!r}")
        elif here is not None:
            asked.compared += 1
            padded = row.gguf == "vocab_size" and here > value if isinstance(here, int) else False
            if not _equal(value, here) and not padded:
                asked.wrong("number-wrong", f"{name} is {here!r}, and was {value!r}")
        else:
            asked.compared += 1


def _assumed(view: View) -> dict[Number, Any]:
    """What loaders take where a key is absent."""
    stated = {row.gguf: value for row, value in view.numbers.items()}
    heads, width = stated.get("attention.head_count"), stated.get("embedding_length")
    found: dict[Number, Any] = {_NUMBER["rope.freq_base"]: 10000.0}
    if heads:
        found[_NUMBER["attention.head_count_kv"]] = heads
    if heads and width:
        found[_NUMBER["attention.key_length"]] = width // heads
    return found


def _equal(one: Any, other: Any) -> bool:
    """As float32, which is what loaders compute with and GGUF stores."""
    if not all(isinstance(value, (int, float)) for value in (one, other)):
        return bool(one == other)
    return bool(np.float32(one) == np.float32(other))


def _facts(asked: Asked, ours: Facts, theirs: Facts) -> None:
    for name, value in ours.items():
        size = len(value) if isinstance(value, (list, dict)) else 1
        asked.expected += size
        here = theirs.get(name)
        if here is None:
            asked.wrong("tokenizer-lost" if name == "tokens" else "words-lost", f"{name}: it is not there")
        elif isinstance(value, list):
            asked.compared += min(size, len(here))
            _compare_lists(asked, name, value, here)
        else:
            asked.compared += 1
            if here != value:
                asked.wrong("words-wrong", f"{name}: {_short(value)} became {_short(here)}")


def _compare_lists(asked: Asked, name: str, ours: list[Any], theirs: list[Any]) -> None:
    wrong = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    if wrong:
        first = wrong[0]
        detail = f"{name}: {len(wrong)} of {len(ours)} differ, first {first}: {ours[first]!r} became {theirs[first]!r}"
        asked.wrong("words-wrong", detail)
    elif len(theirs) < len(ours) or (len(theirs) > len(ours) and name != "tokens"):
        asked.wrong("words-lost", f"{name}: {len(ours)} became {len(theirs)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# The words of each format


def facts(view: View) -> Facts:
    """Tokens by id, merges, special ids, the chat template; what the format has no place for is absent. Raises ValueError."""
    if view.format == "gguf":
        found = _of_gguf(view.archive.metadata)
    elif view.format == "apr":
        found = {name: view.archive.metadata.get(key) for name, (_, key) in _PLACES.items()}
    else:
        found = _of_directory(view)
    return {name: value for name, value in found.items() if value is not None}


#: Fact: GGUF's key, APR's.
_PLACES = {
    "tokens": ("tokenizer.ggml.tokens", "tokenizer.vocabulary"),
    "merges": ("tokenizer.ggml.merges", "tokenizer.merges"),
    "bos": ("tokenizer.ggml.bos_token_id", "tokenizer.bos_token_id"),
    "eos": ("tokenizer.ggml.eos_token_id", "tokenizer.eos_token_id"),
    "scores": ("tokenizer.ggml.scores", "tokenizer.scores"),
    "token types": ("tokenizer.ggml.token_type", "tokenizer.token_type"),
    "pre-tokenizer": ("tokenizer.ggml.pre", "tokenizer.pre_type"),
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
    return {"tokens": tokens, "merges": spelled}


# Files of one format


def compare_keys(source: View, target: View) -> Asked:
    """Typed metadata that went to another format and came back; keys may be added, and the file's own are its own."""
    asked = Asked()
    theirs = target.archive.metadata
    for key, value in source.archive.metadata.items():
        if key in _OF_THE_FILE:
            continue
        asked.expected += 1
        if key not in theirs:
            asked.wrong("key-lost", f"{key}: it is not there")
            continue
        asked.compared += 1
        if theirs[key] != value:
            asked.wrong("key-wrong", f"{key}: {_stored(value)} became {_stored(theirs[key])}")
    return asked


def _stored(value: Any) -> str:
    if isinstance(value, Value):
        item = f" of {value.item.name}" if value.kind is Kind.ARRAY and value.item is not None else ""
        return f"{value.kind.name}{item} {_short(value.plain())}"
    return _short(json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value)
