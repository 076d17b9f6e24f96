"""SentencePiece BPE (`tokenizer.ggml.model` = "llama"): scores instead of merges, spaces as ▁, bytes for what is unknown.

llama.cpp joins the two neighbours whose text is the token of the highest score, the leftmost where scores are equal. As a list of
merges: every way to part a token into two tokens, ordered by the score of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rosetta_ref import limits
from rosetta_ref.architectures.checked import flag, shown
from rosetta_ref.architectures.tokenizer import parts, sentencepiece_proto, special, vocabulary
from rosetta_ref.architectures.tokenizer.bpe import UnknownNormalizerError, require_merges
from rosetta_ref.architectures.tokenizer.pretokenizers import UnknownPreTokenizerError
from rosetta_ref.architectures.tokenizer.vocabulary import BrokenVocabularyError, Json, TokenType, Vocabulary
from rosetta_ref.archive import Kind, Value

_SPACE = "▁"
#: Characters of merges that are nobody's business: those of a small vocabulary.
_FREE_MERGES = 1 << 20
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
#: What llama.cpp does to a text before anything else, as steps of a normalizer.
_STEPS: dict[str, Json] = {
    "Prepend": {"prepend": _SPACE},
    "Replace": {"pattern": {"String": " "}, "content": _SPACE},
}
#: How Gemma's files part a text: at spaces, of which the normalizer before has left none.
_AT_SPACES: Json = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
_PAD_SCORE, _ADDED_SCORE = -10000.0, -1000.0
_PREFIX_KEY = "tokenizer.ggml.add_space_prefix"


def tokenizer_json(metadata: Mapping[str, Value], vocab: Vocabulary) -> Json:
    """The content of tokenizer.json that encodes like llama.cpp."""
    if vocab.scores is None:
        raise BrokenVocabularyError("the llama tokenizer needs the key tokenizer.ggml.scores")
    prefix = vocabulary.flag(metadata, "add_space_prefix") in (None, True)
    ids = vocab.ids
    unknown = vocabulary.token_id(metadata, "unknown_token_id")
    escape = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    steps = [{"type": "Prepend", "prepend": _SPACE}, escape] if prefix else [escape]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocab.added,
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "post_processor": special.post_processor(metadata, vocab, add_bos=True),
        "decoder": _decoder(prefix=prefix),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": vocab.text(unknown if unknown is not None else 0),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": ids,
            "merges": merges(ids, vocab.scores),
        },
    }


def _decoder(*, prefix: bool) -> Json:
    steps: list[Json] = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def merges(ids: Mapping[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to part a token into two tokens, best score of the whole first. Raises LimitExceededError."""
    lengths = {len(token) for token in ids}
    out, size, most = [], 0, limits.of("merges-ratio") * sum(map(len, ids)) + _FREE_MERGES
    for token in sorted((t for t in ids if len(t) > 1), key=lambda t: -scores[ids[t]]):
        whole = len(token)
        for i in range(1, whole):
            # Lengths first: to cut a token of 400,000 characters at each of them takes 20 s.
            if i in lengths and whole - i in lengths and token[:i] in ids and token[i:] in ids:
                out.append((token[:i], token[i:]))
                size += whole
        if size > most:
            raise limits.exceeded("merges-ratio", "the ways to part tokens into tokens, in characters of the tokens")
    return out


def metadata_of(
    files: Mapping[str, bytes], tokenizer: Json, vocab_size: int, *, space_prefix: bool | None, spare: bool,
    notes: list[str],
) -> dict[str, Value]:  # fmt: skip
    """The `tokenizer.*` keys of a tokenizer.model, or of a tokenizer.json where there is none."""
    if "tokenizer.model" in files:
        pieces = sentencepiece_proto.parse(files["tokenizer.model"])
        rows, prefix = _from_pieces(files, pieces.pieces, vocab_size, spare), pieces.add_space_prefix
    else:
        rows, prefix = _from_json(tokenizer, vocab_size, spare), _adds_prefix(tokenizer)
    config = parts.from_json(files, parts.CONFIG)
    stated = config.get("add_prefix_space")
    flag(stated, "add_prefix_space", file=parts.CONFIG)
    prefix_key = stated if "add_prefix_space" in config or prefix else False
    extra = special.keys(files, tokenizer, vocab_size, notes)
    if not tokenizer or "tokenizer.ggml.add_bos_token" in extra:
        pass  # llama.cpp adds a BOS where no key says otherwise, as SentencePiece's own tokenizers do
    else:
        extra["tokenizer.ggml.add_bos_token"] = Value.scalar(Kind.BOOL, False)
    first, last = _PREFIX_KEY if prefix_key is not None else "", ""
    if space_prefix is not None:
        first, last, prefix_key = "", _PREFIX_KEY, space_prefix
    flagged = Value.scalar(Kind.BOOL, bool(prefix_key))
    return {
        **({first: flagged} if first else {}),
        "tokenizer.ggml.model": Value.scalar(Kind.STRING, "llama"),
        "tokenizer.ggml.pre": Value.scalar(Kind.STRING, "default"),
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, rows.tokens),
        "tokenizer.ggml.scores": Value.array(Kind.F32, rows.scores),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, rows.types),
        **extra,
        **({last: flagged} if last else {}),
    }


