"""What config.json and APR's metadata say of a GGUF model, each key a claim that can be checked: the other side of `mapping`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.judge.mapping import (
    HEAD,
    SCALING,
    SPECIAL_IDS,
    TOKENIZER,
    architecture_of,
    number,
    numbers_of,
    shortest,
)
from rosetta_ref.gate.judge.model import PATTERN, WINDOW
from rosetta_ref.gate.judge.models import of


def config_of(metadata: Mapping[str, Value], tensors: Collection[str] = ()) -> dict[str, Any]:
    """config.json of a GGUF model, each key a claim that can be checked.

    What only its tensors say (whether the head is tied, where there are biases) is there when their GGUF names are given.
    Raises UnknownModelError for an architecture that has no record.
    """
    model = of(architecture_of(metadata) or "")
    config = {"architectures": [model.hugging_face], "model_type": model.model_type, **model.config}
    numbers = numbers_of(metadata)
    made: dict[str, Any] = config | {row.hugging_face: value for row, value in numbers.items()}
    pattern = number(metadata, PATTERN)
    stated = {WINDOW: None} | {row.gguf: value for row, value in numbers.items()}
    made |= model.implied(stated | ({} if pattern is None else {PATTERN: pattern}))
    made |= {theirs: metadata[ours].plain() for ours, theirs, _ in SPECIAL_IDS if ours in metadata}
    if scaling := _scaling(metadata):
        made["rope_scaling"] = scaling
    if tensors:
        made["tie_word_embeddings"] = HEAD not in tensors
        for key, role in model.bias_keys.items():
            made[key] = any(name.endswith(f"{role}.bias") for name in tensors)
    return made


def _scaling(metadata: Mapping[str, Value]) -> dict[str, Any]:
    if number(metadata, "rope.scaling.type") in (None, "none"):
        return {}
    values = {theirs: number(metadata, f"rope.scaling.{ours}") for ours, theirs in SCALING}
    return {key: value for key, value in values.items() if value is not None}


def apr_metadata_of(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """APR's own keys of a GGUF model: what aprender computes with, and the tokenizer.

    Raises UnknownModelError for an architecture that has no record.
    """
    architecture = architecture_of(metadata) or ""
    model = of(architecture)
    made: dict[str, Any] = {
        "model_type": model.model_type,
        "architecture": architecture,
        "hf_architecture": model.hugging_face,
        "rope_type": model.apr_rope_type,
    }
    if "general.name" in metadata:
        made["name"] = metadata["general.name"].plain()
    made |= {row.apr: value for row, value in numbers_of(metadata).items() if row.apr}
    for ours, theirs in TOKENIZER + tuple((ours, theirs) for ours, _, theirs in SPECIAL_IDS):
        if ours in metadata:
            made[theirs] = _plain(metadata[ours])
    if "tokenizer.vocabulary" in made:
        made["tokenizer.vocab_size"] = len(made["tokenizer.vocabulary"])
    return made


def _plain(value: Value) -> Any:
    if value.item is Kind.F32:
        return [float(str(item)) for item in value.data]
    return shortest(value)
