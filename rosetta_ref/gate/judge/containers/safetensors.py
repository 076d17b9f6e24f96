"""A Hugging Face directory: config.json and the tokenizer's files. Source: transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.config import in_one_spelling, scaling_table
from rosetta_ref.gate.judge.mapping import MODELS, Number
from rosetta_ref.gate.judge.tokenizer import facts_of_directory
from rosetta_ref.gate.judge.view import UnreadableError, View, beside, named_architecture, read_json

#: Whether it has Hugging Face's names and numbers, or GGUF's.
AT_HOME = (True,)


def look(view: View) -> None:
    """config.json, and the architecture that it names."""
    config = read_json(view.path, "config.json")
    if config is None:
        return
    view.config = config
    named, rope = config.get("architectures") or [], config.get("rope_parameters") or {}
    for value, kind, key in ((named, list, "architectures"), (rope, dict, "rope_parameters")):
        if not isinstance(value, kind):
            words = f"{key} is {type(value).__name__} {value!r:.40}, not a {kind.__name__}"
            raise UnreadableError(words, file=beside(view.path, "config.json"))
    view.architecture = named_architecture([*named, config.get("model_type")])
    if view.architecture in MODELS and (within := MODELS[view.architecture].within) is not None:
        view.inside = within.hugging_face in named or (not named and config.get("model_type") == within.model_type)
        view.config = _with_text_config(view, config)


def _with_text_config(view: View, config: dict[str, Any]) -> dict[str, Any]:
    """What is said inside counts, as in llama.cpp's converter, but of special tokens what is said outside (gguf-py, vocab.py)."""
    inner = config.get("text_config", {})
    if not isinstance(inner, dict):
        words = f"text_config is {type(inner).__name__} {inner!r:.40}, not a dict"
        raise UnreadableError(words, file=beside(view.path, "config.json"))
    ids = {key: config[key] for _, key, _ in mapping.SPECIAL_IDS if config.get(key) is not None}
    return config | inner | ids


def numbers(view: View, rows: Sequence[Number]) -> dict[Number, Any]:
    """By the keys of config.json."""
    stated = in_one_spelling(view.config or {})
    found = {row: stated.get(row.hugging_face) for row in rows}
    return {row: value for row, value in found.items() if value is not None}


def word(row: Number) -> str:
    """What a number is called there."""
    return row.hugging_face


def rows(view: View) -> int:
    """Halves."""
    return mapping.HALVES


def stated_rows(view: View) -> int | None:
    """No file says it."""
    return None


def scaling(view: View) -> dict[str, Any]:
    """By the table of config.json."""
    table = scaling_table(view.config or {})
    found = {theirs: table.get(theirs) for _, theirs in mapping.SCALING}
    return found | {"rope_type": table.get("rope_type", table.get("type"))}


def facts(view: View) -> dict[str, Any]:
    """By tokenizer.json and its configuration."""
    return facts_of_directory(view)
