"""A model as a forward pass sees it: numbers, and weights by what they do.

A weight is named by its role, in GGUF's words (`blk.3.attn_k.weight`), whatever the file calls it. What roles there are is for the
records of this package to say: the converter's names and row orders are what is to be judged, so nothing of them is used.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.beside import read_beside
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.inference import parameters as numbers
from rosetta_ref.inference.architecture import EMBEDDING, FACTORS, HEAD, Architecture, Role
from rosetta_ref.inference.keys import ParameterError, parse_json
from rosetta_ref.inference.meter import Meter
from rosetta_ref.inference.models import MODELS
from rosetta_ref.inference.parameters import Parameters
from rosetta_ref.inference.rope import frequencies
from rosetta_ref.quant.block import NoDecoderError
from rosetta_ref.streaming import each, value_chunks

Array = NDArray[Any]

#: Bytes of float32 up to which a model is kept in memory once it is decoded; a larger one is decoded again for each pass.
KEEP = 1 << 30


class MissingWeightError(RosettaError):
    """A forward pass needs every weight of every layer."""


class WeightShapeError(RosettaError):
    """The shapes of weights follow from the model's numbers."""


class ForeignWeightError(RosettaError):
    """A weight that the architecture has no use for would be left out of every answer."""


@dataclass
class Weight:
    """A tensor of a model, decoded when it is asked for; `pairing` is how the rows of a q or k stand within a head.

    plus_one: what is meant is 1 + w, added in float32, as transformers does and as converters do that write GGUF.
    """

    tensor: Tensor
    pairing: str
    keep: bool = True
    plus_one: bool = False
    _kept: list[Array] = field(default_factory=list, repr=False)

    def values(self, dtype: Any = np.float32) -> Array:
        """All elements, of the tensor's shape. Kept as float32, and widened for each use: that takes half the memory."""
        made = self._kept[0] if self._kept else self._decoded()
        if self.keep and not self._kept:
            self._kept.append(made)
        return made.astype(dtype, copy=False)

    def _decoded(self) -> Array:
        made = np.empty(self.tensor.count, np.float32)
        for first, chunk in value_chunks(self.tensor, out=made):
            if not np.may_share_memory(chunk, made):
                made[first : first + chunk.size] = chunk
        if self.plus_one:
            made += np.float32(1)
        return made.reshape(self.tensor.shape)

    def forget(self) -> None:
        """Let go of the decoded values."""
        self._kept.clear()


@dataclass(frozen=True)
class Model:
    """Numbers, and weights by role. A role that is absent is a bias of 0, a tied head, or plain frequencies."""

    parameters: Parameters
    weights: Mapping[str, Weight]
    path: Path | None = None
    archive: Archive | None = None
    meter: Meter = field(default_factory=Meter, compare=False)

    @property
    def record(self) -> Architecture:
        """What is known of its architecture."""
        return MODELS[self.parameters.architecture]

    @property
    def head(self) -> str:
        """The role of the output head: the embedding where it is tied."""
        return HEAD if HEAD in self.weights else EMBEDDING

    @property
    def vocabulary(self) -> int:
        """The number of tokens."""
        return self.weights[self.head].tensor.shape[0]

    def frequencies(self, *, sliding: bool = False) -> tuple[NDArray[np.float64], float]:
        """The angle per position of each pair of a head, and what cosine and sine are multiplied with. Raises ParameterError."""
        factors = self.weights.get(FACTORS)
        try:
            made = None if factors is None else factors.values(np.float64)
            return frequencies(self.parameters, made, sliding=sliding)
        except RosettaError as error:
            raise error.at(file=self.path) from error.__cause__

    def load(self) -> None:
        """Decode everything ahead, on all cores, where the model is kept in memory."""
        nbytes = sum(weight.tensor.nbytes for weight in self.weights.values())
        for _ in each(lambda weight: weight.keep and weight.values(), self.weights.values(), nbytes):
            pass

    def forget(self) -> None:
        """Let go of everything that was decoded."""
        for weight in self.weights.values():
            weight.forget()

    def with_parts_of(self, other: Model, roles: Collection[str], parameters: Mapping[str, Any] | None = None) -> Model:
        """The model with those weights of another one, and with other numbers.

        A role that only one of the two has comes or goes. The order of the rows of a q or k comes along with it.
        """
        weights = {role: weight for role, weight in self.weights.items() if role not in roles}
        weights |= {role: other.weights[role] for role in roles if role in other.weights}
        return replace(self, weights=weights, parameters=replace(self.parameters, **(parameters or {})))

    def close(self) -> None:
        """Give up the file."""
        if self.archive is not None:
            self.archive.close()


