"""What an entry claims to take. A refusal of anything else is no failure, so that no reduction may lead there."""

from __future__ import annotations

from rosetta_ref.archive import Value
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.reduce.search.input import Given, json_of_companion
from rosetta_ref.reduce.search.sizes import sizes_of


def is_claimed(given: Given, entry: Entry) -> bool:
    """Whether an input is of the types and architectures that an entry claims, and a whole model where it takes only these.

    F32 is in every model, whatever its blocks are. What an entry does not say is no claim that could be missed.
    """
    types = {tensor.type.name for tensor in given.tensors.values()}
    if entry.types is not None and not types <= {*entry.types, "F32"}:
        return False
    stated = architecture(given)
    if entry.whole_models and (sizes_of(given) is None or not has_tokenizer(given)):
        return False
    return entry.architectures is None or stated is None or stated in entry.architectures


def architecture(given: Given) -> str | None:
    """What the metadata, or config.json, call it."""
    found = given.metadata.get("general.architecture", given.metadata.get("architecture"))
    if isinstance(found, Value):
        found = found.data
    if found is None and "config.json" in given.companions:
        found = json_of_companion(given, "config.json").get("model_type")
    return found if isinstance(found, str) else None


def has_tokenizer(given: Given) -> bool:
    """Whether the words of a tokenizer are carried."""
    return any(name.startswith("tokenizer") for name in (*given.metadata, *given.companions))
