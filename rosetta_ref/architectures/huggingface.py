"""Between a Hugging Face directory and the canonical, GGUF-shaped model, as llama.cpp's convert_hf_to_gguf has it.

On the way to GGUF: names and values as the architecture's record has them, norms and other 1-D tensors in F32, the rest in its
type; a tied head that is stored twice is left out, rotary buffers are too; llama3 rope scaling becomes a tensor. The way back
undoes each.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rosetta_ref.architectures.checked import Keys, flag, shown
from rosetta_ref.architectures.complete import MissingTensorError, require_complete, shape_of, sizes_of
from rosetta_ref.architectures.config import (
    config_of_metadata,
    head_dim_of,
    late_metadata,
    metadata_of_config,
    parse_config,
    text_config,
)
from rosetta_ref.architectures.embedding import (
    EMBEDDING,
    HEAD,
    MissingEmbeddingError,
    vocabulary_of,
    without_spare_rows,
)
from rosetta_ref.architectures.names import (
    KEEP_HINT,
    ROPE_FREQS,
    UnmappedTensorError,
    architecture_of_config,
    architecture_of_metadata,
)
from rosetta_ref.architectures.record import Model, Role
from rosetta_ref.architectures.rope import llama3_factors, parameters_of
from rosetta_ref.architectures.rotary import Rope, rope_of, theta_of
from rosetta_ref.architectures.tokenizer import token_id, tokenizer_files, tokenizer_metadata, tokenizer_notes
from rosetta_ref.architectures.transforms import Transform, to_gguf, to_hf
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES
from rosetta_ref.recode import decoded

_BUFFERS = (".rotary_emb.inv_freq",)
#: The tokens that config.json names by id, and GGUF's words for them.
_CONFIG_IDS = {"bos": "bos", "eos": "eos", "pad": "padding"}
#: general.file_type of a model whose matrices are of that type.
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9}
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class NameClashError(RosettaError):
    """Two tensors do not become one."""


class UnreadBiasError(RosettaError):
    """There are biases only where config.json says so: transformers reads no others, and llama.cpp would."""


class TensorRowsError(RosettaError):
    """A tensor of a layer has the rows that the model's numbers say: heads, hidden size, feed-forward size."""


def from_huggingface(archive: Archive, files: Mapping[str, bytes], *, name: str | None = None) -> Archive:
    """The canonical model of a Hugging Face directory; `files` are its companions by name.

    Raises UnknownArchitectureError, ExpertsError, UnmappedTensorError, ConfigError, and what the tokenizer refuses.
    """
    config = parse_config(files)
    try:
        model = architecture_of_config(config)
        config = text_config(config, model)
        rope = rope_of(config, model)
        numbers = metadata_of_config(config, model, rope)
        tensors = tensors_to_gguf(archive, config, model, numbers, rope)
        vocabulary = vocabulary_of(config, tensors, numbers[f"{model.name}.embedding_length"].plain())
    except RosettaError as error:
        raise error.at(file=archive.path) from error.__cause__
    notes = _notes_on_the_head(config, tensors, model)
    metadata = {
        "general.architecture": Value.scalar(Kind.STRING, model.name),
        "general.type": Value.scalar(Kind.STRING, "model"),
        "general.name": Value.scalar(Kind.STRING, _title(name or (archive.path.name if archive.path else "model"))),
        "general.size_label": Value.scalar(Kind.STRING, size_label(sum(tensor.count for tensor in tensors.values()))),
        **numbers,
        "general.file_type": Value.scalar(Kind.U32, _file_type(tensors)),
    }
    tokenizer = tokenizer_metadata(
        files, vocabulary, space_prefix=model.space_prefix, spare=model.spare_rows, notes=notes
    )
    try:
        metadata |= late_metadata(config, model, vocabulary, told="tokenizer.ggml.tokens" in tokenizer)
    except RosettaError as error:
        raise error.at(file=archive.path) from error.__cause__
    metadata["general.quantization_version"] = Value.scalar(Kind.U32, 2)
    metadata |= tokenizer
    return Archive("gguf", metadata, tensors, archive.path, archive.parts, notes)


def _notes_on_the_head(config: Mapping[str, Any], tensors: Mapping[str, Tensor], model: Model) -> list[str]:
    """That both are written where config.json says that the head is the embedding: transformers ties only what is equal."""
    said = config.get("tie_word_embeddings")
    if not (model.tied if said is None else said) or HEAD not in tensors:
        return []
    return [f"config.json ties the head to the embedding, and {model.to_hf(HEAD)} is another matrix: both are written"]


def _file_type(tensors: Mapping[str, Tensor]) -> int:
    """That of the embedding; but 0 says that all matrices are F32, and others what most of them are (ggml/docs/gguf.md)."""
    stored = tensors[EMBEDDING].type.name
    others = Counter(tensor.type.name for tensor in tensors.values() if len(tensor.shape) > 1)
    del others["F32"]
    if stored == "F32" and others:
        stored = others.most_common(1)[0][0]
    return FILE_TYPES.get(stored, 0)


