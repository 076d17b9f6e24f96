"""The token list that both kinds of tokenizer share, and what makes one unusable.

Token types are llama.cpp's, and SentencePiece's: a control or unknown token is matched in a text only where special tokens
are parsed, a user-defined one always, an unused one only fills a hole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Kind, Value
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


class TokenizerValueError(BrokenVocabularyError):
    """A tokenizer key has a value of its kind: texts, numbers, a flag, or the id of a token."""


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
ADDED = frozenset({int(TokenType.CONTROL), int(TokenType.UNKNOWN), int(TokenType.USER_DEFINED)})

#: Texts of tokens that end an answer in llama.cpp whatever the file says (src/llama-vocab.cpp: the ends of generation).
ENDS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
})  # fmt: skip
#: Texts that llama.cpp takes for control tokens whatever type the file gives them: ends of generation, then fill-in-the-middle.
_CONTROL_BY_NAME = ENDS | frozenset({
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>",
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
})  # fmt: skip
#: Texts that it always takes for user-defined tokens.
_USER_DEFINED_BY_NAME = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
#: Where all of the second texts are there, the first is of that type after all.
_EXCEPTIONS = (
    ("</s>", {"<|tool_response>"}, TokenType.NORMAL),
    ("<|end|>", {"<|return|>", "<|call|>"}, TokenType.USER_DEFINED),
    ("<|end|>", {"<|return|>", "<|calls|>"}, TokenType.USER_DEFINED),
    ("<|end|>", {"<|flush|>", "<|call|>"}, TokenType.USER_DEFINED),
    ("<|end|>", {"<|flush|>", "<|calls|>"}, TokenType.USER_DEFINED),
)
#: In models of these names a token takes the whitespace after it, except for the ones below.
_STRIPPING_MODELS = ("phi-3", "phi3")
_NEVER_STRIPPING = frozenset({"<unk>", "<s>", "<|endoftext|>"})


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, their types, and their scores where the model has any; `stripping` as llama.cpp has it for phi-3."""

    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    stripping: bool = False

    @classmethod
    def of(cls, metadata: Mapping[str, Value]) -> Vocabulary:
        """The vocabulary in GGUF metadata; raises BrokenVocabularyError where it is not one."""
        tokens = texts(metadata, _PREFIX + "tokens")
        if tokens is None:
            raise BrokenVocabularyError(f"the key {_PREFIX}tokens is missing")
        if "" in tokens:  # llama.cpp names them like this
            tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]
        types = _column(metadata, "token_type", len(tokens)) or [int(TokenType.NORMAL)] * len(tokens)
        if len(set(tokens)) != len(tokens):
            seen: set[str] = set()
            twice = next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
            raise BrokenVocabularyError(f"the token {shown(twice)} is there twice")
        name = str(metadata["general.name"].data).lower() if "general.name" in metadata else ""
        stripping = any(part in name for part in _STRIPPING_MODELS)
        return cls(tokens, types, _column(metadata, "scores", len(tokens)), stripping)

    @property
    def ids(self) -> dict[str, int]:
        """Token -> id, without the placeholders that fill a vocabulary up to its size."""
        ids = dict(zip(self.tokens, range(len(self.tokens)), strict=True))
        if TokenType.UNUSED in self.types:
            for i, kind in enumerate(self.types):
                if kind == TokenType.UNUSED and self.tokens[i] == padding(i):
                    del ids[self.tokens[i]]
        return ids

    @cached_property
    def added(self) -> list[Json]:
        """The entries of tokenizer.json's `added_tokens`."""
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        kinds = {i: kind for i, kind in enumerate(self.types) if kind in ADDED} | self._types_by_name()
        return [
            {
                "id": i,
                "content": token,
                **plain,
                "rstrip": self._strips(token),
                "special": kind != TokenType.USER_DEFINED,
            }
            for i, kind in sorted(kinds.items())
            if kind in ADDED
            for token in (self.tokens[i],)
        ]

    def _strips(self, token: str) -> bool:
        return self.stripping and token not in _NEVER_STRIPPING

    def _types_by_name(self) -> dict[int, int]:
        """Id -> type, of the tokens whose type llama.cpp takes from their text."""
        here = set(self.tokens)
        types = dict.fromkeys(_CONTROL_BY_NAME & here, TokenType.CONTROL)
        types |= dict.fromkeys(_USER_DEFINED_BY_NAME & here, TokenType.USER_DEFINED)
        types |= {text: kind for text, others, kind in _EXCEPTIONS if text in types and others <= here}
        return {self.tokens.index(text): int(kind) for text, kind in types.items()}

    def text(self, index: int) -> str:
        """The token of an id; raises BrokenVocabularyError for an id that has none."""
        if not 0 <= index < len(self.tokens):
            raise BrokenVocabularyError(f"a special token has the id {index}, the vocabulary {len(self.tokens)} tokens")
        return self.tokens[index]


