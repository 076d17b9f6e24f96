"""The architectures that the judge knows, one module each with a record `MODEL`: a new one is a new file here, and nothing else.

They are typed from gguf-py's name tables (gguf/constants.py, gguf/tensor_mapping.py), from what llama.cpp's loader asks for
(src/models/*.cpp), and from the configuration classes of transformers: neither the converter's records nor those of the forward
pass are read, so that a mistake in one of the three shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from pkgutil import iter_modules

from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge.model import Model

#: By general.architecture, in the order of their names.
MODELS: dict[str, Model] = {
    model.name: model for model in (import_module(f"{__name__}.{found.name}").MODEL for found in iter_modules(__path__))
}
#: Those with the fewest roles first: how a name is read where nothing says of which architecture it is.
PLAINEST = tuple(sorted(MODELS.values(), key=lambda model: (len(model.layer), model.name)))
#: Names that are looked at to tell an architecture by them.
_LOOKED_AT = 10_000


class UnknownModelError(RosettaError):
    """The gate makes models only of architectures that it has a record of."""


def of(architecture: str) -> Model:
    """The record of an architecture. Raises UnknownModelError."""
    if architecture not in MODELS:
        raise UnknownModelError(f"architecture {architecture!r} is none of {', '.join(MODELS)}")
    return MODELS[architecture]


def reading(architecture: str | None, names: Iterable[str]) -> Model:
    """The record that a file's names are read by: its own; for an unknown architecture the plainest that has most of its names."""
    if architecture is not None and architecture in MODELS:
        return MODELS[architecture]
    few = list(islice(names, _LOOKED_AT))
    return max(
        PLAINEST, key=lambda model: sum(model.role(name) is not None or bool(model.to_gguf(name)) for name in few)
    )
