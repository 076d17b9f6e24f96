"""What tokenizer.json adds around a text: tokens in front of it and behind it.

Only the `post_processor` decides: transformers 5.24 takes `add_bos_token` and `add_eos_token` out of
tokenizer_config.json where there is a tokenizer.json (tokenization_utils_base.py, `_from_pretrained`). Each kind of step that adds
tokens is here; the others, ByteLevel among them, only move offsets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts
from rosetta_ref.architectures.tokenizer.vocabulary import BrokenTokenizerFileError, Json

#: A token's text and its id.
Token = tuple[str, int]

#: Steps that say what they add as one token each: the keys of what comes in front and behind.
_PAIRS = {"BertProcessing": ("cls", "sep"), "RobertaProcessing": ("cls", "sep")}
_PLACE = "post_processor"
_HINT = "--keep-names carries tensors as stored."


class SeveralAddError(BrokenTokenizerFileError):
    """One step of the post_processor adds tokens to a text: what `tokenizers` makes of two is nothing that GGUF can say."""


@dataclass
class Around:
    """The tokens in front of a text and behind it, in order; `separates` is whether a pair of texts is parted by one, too."""

    front: list[Token] = field(default_factory=list)
    back: list[Token] = field(default_factory=list)
    separates: bool = False


def around(tokenizer: Json) -> Around:
    """What is added. Raises BrokenTokenizerFileError."""
    found = Around()
    for step in _steps(tokenizer.get("post_processor")):
        kind = step.get("type")
        if kind == "TemplateProcessing":
            front, back = _of_template(step)
        elif kind in _PAIRS:
            front, back = ([_of_pair(step, key)] for key in _PAIRS[kind])
            found.separates = found.separates or kind == "RobertaProcessing"
        else:
            continue
        if (front or back) and (found.front or found.back):
            raise SeveralAddError("post_processor has two steps that add tokens", file=parts.TOKENIZER, hint=_HINT)
        found.front, found.back = found.front or front, found.back or back
    return found


def _steps(value: Any) -> list[Json]:
    """The steps, those of a sequence within a sequence too."""
    found: list[Json] = []
    for step in parts.steps(value, _PLACE, "processors"):
        found += _steps(step) if step is not value and "processors" in step else [step]
    return found


def _of_template(step: Json) -> tuple[list[Token], list[Token]]:
    known = parts.table(step.get("special_tokens"), f"{_PLACE}.special_tokens")
    sides: tuple[list[Token], list[Token]] = ([], [])
    side = 0
    for item in _pieces(step.get("single")):
        place = parts.table(item.get("SpecialToken"), f"{_PLACE}.single.SpecialToken")
        if "SpecialToken" not in item:
            side = 1
        elif place.get("id") is not None:
            sides[side].extend(_of_entry(parts.text(place["id"], f"{_PLACE}.single.SpecialToken.id"), known))
    return sides


def _pieces(single: Any) -> list[Json]:
    """The parts of a template: a list, or a text such as "<s> $A </s>"."""
    if not isinstance(single, str):
        return parts.tables(single, f"{_PLACE}.single")
    words = (word.rpartition(":")[0] if word.rpartition(":")[2].isdigit() else word for word in single.split())
    return [{"Sequence": {}} if word.startswith("$") else {"SpecialToken": {"id": word}} for word in words]


def _of_entry(text: str, known: Json) -> list[Token]:
    """The tokens that a name in a template stands for."""
    place = f"{_PLACE}.special_tokens"
    entry = parts.table(known.get(text), place)
    ids, tokens = parts.array(entry.get("ids"), f"{place}.ids"), parts.array(entry.get("tokens"), f"{place}.tokens")
    if not all(type(index) is int for index in ids):
        raise BrokenTokenizerFileError(f"{place}.ids is {shown(ids)}", file=parts.TOKENIZER)
    if len(tokens) != len(ids) or not all(isinstance(token, str) for token in tokens):
        tokens = [text] * len(ids)
    return list(zip(tokens, ids, strict=True))


def _of_pair(step: Json, key: str) -> Token:
    pair = parts.array(step.get(key), f"{_PLACE}.{key}")
    if [type(one) for one in pair] != [str, int]:
        raise BrokenTokenizerFileError(f"{_PLACE}.{key} is {shown(pair)}", file=parts.TOKENIZER)
    return pair[0], pair[1]