def open_model(path: str | Path) -> Model:
    """The model in a GGUF or APR file, a SafeTensors file with its companions, or a Hugging Face directory.

    Raises NoForwardPassError, ParameterError, MissingWeightError, WeightShapeError, NoDecoderError, and what
    reading raises.
    """
    path = Path(path)
    archive = open_archive(path)
    try:
        made = model_of(archive, path)
    except RosettaError as error:
        archive.close()
        raise error.at(file=path) from error.__cause__
    return made


def model_of(archive: Archive, path: Path) -> Model:
    """The model that an open archive holds."""
    parameters, theirs, config = _STATED[archive.format](archive, path)
    record = MODELS[parameters.architecture]
    if config is not None and _is_tied(config, record):
        archive = _with_an_embedding(archive)
    tensors = _by_role(archive, parameters, hugging_face=theirs)
    if config is not None:
        tensors = _as_configured(tensors, config, record)
    keep = sum(4 * tensor.count for tensor in tensors.values()) <= KEEP
    weights = {
        role: Weight(tensor, parameters.pairing, keep, plus_one=theirs and record.role(role).plus_one)
        for role, tensor in tensors.items()
    }
    meter = Meter(sum(tensor.nbytes for tensor in tensors.values()), path)
    return Model(parameters, weights, path, archive, meter)


Config = dict[str, Any] | None


def _of_gguf(archive: Archive, path: Path) -> tuple[Parameters, bool, Config]:
    return numbers.of_gguf(archive.metadata), False, None


def _of_apr(archive: Archive, path: Path) -> tuple[Parameters, bool, Config]:
    theirs = any(name.startswith(("model.", "lm_head.")) for name in archive.tensors)
    return numbers.of_apr(archive.metadata), theirs, None


def _of_directory(archive: Archive, path: Path) -> tuple[Parameters, bool, Config]:
    config = _config(path)
    return numbers.of_config(config), True, config


#: What a file says of its model, by its format: the numbers, whether names and values are Hugging Face's, and config.json.
_STATED = {"gguf": _of_gguf, "apr": _of_apr, "safetensors": _of_directory}


def _config(path: Path) -> dict[str, Any]:
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not os.path.lexists(file):
        raise ParameterError("there is no config.json beside the weights", file=path)
    return parse_json(read_beside(file.parent, file.name), "config.json", file)


def _as_configured(tensors: dict[str, Tensor], config: Mapping[str, Any], record: Architecture) -> dict[str, Tensor]:
    """What loaders make of tie_word_embeddings, vocab_size, and keys that say whether there are biases.

    A tied head is the embedding, unless another one is stored: then transformers (5.24, `tie_weights`) does not tie them. It reads
    no biases that config.json does not speak of.
    """
    stated, rows = config.get("vocab_size"), tensors[EMBEDDING].shape[0]
    if stated is not None and (type(stated) is not int or stated != rows):
        raise WeightShapeError(f"{rows} rows, and vocab_size is {shown(stated)}", tensor=EMBEDDING)
    tied = _is_tied(config, record)
    if not tied and HEAD not in tensors:
        raise MissingWeightError("tie_word_embeddings is not true, and there is no head", tensor="lm_head.weight")
    copied = tied and HEAD in tensors and _equal(tensors[HEAD], tensors[EMBEDDING])
    return {
        role: tensor
        for role, tensor in tensors.items()
        if not (copied and role == HEAD) and not _is_unread(role, config, record)
    }