class _Rows:
    """Tokens, scores and types by id, all placeholders at first; with `spare`, ids beyond them are left out."""

    def __init__(self, vocab_size: int, *, spare: bool) -> None:
        self.spare = spare
        self.tokens = [vocabulary.padding(i) for i in range(vocab_size)]
        self.scores = [_PAD_SCORE] * vocab_size
        self.types = [int(TokenType.UNUSED)] * vocab_size

    def put(self, index: int, token: str, score: float, kind: int) -> None:
        if self.spare and type(index) is int and index >= len(self.tokens):
            return
        vocabulary.check_entry(token, index, len(self.tokens))
        self.tokens[index], self.scores[index], self.types[index] = token, score, int(kind)


def _from_pieces(
    files: Mapping[str, bytes], pieces: list[tuple[str, float, int]], vocab_size: int, spare: bool
) -> _Rows:
    rows = _Rows(vocab_size, spare=spare)
    for index, (text, score, kind) in enumerate(pieces):
        rows.put(index, text, score, TokenType.NORMAL if kind == TokenType.USER_DEFINED else kind)
    try:
        for text, index in parts.from_json(files, "added_tokens.json").items():
            rows.put(index, text, _ADDED_SCORE, TokenType.USER_DEFINED)
    except BrokenVocabularyError as error:
        raise error.at(file="added_tokens.json") from None
    try:
        for content, index, is_special in parts.decoder_tokens(parts.from_json(files, parts.CONFIG)):
            control = is_special or vocabulary.looks_special(content)
            text = content if control else content.replace(_SPACE, " ")
            rows.put(index, text, _ADDED_SCORE, TokenType.CONTROL if control else TokenType.USER_DEFINED)
    except BrokenVocabularyError as error:
        raise error.at(file=parts.CONFIG) from None
    return rows


def _from_json(tokenizer: Json, vocab_size: int, spare: bool) -> _Rows:
    """convert_hf_to_gguf gives every token the score -1000 here, which loses the order of merges; this keeps it."""
    rows, model = _Rows(vocab_size, spare=spare), parts.table(tokenizer.get("model"), "model")
    vocab, unknown = parts.vocabulary_of(model), model.get("unk_token")
    made = dict.fromkeys(left + right for left, right in require_merges(model))
    rank = {token: -float(i) for i, token in enumerate(made)}
    rest = -float(len(rank))
    for token, index in sorted(vocab.items(), key=lambda item: item[1]):
        byte = _BYTE.fullmatch(token) is not None
        score = 0.0 if byte else rank.get(token, rest)
        rest -= token not in rank and not byte
        rows.put(index, token, score, TokenType.BYTE if byte else TokenType.NORMAL)
    for token, index, is_special in parts.added_tokens(tokenizer):
        control = is_special or vocabulary.looks_special(token)
        kind = TokenType.CONTROL if control else TokenType.USER_DEFINED
        score = rank.get(token, 0.0 if control else _ADDED_SCORE)
        rows.put(index, token, score, TokenType.UNKNOWN if token == unknown else kind)
    return rows


def _adds_prefix(tokenizer: Json) -> bool:
    """Whether a text begins with a ▁ that it did not have: a normalizer does it, or a Metaspace pre-tokenizer."""
    steps = parts.steps(tokenizer.get("normalizer"), "normalizer", "normalizers")
    pre = parts.table(tokenizer.get("pre_tokenizer"), "pre_tokenizer")
    for step in steps:
        if {key: value for key, value in step.items() if key != "type"} != _STEPS.get(str(step.get("type"))):
            raise UnknownNormalizerError(f"the normalizer {shown(step)}", file="tokenizer.json")
    if pre == _AT_SPACES and any(step.get("type") == "Replace" for step in steps):
        return any(step.get("type") == "Prepend" for step in steps)
    if pre and pre.get("type") != "Metaspace":
        raise UnknownPreTokenizerError(
            f"the pre-tokenizer {shown(pre.get('type'))} before SentencePiece BPE", file="tokenizer.json"
        )
    spaced: Any = bool(pre) and pre.get("prepend_scheme", "always") != "never"
    return bool(spaced) or any(step.get("type") == "Prepend" for step in steps)


def is_sentencepiece(tokenizer: Json) -> bool:
    """Whether a tokenizer.json is of this kind: BPE that falls back to bytes, with a decoder of several steps."""
    model, decoder = parts.table(tokenizer.get("model"), "model"), parts.table(tokenizer.get("decoder"), "decoder")
    return bool(model.get("byte_fallback")) and decoder.get("type") == "Sequence"
