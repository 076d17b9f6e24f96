"""Which tensors are quantised when one type is asked for, by the rule of convert_hf_to_gguf.

Norms and other 1-D tensors stay as they are, and so does what is not a float; rows that are no whole number of blocks become F16.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.huggingface import FILE_TYPES
from rosetta_ref.architectures.names import ROPE_FREQS
from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.quant import TYPES

_FLOATS = ("F32", "F16", "BF16")


def encoded_type(tensor: Tensor, wanted: str) -> str:
    """The type a tensor gets when `wanted` is asked for."""
    keeps = tensor.type.name not in _FLOATS or len(tensor.shape) < 2 or tensor.name == ROPE_FREQS
    if keeps or tensor.name.endswith("_norm.weight"):
        return tensor.type.name
    kind = TYPES[wanted]
    # APR's own types run over the flattened tensor: no row is too short for them.
    ragged = kind.elements > 0 and not kind.padded and tensor.shape[-1] % kind.elements
    return "F16" if ragged else wanted


def metadata_for(wanted: str, metadata: Mapping[str, Value]) -> dict[str, Value]:
    """The keys that describe the encoding, for that type."""
    if "general.file_type" not in metadata or wanted not in FILE_TYPES:
        return {}
    made = {"general.file_type": Value.scalar(Kind.U32, FILE_TYPES[wanted])}
    if wanted not in _FLOATS:
        made["general.quantization_version"] = Value.scalar(Kind.U32, 2)
    return made