def _column(metadata: Mapping[str, Value], name: str, count: int) -> list[Any] | None:
    value = metadata.get(_PREFIX + name)
    if value is None:
        return None
    if value.item is None or value.item.dtype is None:
        raise TokenizerValueError(f"{_PREFIX}{name} is {shown(value.plain())}")
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


def texts(metadata: Mapping[str, Value], key: str) -> list[str] | None:
    """A list of texts, or None where there is no such key. Raises TokenizerValueError."""
    value = metadata.get(key)
    if value is not None and value.item is not Kind.STRING:
        raise TokenizerValueError(f"{key} is {shown(value.plain())}")
    return None if value is None else list(value.data)


def text(metadata: Mapping[str, Value], key: str) -> str | None:
    """A text, or None where there is no such key. Raises TokenizerValueError."""
    value = metadata.get(key)
    if value is not None and value.kind is not Kind.STRING:
        raise TokenizerValueError(f"{key} is {shown(value.plain())}")
    return None if value is None else str(value.data)


def token_id(metadata: Mapping[str, Value], name: str) -> int | None:
    """The id under a `tokenizer.ggml.` key; None where there is none, or where the vocabulary has no such token.

    llama.cpp warns of the second, and goes on as if the key were not there (src/llama-vocab.cpp: "bad special token"). Raises
    TokenizerValueError.
    """
    value = plain(metadata, name)
    if value is not None and (type(value) is not int or value < 0):
        raise TokenizerValueError(f"{_PREFIX}{name} is {shown(value)}")
    tokens = metadata.get(_PREFIX + "tokens")
    beyond = value is not None and tokens is not None and tokens.item is Kind.STRING and value >= len(tokens.data)
    return None if beyond else value


def beyond(metadata: Mapping[str, Value]) -> list[str]:
    """The keys of special tokens whose ids are beyond the vocabulary. Raises TokenizerValueError."""
    names = [key.removeprefix(_PREFIX) for key in metadata if key.startswith(_PREFIX) and key.endswith("_token_id")]
    return [_PREFIX + name for name in names if token_id(metadata, name) is None]


def flag(metadata: Mapping[str, Value], name: str) -> bool | None:
    """The flag under a `tokenizer.ggml.` key, or None. Raises TokenizerValueError."""
    value = plain(metadata, name)
    if value is not None and not isinstance(value, bool):
        raise TokenizerValueError(f"{_PREFIX}{name} is {shown(value)}")
    return value


def model_of(metadata: Mapping[str, Value]) -> str:
    """The kind of tokenizer: gpt2, llama, no_vocab or one that is not known."""
    return text(metadata, _MODEL) or "no_vocab"


def to_json(name: str, value: Json, *, indent: int | None = None) -> bytes:
    """A JSON file; raises BrokenVocabularyError for text that is not UTF-8, which no tokenizer library reads."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError as error:
        raise BrokenVocabularyError(
            f"{name}: text that is not UTF-8: {error.object[error.start : error.end]!r}"
        ) from error


def check_entry(token: Any, index: Any, size: int) -> None:
    """Raise BrokenVocabularyError where that is no token, or no id in a vocabulary of that size."""
    if not isinstance(token, str) or type(index) is not int:
        raise BrokenVocabularyError(f"a token is {shown(token)}, its id {shown(index)}")
    if not 0 <= index < size:
        raise BrokenVocabularyError(f"the token {shown(token)} has the id {shown(index)}, the model {size} tokens")
