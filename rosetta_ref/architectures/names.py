"""Which architecture a file is of: by its config.json, or by its GGUF metadata.

An architecture here is GGUF's: `llama` is what llama, mistral and smollm all are in GGUF. What is known of each is a record
(`record`), a file in `models/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.models import MODELS
from rosetta_ref.architectures.record import KEEP_HINT, Model, UnmappedTensorError
from rosetta_ref.errors import RosettaError

__all__ = [
    "ARCHITECTURES", "KEEP_HINT", "ROPE_FREQS", "ExpertsError", "UnknownArchitectureError", "UnmappedTensorError",
    "architecture_of_config", "architecture_of_metadata", "unknown",
]  # fmt: skip

#: Made from the configuration on the way to GGUF; a Hugging Face directory has no such tensor.
ROPE_FREQS = "rope_freqs.weight"
#: Every architecture that is known, by GGUF's name.
ARCHITECTURES = MODELS


class UnknownArchitectureError(RosettaError):
    """Names and numbers can be translated only for known architectures."""


class ExpertsError(RosettaError):
    """A mixture of experts has tensors that the mapping of its dense namesake does not know."""


def unknown(what: str, *, file: str | None = None) -> UnknownArchitectureError:
    """The refusal of an architecture, which names the known ones."""
    return UnknownArchitectureError(f"{what}; known are {', '.join(sorted(MODELS))}", file=file, hint=KEEP_HINT)


def architecture_of_config(config: Mapping[str, Any]) -> Model:
    """The architecture of a config.json. Raises UnknownArchitectureError or ExpertsError."""
    classes = config.get("architectures")
    classes = [] if classes is None else classes
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise unknown(f"architectures is {shown(classes)}", file="config.json")
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        if config.get(key):
            raise ExpertsError(f"{key} is {shown(config[key])}", file="config.json", hint=KEEP_HINT)
    for known in MODELS.values():
        if any(name in known.classes for name in classes) or (
            not classes and config.get("model_type") in known.model_types
        ):
            return known
    raise unknown(shown(classes or config.get("model_type")), file="config.json")


def architecture_of_metadata(metadata: Mapping[str, Any]) -> Model:
    """The architecture of GGUF metadata. Raises UnknownArchitectureError or ExpertsError."""
    value = metadata.get("general.architecture")
    name = value.plain() if value is not None else None
    if not isinstance(name, str) or name not in MODELS:
        raise unknown(f"general.architecture is {shown(name)}")
    experts = metadata.get(f"{name}.expert_count")
    if experts is not None and experts.plain():
        raise ExpertsError(f"{name}.expert_count is {shown(experts.plain())}", hint=KEEP_HINT)
    return MODELS[name]
