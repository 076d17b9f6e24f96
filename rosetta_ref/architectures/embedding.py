"""The rows of the embedding: one for each token, and those that no token uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rosetta_ref.architectures.checked import whole
from rosetta_ref.archive import Bytes, Source, Tensor
from rosetta_ref.errors import RosettaError

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


class EmbeddingShapeError(RosettaError):
    """The embedding has one row of hidden_size elements for each token of the vocabulary."""


class MissingEmbeddingError(RosettaError):
    """A model has an embedding."""


def vocabulary_of(config: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int) -> int:
    """The number of tokens, which is that of the embedding's rows. Raises MissingEmbeddingError or EmbeddingShapeError."""
    embedding = tensors.get(EMBEDDING)
    if embedding is None:
        raise MissingEmbeddingError("model.embed_tokens.weight is missing")
    stated, rows = config.get("vocab_size"), embedding.shape[0] if embedding.shape else 0
    vocabulary = rows if stated is None else whole(stated, "vocab_size", file="config.json")
    if embedding.shape != (vocabulary, width):
        raise EmbeddingShapeError(f"{list(embedding.shape)}, expected {[vocabulary, width]}", tensor=EMBEDDING)
    return vocabulary


def without_spare_rows(tensors: Mapping[str, Tensor], vocabulary: Any) -> dict[str, Tensor]:
    """The embedding and the head without the rows beyond the vocabulary, which no token uses; those that have some."""
    made = {}
    for name in (EMBEDDING, HEAD):
        tensor = tensors.get(name)
        rows = tensor.shape[0] if tensor is not None and tensor.shape else 0
        if tensor is not None and type(vocabulary) is int and 0 < vocabulary < rows:
            source = _Start(tensor.source, tensor.nbytes // rows * vocabulary)
            made[name] = replace(tensor, shape=(vocabulary, *tensor.shape[1:]), source=source)
    return made


@dataclass(frozen=True)
class _Start:
    """The first bytes of a source."""

    inner: Source
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        return self.inner.read(start, min(stop, self.nbytes))

    def release(self, start: int, stop: int) -> None:
        self.inner.release(start, min(stop, self.nbytes))
