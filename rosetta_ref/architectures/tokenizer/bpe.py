"""Byte-level BPE (`tokenizer.ggml.model` = "gpt2"): vocabulary and merges, both ways.

A token is spelled in GPT-2's alphabet, in which every byte is a printable character (a space is U+0120); added tokens are
spelled as they are. A merge is a pair of tokens, its rank its place in the list.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts, pretokenizers, special, vocabulary
from rosetta_ref.architectures.tokenizer.vocabulary import (
    BrokenTokenizerFileError,
    BrokenVocabularyError,
    Json,
    TokenType,
    Vocabulary,
)
from rosetta_ref.archive import Kind, Value

_SPACE = chr(ord(" ") + 256)


class UnknownNormalizerError(BrokenTokenizerFileError):
    """GGUF has no place for a normalizer: llama.cpp takes texts as they are."""


class UnknownAffixError(BrokenTokenizerFileError):
    """GGUF has no place for what is put before or behind the parts of a word."""


class MissingMergesError(BrokenVocabularyError):
    """Byte-level BPE has merges: without them, no token of several characters is ever found."""


class BrokenMergeError(BrokenVocabularyError):
    """A merge is a pair of tokens, and what it makes is a token too."""


def tokenizer_json(metadata: Mapping[str, Value], vocab: Vocabulary) -> Json:
    """The content of tokenizer.json that encodes like llama.cpp."""
    pre = vocabulary.text(metadata, "tokenizer.ggml.pre") or "default"
    known = pretokenizers.lookup(pre)
    ids = vocab.ids
    require_key(metadata)
    merges = vocabulary.texts(metadata, "tokenizer.ggml.merges")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocab.added,
        "normalizer": None,
        "pre_tokenizer": pretokenizers.to_json(known.family),
        "post_processor": special.post_processor(metadata, vocab, add_bos=known.add_bos),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": known.ignore_merges,
            "vocab": ids,
            "merges": _pairs(merges or [], ids),
        },
    }


def require_key(metadata: Mapping[str, Value]) -> None:
    """Raise MissingMergesError where GGUF metadata has a byte-level BPE and no merges, as llama.cpp does."""
    key = "tokenizer.ggml.merges"
    if vocabulary.model_of(metadata) == "gpt2" and "tokenizer.ggml.tokens" in metadata and key not in metadata:
        raise MissingMergesError(f"the key {key} is missing")


def _pairs(merges: list[str], ids: Mapping[str, int]) -> list[list[str]]:
    """Merges as pairs. The space that parts them is the first one that is not at the very start."""
    joined = next((merge for merge in merges if merge.find(" ", 1) < 0), None)
    if joined is not None:
        raise BrokenMergeError(f"the merge {shown(joined)} has no space")
    pairs = [merge.split(" ") for merge in dict.fromkeys(merges)]
    if any(len(pair) != 2 or not pair[0] for pair in pairs):
        pairs = [[merge[: merge.find(" ", 1)], merge[merge.find(" ", 1) + 1 :]] for merge in dict.fromkeys(merges)]
    if not all(left + right in ids and left in ids and right in ids for left, right in pairs):
        bad = next((left, right) for left, right in pairs if not {left + right, left, right} <= ids.keys())
        raise BrokenMergeError(f"the merge {shown(' '.join(bad))} is not of tokens")
    return pairs


def metadata_of(files: Mapping[str, bytes], tokenizer: Json, vocab_size: int, notes: list[str]) -> dict[str, Value]:
    """The `tokenizer.*` keys of a tokenizer.json, as convert_hf_to_gguf writes them."""
    _check_normalizer(tokenizer.get("normalizer"))
    model = parts.table(tokenizer.get("model"), "model")
    merges = require_merges(model)
    if not merges:
        notes.append("tokenizer.json has an empty list of merges: no token of several characters is ever found")
    tokens, types = _tokens(tokenizer, vocab_size)
    extra = special.keys(files, tokenizer, vocab_size, notes)
    adds_bos = bool(extra["tokenizer.ggml.add_bos_token"].plain()) if "tokenizer.ggml.add_bos_token" in extra else False
    name = pretokenizers.recognise(
        parts.table(tokenizer.get("pre_tokenizer"), "pre_tokenizer"),
        ignore_merges=bool(model.get("ignore_merges")),
        add_bos=adds_bos,
    )
    if pretokenizers.NAMES[name].add_bos and not adds_bos:  # the name alone would mean that one is added
        extra = {"tokenizer.ggml.add_bos_token": Value.scalar(Kind.BOOL, False), **extra}
    return {
        "tokenizer.ggml.model": Value.scalar(Kind.STRING, "gpt2"),
        "tokenizer.ggml.pre": Value.scalar(Kind.STRING, name),
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, tokens),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        "tokenizer.ggml.merges": Value.array(Kind.STRING, [_merge(pair) for pair in merges]),
        **extra,
    }


def _check_normalizer(normalizer: Json | None) -> None:
    steps = parts.steps(normalizer, "normalizer", "normalizers")
    odd = [step.get("type") for step in steps if step.get("type") != "NFC"]
    if odd:
        raise UnknownNormalizerError(
            f"the normalizer {shown(odd[0])}",
            file="tokenizer.json",
            hint="Convert with --keep-names to carry the tensors alone.",
        )


def require_merges(model: Json) -> list[tuple[str, str]]:
    """The merges of a tokenizer.json. Raises BrokenMergeError, BrokenTokenizerFileError, UnknownAffixError."""
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key) not in (None, ""):
            raise UnknownAffixError(f"model.{key} is {shown(model[key])}", file="tokenizer.json")
    vocab, merges = parts.vocabulary_of(model), parts.merges_of(model)
    if model.get("merges") is None:  # none at all is another matter: `tokenizers` and llama.cpp take an empty list
        raise MissingMergesError("there is no model.merges", file="tokenizer.json")
    for left, right in merges:
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise BrokenMergeError(f"the merge {shown((left, right))} is not of tokens", file="tokenizer.json")
    return merges


def _merge(pair: tuple[str, str]) -> str:
    left, right = pair
    return f"{left.replace(' ', _SPACE)} {right.replace(' ', _SPACE)}"


def _tokens(tokenizer: Json, vocab_size: int) -> tuple[list[str], list[int]]:
    tokens = [vocabulary.padding(i) for i in range(vocab_size)]
    types = [int(TokenType.UNUSED)] * vocab_size
    for token, index in parts.vocabulary_of(tokenizer["model"]).items():
        vocabulary.check_entry(token, index, vocab_size)
        tokens[index], types[index] = token, int(TokenType.NORMAL)
    for token, index, is_special in parts.added_tokens(tokenizer):
        vocabulary.check_entry(token, index, vocab_size)
        control = is_special or vocabulary.looks_special(token)
        types[index] = int(TokenType.CONTROL if control else TokenType.USER_DEFINED)
        tokens[index] = token if control else token.replace("▁", " ")
    return tokens, types
