"""Whether configuration and tokenizer arrive: F-CONV-META-001, fact by fact, each in the words of the format that it stands in.

A fact is asked for where the target's format has a place for it. More than that is allowed. What describes the encoding (file type,
alignment) is not compared. Between files of one format every typed key must come back (`compare_keys`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats.apr.metadata import spellings
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.judge import mapping, rope
from rosetta_ref.gate.judge.container import of as container_of
from rosetta_ref.gate.judge.elsewhere import same
from rosetta_ref.gate.judge.facts import Asked, judge_facts, short
from rosetta_ref.gate.judge.loader_kinds import wrong_kinds
from rosetta_ref.gate.judge.mapping import Number
from rosetta_ref.gate.judge.model import NONE_AT_ZERO, PATTERN, WINDOW, Model
from rosetta_ref.gate.judge.silence import taken
from rosetta_ref.gate.judge.tokenizer import BOS, FLAGS, NAMED, PREFIX, UNUSED, tokenizer
from rosetta_ref.gate.judge.view import UnreadableError, View

#: Of the encoding or of one writing of a file. APR's rope_type says how rows stand, and is judged by them.
_OF_THE_FILE = (
    "general.file_type", "general.quantization_version", "general.alignment", "split.no", "split.count",
    "split.tensors.count", "rope_type",
)  # fmt: skip
#: general.file_type: the type that most matrices of such a file are of (ggml/docs/gguf.md).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K", 12: "Q3_K", 13: "Q3_K",
    14: "Q4_K", 15: "Q4_K", 16: "Q5_K", 17: "Q5_K", 18: "Q6_K", 32: "BF16",
}  # fmt: skip


#: Facts that a Hugging Face directory has no place for.
NO_PLACE = ("scores", "token types")


def judge_metadata(source: View, target: View) -> Asked:
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
    if of(target.format).has_companions and target.config is None:
        asked.wrong("config-missing", "there is no config.json")
    target = target.read_as(source)
    _numbers(asked, source, target)
    _implied(asked, source, target)
    _head(asked, source, target)
    _biases(asked, source, target)
    _rope(asked, source, target)
    judge_encoding(asked, target)
    try:
        theirs = tokenizer(target)
    except UnreadableError as error:
        asked.wrong("tokenizer-broken", f"it cannot be read: {error}")
        theirs = {}
    by_name = of(target.format).has_companions
    no_place = [*NO_PLACE] if by_name else [PREFIX] if target.format == "apr" else []
    if by_name and "tokens" in theirs and "pre-tokenizer" not in theirs:
        no_place.append("pre-tokenizer")  # tokenizer.json has steps for it, not all of which have a name
    ours = tokenizer(source)
    if target.format == "apr" or "tokens" not in theirs:
        no_place += [BOS, NAMED, FLAGS]
    if by_name and "tokens" in ours:
        ours["tokens"] = _used(ours["tokens"], ours.get("token types"))
    judge_facts(asked, {name: value for name, value in ours.items() if name not in no_place}, theirs)
    return asked


def _spelled_once(asked: Asked, target: View) -> None:
    """A number of an APR file stands under one key. Beside an alias, even a null, the engine realizar drops all metadata."""
    keys = target.archive.metadata
    named = dict.fromkeys(row.apr for row in mapping.number_rows(target.reading) if row.apr)
    found = [there for name in named if (there := [key for key in spellings(name) if key in keys])]
    asked.expected += max(len(found), 1)
    asked.compared += max(len(found), 1)
    twice = [" and ".join(map(repr, there)) for there in found if len(there) > 1]
    if twice:
        asked.wrong("key-twice", f"{len(twice)} numbers stand under more than one key: {', '.join(twice)}")


def _numbers(asked: Asked, source: View, target: View) -> None:
    """What a loader computes with, before and after: silence means something in either format, and not the same."""
    ours, theirs = taken(source), taken(target)
    for row, value in ours.items():
        name = container_of(target.format).word(row)
        if not name or (value is None and row.gguf not in _switched_on(theirs)):
            continue  # the format has no place for it, or neither has any of it
        asked.expected += 1
        here, stated = theirs.get(row), target.numbers.get(row)
        padded = row.gguf == "vocab_size" and isinstance(here, int) and isinstance(value, int) and here > value
        asked.compared += stated is not None or _equal(value, here) or row.gguf == "vocab_size"
        if _equal(value, here) or padded or (here is None and row.gguf == "vocab_size"):
            continue
        if stated is not None:
            asked.wrong("number-wrong", f"{name} is {stated!r}, and was {_said(value)}")
        else:
            means = "" if here is None else f", which means {here!r}"
            asked.wrong("number-lost", f"{name} is not there{means}; it is {_said(value)}")


def _switched_on(theirs: dict[Number, Any]) -> set[str]:
    """Numbers that say none where they are absent, and are there."""
    return {row.gguf for row, value in theirs.items() if row.gguf in NONE_AT_ZERO and value is not None}


def _said(value: Any) -> str:
    return "none" if value is None else repr(value)


def _implied(asked: Asked, source: View, target: View) -> None:
    """What config.json has to say of a model because llama.cpp computes with it, though GGUF has no key for it."""
    model = mapping.MODELS.get(source.architecture or "")
    if model is None or target.config is None or of(source.format).has_companions:
        return
    stated = {WINDOW: None} | {row.gguf: value for row, value in source.numbers.items()}
    pattern = source.archive.metadata.get(f"{model.name}.{PATTERN}")
    if isinstance(pattern, Value):
        stated[PATTERN] = pattern.plain()
    try:
        implied = model.implied(stated)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # a chain's own file may state anything, or nothing
        return
    for key, value in implied.items():
        asked.expected += 1
        asked.compared += 1
        here = target.config.get(key)
        if (_in_silence(model, key, value, stated) if here is None else here) != value:
            asked.wrong("number-wrong", f"{key} is {here!r}, and has to be {value!r}")


def _in_silence(model: Model, key: str, value: Any, stated: dict[str, Any]) -> Any:
    """What transformers takes of a key that config.json does not have: by default what is right."""
    silent = model.silent.get(key, value)
    return silent(stated) if callable(silent) else silent


def _biases(asked: Asked, source: View, target: View) -> None:
    """config.json says which matrices have biases: transformers reads no others, and makes up those that are not there."""
    model = mapping.MODELS.get(source.architecture or "")
    if model is None or target.config is None:
        return
    for key, role in model.bias_keys.items():
        asked.expected += 1
        asked.compared += 1
        there = any(name.endswith(f".{role}.bias") for name in source.tensors)
        said = target.config.get(key)
        if bool(said) != there:
            detail = f"{key} is {said!r}, and the model has {'' if there else 'no '}biases"
            asked.wrong("number-wrong", detail)


def _head(asked: Asked, source: View, target: View) -> None:
    """Loaders take the embedding for the head where they are told to, whatever there is; where nothing is said, they differ.

    A head that is made up is `invented`, and one that APR lost is `lost`.
    """
    places = {
        "apr": ("tied_embeddings", target.archive.metadata),
        "safetensors": ("tie_word_embeddings", target.config or {}),
    }
    key, stated = places.get(target.format, ("", {}))
    tied = stated.get(key)
    model = mapping.MODELS.get(source.architecture or "")
    if tied is None and model is not None and target.config is not None:
        tied = model.tied  # what transformers takes
    if not isinstance(tied, bool):
        return
    asked.expected += 1
    asked.compared += 1
    head, embedding = (source.tensors.get(name) for name in (mapping.HEAD, mapping.EMBEDDING))
    own = head is not None and embedding is not None and not same(head.tensor, embedding.tensor)
    if tied and own:
        asked.wrong("head-ignored", f"{key} is {_stated(stated, key)}, and the model has a head of its own")
    elif not tied and mapping.HEAD not in target.tensors and (head is None or of(target.format).has_companions):
        asked.wrong("head-missing", f"{key} is {_stated(stated, key)}, and there is no head")


def _stated(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key]) if key in config else "not there"


def _rope(asked: Asked, source: View, target: View) -> None:
    """Scaling, key by key, and the factors that llama3 makes of it; APR has no place for either."""
    if target.format == "apr":
        return
    if source.format != "apr":
        ours, theirs = rope.scaling_of(source), rope.scaling_of(target)
        for key in ours | theirs:
            asked.expected += 1
            asked.compared += 1
            if key not in theirs:
                asked.wrong("scaling-lost", f"{key} of the rope scaling is not there; it is {ours[key]!r}")
            elif key not in ours or not _equal(ours[key], theirs[key]):
                asked.wrong("scaling-wrong", f"{key} of the rope scaling is {theirs[key]!r}, and was {ours.get(key)!r}")
    factors, found = rope.factors_of(source), rope.factors_of(target)
    if factors is None and found is None:
        return
    asked.expected += 1
    asked.compared += 1
    if found is None or factors is None:
        what = "are not there" if found is None else "were made up"
        asked.wrong(
            "scaling-lost" if found is None else "scaling-wrong", f"rope_freqs: the factors of the frequencies {what}"
        )
    elif factors.shape != found.shape or not np.allclose(factors, found, rtol=1e-6, atol=0):
        asked.wrong(
            "scaling-wrong",
            f"rope_freqs: the factors of the frequencies, {short(factors.tolist())} became {short(found.tolist())}",
        )


def judge_encoding(asked: Asked, target: View) -> None:
    """What a GGUF file says of itself: general.file_type is a type of its matrices, keys are of the kinds that loaders take."""
    metadata = target.archive.metadata if target.format == "gguf" else {}
    for key, wrong in wrong_kinds(metadata, target.architecture):
        asked.expected += 1
        asked.compared += 1
        if wrong:
            asked.wrong("kind-wrong", f"{key} {wrong}")
    stated = metadata.get("general.file_type")
    number = stated.plain() if stated is not None else None
    named = _FILE_TYPES.get(number % 1024) if isinstance(number, int) else None
    matrices = Counter(seen.tensor.type.name for seen in target.tensors.values() if len(seen.tensor.shape) > 1)
    if named is not None and matrices:
        asked.expected += 1
        asked.compared += 1
        if named not in matrices or (number == 0 and len(matrices) > 1):  # 0 is "all F32", others are "mostly"
            there = ", ".join(matrices)
            asked.wrong("file-type-wrong", f"general.file_type is {number}, {named}, and the matrices are {there}")


def _equal(one: Any, other: Any) -> bool:
    """As float32, which is what loaders compute with and GGUF stores."""
    if not all(isinstance(value, (int, float)) for value in (one, other)):
        return bool(one == other)
    try:
        with np.errstate(all="ignore"):
            return bool(np.float32(one) == np.float32(other))
    except OverflowError:  # an integer that no float holds
        return bool(one == other)


def _used(tokens: list[Any], types: Any) -> list[Any]:
    """Tokens without those that stand for none: tokenizer.json need not have them."""
    unused = [place for place, kind in enumerate(types) if kind == UNUSED] if isinstance(types, list) else []
    made = [*tokens]
    for place in unused:
        made[place : place + 1] = [None] * len(made[place : place + 1])
    while made and made[-1] is None:
        made.pop()
    return made


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
        return f"{value.kind.name}{item} {short(value.plain())}"
    return short(json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value)
