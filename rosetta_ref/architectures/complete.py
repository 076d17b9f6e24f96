"""Which tensors a model of an architecture has, and of which shapes: all of them, or it is no model.

The two architectures here share their parts. Shapes are logical, row-major, in terms of the model's numbers: V tokens, E hidden
size, F feed-forward size, Q rows of all query heads, K rows of all key (and value) heads.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import Keys
from rosetta_ref.architectures.names import KEEP_HINT, ROPE_FREQS, Architecture
from rosetta_ref.archive import Tensor, Value
from rosetta_ref.errors import RosettaError

_ONCE = {"token_embd": "VE", "output_norm": "E"}
_PER_LAYER = {
    "attn_norm": "E", "attn_q": "QE", "attn_k": "KE", "attn_v": "KE", "attn_output": "EQ",
    "ffn_norm": "E", "ffn_gate": "FE", "ffn_up": "FE", "ffn_down": "EF",
}  # fmt: skip
#: Tied to the embedding where it is absent.
_HEAD = {"output": "VE"}


class MissingTensorError(RosettaError):
    """A model has every tensor of its architecture, in every layer."""


class LayerCountError(RosettaError):
    """The layers are those that the metadata counts."""


class TensorShapeError(RosettaError):
    """The shapes of tensors follow from the model's numbers."""


def require_complete(tensors: Mapping[str, Tensor], metadata: Mapping[str, Value], architecture: Architecture) -> None:
    """Check tensors by their GGUF names. Raises UnmappedTensorError, LayerCountError, MissingTensorError or TensorShapeError."""
    for name in tensors:
        if name != ROPE_FREQS:
            architecture.to_hf(name)
    keys = Keys(metadata, architecture.name)
    count = keys.need("block_count")
    layers = {int(name.split(".")[1]) for name in tensors if name.startswith("blk.")}
    if (len(layers), max(layers, default=-1)) != (count, count - 1):
        up_to = f"{len(layers)}, up to layer {max(layers)}," if layers else "none"
        raise LayerCountError(f"{count} layers are counted; {up_to} have tensors")
    names = [f"{part}.weight" for part in _ONCE]
    for layer in range(count):
        names += [f"blk.{layer}.{part}.weight" for part in _PER_LAYER]
        names += [f"blk.{layer}.{part}.bias" for part in architecture.biases]
    for name in names:
        if name not in tensors:
            raise MissingTensorError("it is not there", tensor=name, hint=KEEP_HINT)
    sizes = _sizes(keys, tensors["token_embd.weight"])
    for name, tensor in tensors.items():
        expected = shape_of(name, sizes)
        if expected is not None and tensor.shape != expected:
            raise TensorShapeError(f"{list(tensor.shape)}, expected {list(expected)}", file=tensor.file, tensor=name)


def _sizes(keys: Keys, embedding: Tensor) -> dict[str, int]:
    (queries, groups), size = keys.heads, keys.head_dim
    return {
        "V": embedding.shape[0] if embedding.shape else 0,
        "E": keys.need("embedding_length"),
        "F": keys.need("feed_forward_length"),
        "Q": queries * size,
        "K": groups * size,
    }


def shape_of(name: str, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape of the tensor of that GGUF name; None for a name that is not in the tables."""
    part, kind = name.split(".")[-2:] if name.count(".") else (name, "")
    table = _PER_LAYER if name.startswith("blk.") else _ONCE | _HEAD
    if part not in table or name == ROPE_FREQS:
        return None
    letters = table[part] if kind == "weight" else table[part][:1]
    return tuple(sizes[letter] for letter in letters)
