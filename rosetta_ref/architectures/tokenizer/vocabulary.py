"""The token list that both kinds of tokenizer share, and what makes one unusable.

Token types are llama.cpp's, and SentencePiece's: a control or unknown token is matched in a text only where special tokens
are parsed, a user-defined one always, an unused one only fills a hole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from rosetta_ref.archive import Value
from rosetta_ref.errors import RosettaError

Json = dict[str, Any]

_MODEL = "tokenizer.ggml.model"
_PREFIX = "tokenizer.ggml."


class UnknownTokenizerModelError(RosettaError):
    """Only tokenizers that are byte-level BPE (gpt2) or SentencePiece BPE (llama) are known, or none at all (no_vocab)."""


class BrokenVocabularyError(RosettaError):
    """A vocabulary is a list of distinct tokens of UTF-8 text, with a type, score and id that belong to each."""


class BrokenTokenizerFileError(RosettaError):
    """A tokenizer file is JSON (or a SentencePiece model) of the structure that its name promises."""


class TokenType(IntEnum):
    """What a token is for."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


#: Types that are found in a text before anything else is done to it.
ADDED = frozenset({TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED})


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, their types, and their scores where the model has any."""

    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, Value]) -> Vocabulary:
        """The vocabulary in GGUF metadata; raises BrokenVocabularyError where it is not one."""
        value = metadata.get(_PREFIX + "tokens")
        if value is None:
            raise BrokenVocabularyError(f"the key {_PREFIX}tokens is missing")
        tokens = list(value.data)
        if "" in tokens:  # llama.cpp names them like this
            tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]
        types = _column(metadata, "token_type", len(tokens)) or [int(TokenType.NORMAL)] * len(tokens)
        if len(set(tokens)) != len(tokens):
            twice = next(t for i, t in enumerate(tokens) if tokens.index(t) != i)
            raise BrokenVocabularyError(f"the token {twice!r} is there twice")
        return cls(tokens, types, _column(metadata, "scores", len(tokens)))

    @property
    def ids(self) -> dict[str, int]:
        """Token -> id, without the placeholders that fill a vocabulary up to its size."""
        unused = [i for i, kind in enumerate(self.types) if kind == TokenType.UNUSED]
        ids = {token: i for i, token in enumerate(self.tokens)}
        for i in unused:
            if self.tokens[i] == padding(i):
                del ids[self.tokens[i]]
        return ids

    @property
    def added(self) -> list[Json]:
        """The entries of tokenizer.json's `added_tokens`."""
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        return [
            {"id": i, "content": self.tokens[i], **plain, "special": kind != TokenType.USER_DEFINED}
            for i, kind in enumerate(self.types)
            if kind in ADDED
        ]

    def text(self, index: int) -> str:
        """The token of an id; raises BrokenVocabularyError for an id that has none."""
        if not 0 <= index < len(self.tokens):
            raise BrokenVocabularyError(f"a special token has the id {index}, the vocabulary {len(self.tokens)} tokens")
        return self.tokens[index]


def _column(metadata: Mapping[str, Value], name: str, count: int) -> list[Any] | None:
    value = metadata.get(_PREFIX + name)
    if value is None:
        return None
    if len(value.data) < count:
        raise BrokenVocabularyError(f"{_PREFIX}{name} has {len(value.data)} entries for {count} tokens")
    return list(value.plain()[:count])


def padding(index: int) -> str:
    """The placeholder that convert_hf_to_gguf puts where the model has a row and the tokenizer no token."""
    return f"[PAD{index}]"


def looks_special(token: str) -> bool:
    """Whether convert_hf_to_gguf takes an added token that does not say so for a control token."""
    pairs = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))
    known = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
    return token in known or any(token.startswith(a) and token.endswith(b) for a, b in pairs)


def plain(metadata: Mapping[str, Value], name: str) -> Any:
    """The plain value of a `tokenizer.ggml.` key, or None."""
    value = metadata.get(_PREFIX + name)
    return None if value is None else value.plain()


def model_of(metadata: Mapping[str, Value]) -> str:
    """The kind of tokenizer: gpt2, llama, no_vocab or one that is not known."""
    value = metadata.get(_MODEL)
    return "no_vocab" if value is None else str(value.data)


def to_json(name: str, value: Json, *, indent: int | None = None) -> bytes:
    """A JSON file; raises BrokenVocabularyError for text that is not UTF-8, which no tokenizer library reads."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError as error:
        raise BrokenVocabularyError(
            f"{name}: text that is not UTF-8: {error.object[error.start : error.end]!r}"
        ) from error


def from_json(files: Mapping[str, bytes], name: str) -> Json:
    """The content of a JSON file, {} where it is not there; raises BrokenTokenizerFileError where it is not an object."""
    try:
        value = json.loads(files[name]) if name in files else {}
    except (ValueError, RecursionError) as error:
        raise BrokenTokenizerFileError(f"not JSON: {error}", file=name) from error
    if not isinstance(value, dict):
        raise BrokenTokenizerFileError(f"a JSON {type(value).__name__} where an object belongs", file=name)
    return value
