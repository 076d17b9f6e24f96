"""The architectures that the forward pass computes, one module each, which is found by being here.

To add one, write `NAME.py` with a record `MODEL`; read `qwen2` first. A module that is no architecture does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.inference.architecture import Architecture, NoForwardPassError


def _found() -> dict[str, Architecture]:
    made: dict[str, Architecture] = {}
    for module in sorted(iter_modules(__path__), key=lambda one: one.name):
        record: Architecture = import_module(f"{__name__}.{module.name}").MODEL
        made[record.name] = record
    return made


#: Every record by GGUF's name of the architecture.
MODELS: Mapping[str, Architecture] = _found()
_WORDS = {word: record for record in MODELS.values() for word in record.words}


def by_gguf(name: Any) -> Architecture:
    """The record that `general.architecture` names. Raises NoForwardPassError, which names the known ones."""
    if not isinstance(name, str) or name not in MODELS:
        raise NoForwardPassError(f"general.architecture is {shown(name)}, {_known()}")
    return MODELS[name]


def by_word(word: Any) -> Architecture:
    """The record of what config.json or an APR file calls an architecture. Raises NoForwardPassError with those there are."""
    found = _WORDS.get(word.lower()) if isinstance(word, str) else None
    if found is None:
        raise NoForwardPassError(f"the architecture is {shown(word)}, {_known()}")
    return found


def _known() -> str:
    return f"and those that are computed are {', '.join(MODELS)}"