def tensors_to_gguf(
    archive: Archive, config: Mapping[str, Any], model: Model, metadata: Mapping[str, Value], rope: Rope
) -> dict[str, Tensor]:
    """The tensors of a directory by GGUF's names, turned as GGUF has them."""
    tensors: dict[str, Tensor] = {}
    said = config.get("tie_word_embeddings")
    tied = flag(model.tied if said is None else said, "tie_word_embeddings", file="config.json")
    names = {name: model.to_gguf(name) for name in archive.tensors if not _is_aside(name, model)}
    _refuse_unread_biases(names, config, model)
    if tied and EMBEDDING not in names.values():  # transformers ties to whichever of the two is there
        names = {name: EMBEDDING if ours == HEAD else ours for name, ours in names.items()}
    for name, ours in names.items():
        if ours == HEAD and tied and _is_copy(archive.tensors[name], archive, names):
            continue
        made = tensor_from_huggingface(archive.tensors[name], ours, metadata, model)
        if made.name in tensors:
            raise NameClashError(f"becomes {made.name}, which is there already", tensor=name)
        tensors[made.name] = made
    if model.spare_rows:
        tensors |= without_spare_rows(tensors, config.get("vocab_size"))
    if not tied and EMBEDDING in tensors and HEAD not in tensors:
        problem = f"it is not there, and tie_word_embeddings is {shown(said)}" + (
            ", which says no" if said is None else ""
        )
        raise MissingTensorError(problem, tensor=model.to_hf(HEAD), hint=KEEP_HINT)
    require_complete(tensors, metadata, model)
    if rope.kind != "llama3":
        return tensors
    # Only now: q has been found to have heads of that size, so the factors fit into memory.
    told = rope.parameters
    factors = llama3_factors(
        rope.theta, head_dim_of(config, model), told["factor"], told["low_freq_factor"], told["high_freq_factor"],
        told["original_max_position_embeddings"],
    )  # fmt: skip
    return {ROPE_FREQS: Tensor.of(ROPE_FREQS, TYPES["F32"], factors.shape, factors), **tensors}


def _refuse_unread_biases(names: Mapping[str, str], config: Mapping[str, Any], model: Model) -> None:
    """Raise UnreadBiasError for a bias that transformers leaves out, and llama.cpp would add."""
    parts = {part: key for key, several in model.bias_flags.items() for part in several}
    for name, ours in names.items():
        key = parts.get(ours.rpartition(".")[0].rpartition(".")[2]) if ours.endswith(".bias") else None
        if key is not None and not flag(config.get(key), key, file="config.json"):
            raise UnreadBiasError(
                f"{key} is {shown(config.get(key))}, and there is a bias", tensor=name, hint=KEEP_HINT
            )


def _is_aside(name: str, model: Model) -> bool:
    """Whether a tensor has no place in a GGUF file of the text model: rotary buffers, and other parts than the text model."""
    return name.endswith(_BUFFERS) or name.startswith(model.aside)


def _is_copy(head: Tensor, archive: Archive, names: Mapping[str, str]) -> bool:
    embedding = next((archive.tensors[name] for name, ours in names.items() if ours == EMBEDDING), None)
    if embedding is None or (head.type, head.shape) != (embedding.type, embedding.shape):
        return False
    return all(np.array_equal(a, b) for a, b in zip(head.chunks(), embedding.chunks(), strict=True))


def tensor_from_huggingface(
    tensor: Tensor, name: str | None, metadata: Mapping[str, Value], model: Model | None = None
) -> Tensor:
    """One tensor under its GGUF name, with GGUF's values; 1-D ones in F32. `name` is that name where it is known."""
    if model is None:
        model = architecture_of_metadata(metadata)
    made = replace(tensor, name=name or model.to_gguf(tensor.name))
    role = model.role(made.name)
    if role is not None:
        made = to_gguf(made, transforms_of(model, role, made.name), _sizes(made, made.name, role, metadata, model))
    if len(made.shape) <= 1 and made.type.name in ("F16", "BF16"):
        made = decoded(made, "F32")
    return made


def tensor_to_huggingface(tensor: Tensor, metadata: Mapping[str, Value], model: Model | None = None) -> Tensor:
    """One tensor of a model under its Hugging Face name, with Hugging Face's values; its type unchanged, but for computed ones."""
    if model is None:
        model = architecture_of_metadata(metadata)
    made, role = replace(tensor, name=model.to_hf(tensor.name)), model.role(tensor.name)
    assert role is not None  # its name has a counterpart
    return to_hf(made, transforms_of(model, role, tensor.name), _sizes(made, tensor.name, role, metadata, model))


