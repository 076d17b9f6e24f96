"""The words of a model as each format has them: tokens by id, merges, scores, special ids, the chat template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetta_ref.gate.judge.container import of as container_of
from rosetta_ref.gate.judge.directory import DEFAULT, added, adds_bos, special_ids, templates
from rosetta_ref.gate.judge.view import UnreadableError, View, beside, read_json

Facts = dict[str, Any]
#: How Qwen 2 splits text, as its tokenizer.json says it.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer(view: View) -> Facts:
    """Tokens by id, merges, special ids, the chat template; what the format has no place for is absent. Raises UnreadableError."""
    found = container_of(view.format).facts(view)
    return {name: value for name, value in found.items() if value is not None and (name, value) != _NO_TOKENIZER}


#: The tokenizer of a model that has none, in llama.cpp's words (llama-vocab.cpp): nothing is lost without it.
_NO_TOKENIZER = ("tokenizer", "no_vocab")
#: Whether SentencePiece puts a space before a text: a fact where it does not, since it does where nothing is said.
PREFIX = "space prefix"
#: Whether a text begins with a BOS; templates besides the default, by name; for each token the types that it may have in GGUF.
BOS, NAMED, FLAGS = "BOS is added", "named chat templates", "kinds of tokens"
#: tokenizer.ggml.token_type (llama.h, `llama_token_type`), and those of a token that nothing is said of.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_PLAIN = (NORMAL, UNKNOWN, UNUSED, BYTE)
#: Texts that end an answer: llama.cpp makes control tokens of them whatever their type is (src/llama-vocab.cpp, special_eog_ids).
_ENDS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
    "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
    "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
})  # fmt: skip
#: Fact: GGUF's key, APR's.
PLACES = {
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


def facts_of_directory(view: View) -> Facts:
    """The facts of a Hugging Face directory, or of what stands beside a file. Raises UnreadableError."""
    tokenizer = read_json(view.path, "tokenizer.json")
    chat = templates(view)
    found: Facts = {"chat template": chat.pop(DEFAULT, None), NAMED: chat or None}
    if tokenizer is not None:
        found |= _of_tokenizer(tokenizer, beside(view.path, "tokenizer.json"))
        found |= {BOS: adds_bos(tokenizer), FLAGS: _flags(tokenizer, found["tokens"])}
    return found | special_ids(view, found.get("tokens") or [])


def _flags(tokenizer: Mapping[str, Any], tokens: list[Any]) -> dict[int, tuple[int, ...]]:
    """For each token that is no plain one, the types that llama.cpp's converter may give it."""
    found: dict[int, tuple[int, ...]] = {}
    for place, (text, special) in added(tokenizer).items():
        if special:
            found[place] = (CONTROL, UNKNOWN)
        else:
            found[place] = (USER_DEFINED, CONTROL) if _looks_special(text) else (USER_DEFINED,)
    return {place: found.get(place, _PLAIN) for place in range(len(tokens))}


def loaded(text: Any, kind: int) -> tuple[int, ...]:
    """The type of a token in a GGUF file, and what llama.cpp makes of it when it loads the file."""
    return (kind, CONTROL) if text in _ENDS and kind != CONTROL else (kind,)


def _looks_special(text: str) -> bool:
    """Texts that llama.cpp takes for control tokens whatever tokenizer.json says of them."""
    ends = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))
    return text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        text.startswith(first) and text.endswith(last) for first, last in ends
    )


def _of_tokenizer(tokenizer: Mapping[str, Any], file: Path | None) -> Facts:
    """The parts of tokenizer.json, each of which may be of any type in a file of a stranger. Raises UnreadableError."""
    model = _part(tokenizer, "model", dict, file)
    if model is None or model.get("vocab") is None:
        raise UnreadableError("it has no model with a vocabulary", file=file)
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        pairs = [(index, token) for token, index in vocabulary.items()]
    else:
        rows = _part(model, "vocab", list, file) or []
        pairs = [(index, row[0] if isinstance(row, list) and row else row) for index, row in enumerate(rows)]
    for token in _part(tokenizer, "added_tokens", list, file) or []:
        if not isinstance(token, dict):
            raise UnreadableError(f"an added token is {token!r:.40}, no object", file=file)
        pairs.append((token.get("id"), token.get("content")))
    most = _HOLES * len(pairs) + _FREE
    for index, token in pairs:
        if type(index) is not int or not 0 <= index < most:
            raise UnreadableError(f"the id of {token!r:.40} is {index!r:.40}, of {len(pairs):,} tokens", file=file)
    by_id = dict(pairs)
    tokens = [by_id.get(index) for index in range(max(by_id, default=-1) + 1)]
    # SentencePiece has scores in their place: its merges are made of them, and nobody else has them.
    merges = None if model.get("byte_fallback") else _part(model, "merges", list, file)
    spelled = merges and [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in merges]
    kind = "llama" if model.get("byte_fallback") else "gpt2" if model.get("type") == "BPE" else None
    found = {"tokenizer": kind, "pre-tokenizer": _pre_tokenizer(tokenizer), "tokens": tokens, "merges": spelled}
    return found | ({PREFIX: False} if kind == "llama" and not _prefixed(tokenizer) else {})


def _prefixed(tokenizer: Mapping[str, Any]) -> bool:
    """Whether some step puts a space before a text."""
    steps: list[Any] = []
    for key, parts in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        whole = tokenizer.get(key)
        inner = whole.get(parts) if isinstance(whole, dict) else None
        steps += [whole, *(inner if isinstance(inner, list) else ())]
    return any(_puts_a_space(step) for step in steps if isinstance(step, dict))


def _puts_a_space(step: Mapping[str, Any]) -> bool:
    if step.get("type") == "Metaspace":
        return step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space") is not False
    return step.get("type") == "Prepend"


#: Ids may have holes between them: so many times the tokens that there are, and so many more.
_HOLES, _FREE = 16, 1 << 16


def _part(whole: Mapping[str, Any], key: str, kind: type, file: Path | None) -> Any:
    """A part of an object, of that type or null. Raises UnreadableError."""
    value = whole.get(key)
    if value is not None and not isinstance(value, kind):
        raise UnreadableError(f"{key} is {type(value).__name__} {value!r:.40}, not a {kind.__name__}", file=file)
    return value


def _pre_tokenizer(tokenizer: Mapping[str, Any]) -> str | None:
    """GGUF's name of the steps, for the three that a sample has."""
    whole = tokenizer.get("pre_tokenizer")
    if isinstance(whole, dict) and whole.get("type") == "ByteLevel" and whole.get("use_regex", True) is True:
        return "gpt-2"
    steps = whole.get("pretokenizers") if isinstance(whole, dict) else None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return None
    kinds = [step.get("type") for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    split = steps[0].get("pattern") if kinds == ["Split", "ByteLevel"] else None
    return "qwen2" if isinstance(split, dict) and split.get("Regex") == QWEN2_PATTERN else None
