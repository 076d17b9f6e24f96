"""Which tensors a model of an architecture has, and of which shapes: all of them, or it is no model."""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import Keys
from rosetta_ref.architectures.names import KEEP_HINT, ROPE_FREQS
from rosetta_ref.architectures.record import Model, Role
from rosetta_ref.archive import Tensor, Value
from rosetta_ref.errors import RosettaError


class MissingTensorError(RosettaError):
    """A model has every tensor of its architecture, in every layer."""


class LayerCountError(RosettaError):
    """The layers are those that the metadata counts."""


class TokenCountError(RosettaError):
    """There are no more tokens than the embedding has rows."""


class TensorShapeError(RosettaError):
    """The shapes of tensors follow from the model's numbers."""


def require_complete(tensors: Mapping[str, Tensor], metadata: Mapping[str, Value], model: Model) -> None:
    """Check tensors by their GGUF names.

    Raises UnmappedTensorError, LayerCountError, MissingTensorError, TensorShapeError or TokenCountError.
    """
    for name in tensors:
        if name != ROPE_FREQS:
            model.to_hf(name)
    keys = Keys(metadata, model.name)
    count = keys.need("block_count")
    layers = {int(name.split(".")[1]) for name in tensors if name.startswith("blk.")}
    if (len(layers), max(layers, default=-1)) != (count, count - 1):
        up_to = f"{len(layers)}, up to layer {max(layers)}," if layers else "none"
        raise LayerCountError(f"{count} layers are counted; {up_to} have tensors")
    for name in needed(model, count):
        if name not in tensors:
            raise MissingTensorError("it is not there", tensor=name, hint=KEEP_HINT)
    embedding = tensors["token_embd.weight"]
    require_rows(metadata, embedding)
    sizes = sizes_of(keys) | {"V": embedding.shape[0] if embedding.shape else 0}
    for name, tensor in tensors.items():
        role = model.role(name)
        expected = None if role is None else shape_of(role, name.rpartition(".")[2], sizes)
        if expected is not None and tensor.shape != expected:
            raise TensorShapeError(f"{list(tensor.shape)}, expected {list(expected)}", file=tensor.file, tensor=name)


def require_rows(metadata: Mapping[str, Value], embedding: Tensor) -> None:
    """Raise TokenCountError where a token has no row; llama.cpp loads no such file (token_embd.weight has wrong shape)."""
    tokens, rows = metadata.get("tokenizer.ggml.tokens"), embedding.shape[0] if embedding.shape else 0
    if tokens is not None and tokens.item is not None and len(tokens.data) > rows:
        problem = f"{rows} rows, and tokenizer.ggml.tokens has {len(tokens.data)} tokens"
        raise TokenCountError(problem, file=embedding.file, tensor=embedding.name)


def needed(model: Model, layers: int) -> list[str]:
    """The GGUF names of the tensors that a model of so many layers always has."""
    names = [f"{role.gguf}.weight" for role in model.once if not role.optional]
    for layer in range(layers):
        names += [f"blk.{layer}.{role.gguf}.weight" for role in model.layer if not role.optional]
        names += [f"blk.{layer}.{role.gguf}.bias" for role in model.layer if role.bias == "always"]
    return names


def sizes_of(keys: Keys) -> dict[str, int]:
    """The numbers behind the letters of a record, but for V; H and G are the heads of q and of k. Raises what `Keys` raises."""
    (queries, groups), size = keys.heads, keys.head_dim
    return {
        "E": keys.need("embedding_length"), "F": keys.need("feed_forward_length"), "D": size,
        "Q": queries * size, "K": groups * size, "H": queries, "G": groups,
    }  # fmt: skip


def shape_of(role: Role, kind: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a role's weight or bias."""
    letters = role.shape if kind == "weight" else role.shape[:1]
    return tuple(sizes[letter] for letter in letters)