def _is_tied(config: Mapping[str, Any], record: Architecture) -> bool:
    return config.get("tie_word_embeddings", record.tied) is True


def _is_unread(role: str, config: Mapping[str, Any], record: Architecture) -> bool:
    """Whether a weight is a bias that transformers has no parameter for."""
    words = config.get("architectures") or [config.get("model_type")]
    silence = record.config_of(str(words[0]).lower())
    stem = role.removesuffix(".bias").rpartition(".")[2]
    return role.endswith(".bias") and any(
        stem.startswith(parts) and not (silence.get(key) is not None and config.get(key, silence[key]))
        for key, parts in record.biased.items()
    )


def _with_an_embedding(archive: Archive) -> Archive:
    """A tied model of which only the head is stored: the one matrix is both."""
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    if embedding in archive.tensors or head not in archive.tensors:
        return archive
    tensors = {embedding if name == head else name: tensor for name, tensor in archive.tensors.items()}
    return replace(archive, tensors=tensors)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values, whatever their types."""
    if one.shape != other.shape:
        return False
    pairs = zip(value_chunks(one), value_chunks(other), strict=False)
    if one.type.name == other.type.name:
        return all(np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in pairs)
    return np.array_equal(Weight(one, "").values(), Weight(other, "").values(), equal_nan=True)


def _expected(record: Architecture, layers: int, *, hugging_face: bool) -> Iterator[tuple[Role, str, str, str]]:
    """Role, name of the weight, name in the file, and letters of the shape, for every weight that there may be."""
    for role in (role for role in record.weights if not role.per_layer):
        yield from _named(role, role.name, role.hugging_face if hugging_face else role.gguf)
    for layer in range(layers):
        for role in (role for role in record.weights if role.per_layer):
            stem = role.hugging_face if hugging_face else role.gguf
            yield from _named(role, role.name.format(layer), stem.format(layer))


def _named(role: Role, ours: str, stem: str) -> Iterator[tuple[Role, str, str, str]]:
    if stem:
        yield role, f"{ours}.weight", f"{stem}.weight", role.shape
    if stem and role.bias:
        yield role, f"{ours}.bias", f"{stem}.bias", role.shape[:1]


def _by_role(archive: Archive, parameters: Parameters, *, hugging_face: bool) -> dict[str, Tensor]:
    sizes = {"E": parameters.width, "F": parameters.inner, "Q": parameters.queries, "K": parameters.keys}
    sizes |= {"H": parameters.head, "P": parameters.head // 2}
    made, used = {}, set()
    record = MODELS[parameters.architecture]
    for role, weight, name, letters in _expected(record, parameters.layers, hugging_face=hugging_face):
        if archive.format == "apr" and name not in archive.tensors and weight in archive.tensors:
            name = weight  # aprender puts a `lm_head.weight` beside GGUF's names
        tensor = archive.tensors.get(name)
        if tensor is None:
            if not (role.optional or weight.endswith(".bias")):
                raise MissingWeightError("it is not there", tensor=name)
            continue
        sizes.setdefault("V", tensor.shape[0] if tensor.shape else 0)
        if not sizes["V"]:
            raise WeightShapeError("it has no rows", tensor=name)
        expected = tuple(sizes[letter] for letter in letters)
        if tensor.shape != expected:
            raise WeightShapeError(f"{list(tensor.shape)}, expected {list(expected)}", tensor=name)
        if tensor.type.decode is None:
            raise NoDecoderError(f"type {tensor.type.name} has no decoder", tensor=name)
        made[weight] = tensor
        used.add(name)
    foreign = [name for name in archive.tensors if name not in used and not name.endswith(".rotary_emb.inv_freq")]
    if foreign:
        raise ForeignWeightError(f"{parameters.architecture} has no such weight", tensor=foreign[0])
    return made
