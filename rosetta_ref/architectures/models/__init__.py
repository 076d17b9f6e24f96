"""A record for each architecture, a module each: a new architecture is a new file here, and nobody else has to know.

Each was typed from transformers' configuration and modeling files and llama.cpp's converter (`conversion/`). The judge
(`gate/judge/models`) and the forward pass (`inference/models`) have readings of their own, typed from other sources.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from rosetta_ref.architectures.record import Model


def _simplest_first(model: Model) -> tuple[int, str]:
    parts = len(model.once) + len(model.layer)
    return parts + sum(role.bias == "always" for role in model.layer), model.name


def _found() -> dict[str, Model]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    records: list[Model] = [import_module(f"{__name__}.{name}").MODEL for name in names]
    return {model.name: model for model in sorted(records, key=_simplest_first)}


#: Every architecture that is known, by GGUF's name; those with the fewest parts first.
MODELS = _found()