def transforms_of(model: Model, role: Role, name: str) -> tuple[Transform, ...]:
    """What is done to the values of the tensor of that GGUF name, on the way to GGUF."""
    return role.transforms


def rounds(name: str, metadata: Mapping[str, Value]) -> bool:
    """Whether the values of the tensor of that GGUF name are computed on the way, so that bits may be lost."""
    model = architecture_of_metadata(metadata)
    role = model.role(name)
    return role is not None and any(step.rounds for step in transforms_of(model, role, name))


def left_aside(archive: Archive, model: Archive) -> list[str]:
    """The tensors of a directory that belong to other parts than the text model, which is all that the model is."""
    aside = architecture_of_metadata(model.metadata).aside
    return [name for name in archive.tensors if name.startswith(aside)] if aside else []


def _sizes(tensor: Tensor, name: str, role: Role, metadata: Mapping[str, Value], model: Model) -> dict[str, int]:
    """The numbers that a transform needs.

    Raises TensorRowsError: a wrong head count that happens to divide the rows would shuffle them into nonsense.
    """
    if not name.startswith("blk."):
        return {}
    sizes = sizes_of(Keys(metadata, model.name))
    rows = shape_of(role, name.rpartition(".")[2], sizes)[:1]
    if tensor.shape[:1] != rows:
        raise TensorRowsError(f"{list(tensor.shape)}, expected {rows[0]} rows", file=tensor.file, tensor=tensor.name)
    return sizes


def to_huggingface(model: Archive) -> tuple[Archive, dict[str, bytes]]:
    """The tensors under Hugging Face names and with its values, types unchanged, and the companion files.

    Raises UnknownArchitectureError, ExpertsError, UnmappedTensorError, MissingKeyError, RopeFactorsError, and what the
    tokenizer refuses.
    """
    try:
        known = architecture_of_metadata(model.metadata)
        tensors = {}
        for name, tensor in model.tensors.items():
            if name == ROPE_FREQS:
                continue
            made = tensor_to_huggingface(tensor, model.metadata, known)
            if made.name in tensors:
                raise NameClashError(f"becomes {made.name}, which is there already", tensor=name)
            tensors[made.name] = made
        require_complete(model.tensors, model.metadata, known)
        files = files_of(model, known)
        notes = tokenizer_notes(model.metadata)
    except RosettaError as error:
        raise error.at(file=model.path) from error.__cause__
    return Archive("safetensors", {}, tensors, model.path, model.parts, notes), files


def hf_names(model: Archive) -> dict[str, str]:
    """For each tensor of the model that a Hugging Face directory has: its name there."""
    architecture = architecture_of_metadata(model.metadata)
    return {name: architecture.to_hf(name) for name in model.tensors if name != ROPE_FREQS}


def files_of(model: Archive, known: Model) -> dict[str, bytes]:
    """config.json, and what else stands beside the weights."""
    keys = Keys(model.metadata, known.name)
    factors = model.tensors.get(ROPE_FREQS)
    scaling = None
    if factors is not None:
        if not known.has_rope_freqs:
            raise UnmappedTensorError(f"{known.name} has no such tensor", tensor=ROPE_FREQS, hint=KEEP_HINT)
        scaling = parameters_of(factors.values(), theta_of(keys), keys.head_dim, keys.need("context_length"))
    config = config_of_metadata(model.metadata, known, scaling)
    embedding = model.tensors.get(EMBEDDING)
    if embedding is None or not embedding.shape:
        raise MissingEmbeddingError(f"{EMBEDDING} is missing")
    found = {name: token_id(model.metadata, f"{key}_token_id") for name, key in _CONFIG_IDS.items()}
    ids = {f"{name}_token_id": number for name, number in found.items() if number is not None}
    config |= ids
    config |= {
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": HEAD not in model.tensors,
        "torch_dtype": _DTYPES.get(embedding.type.name, "float32"),
    }
    for key, several in known.bias_flags.items():
        config[key] = any(name.endswith(f".{part}.bias") for part in several for name in model.tensors)
    generation = {"_from_model_config": True, **ids}
    files = {"config.json": json_text(config), "generation_config.json": json_text(generation)}
    return files | tokenizer_files(model.metadata)


def json_text(content: Mapping[str, Any]) -> bytes:
    """A JSON file as transformers writes one."""
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _title(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.replace("_", " ").replace("-", " ").split()) or "Model"


def size_label(count: int) -> str:
    """The number of parameters as GGUF's naming convention writes it.

    >>> size_label(134_515_008), size_label(78_000)
    ('135M', '78K')
    """
    for limit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= limit:
            scaled = count / limit
            return f"{scaled:.1f}{letter}" if scaled < 10 else f"{scaled:.0f}{letter}"
    return f"{count / 1000:.0f}K"
