"""Between a Hugging Face directory and the canonical, GGUF-shaped model, as llama.cpp's convert_hf_to_gguf has it.

On the way to GGUF: names, q/k row order, norms and other 1-D tensors in F32, the rest in its type; a tied head that is stored
twice is left out, rotary buffers are too; llama3 rope scaling becomes a tensor. The way back undoes each of these.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rosetta_ref.architectures.checked import Keys, flag, whole
from rosetta_ref.architectures.complete import require_complete
from rosetta_ref.architectures.config import config_of_metadata, head_dim_of, metadata_of_config, parse_config
from rosetta_ref.architectures.heads import permuted
from rosetta_ref.architectures.names import (
    KEEP_HINT,
    ROPE_FREQS,
    Architecture,
    UnmappedTensorError,
    architecture_of_config,
    architecture_of_metadata,
)
from rosetta_ref.architectures.rope import llama3_factors, parameters_of
from rosetta_ref.architectures.rotary import Rope, rope_of, theta_of
from rosetta_ref.architectures.tokenizer import token_id, tokenizer_files, tokenizer_metadata
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES
from rosetta_ref.recode import decoded

#: What the rows of a layer's tensors are.
_ROWS = {
    "attn_q": "queries", "attn_k": "groups", "attn_v": "groups", "attn_output": "wide", "ffn_gate": "inner",
    "ffn_up": "inner", "ffn_down": "wide", "attn_norm": "wide", "ffn_norm": "wide",
}  # fmt: skip
_BUFFERS = (".rotary_emb.inv_freq",)
_EMBEDDING = "token_embd.weight"
#: The tokens that config.json names by id, and GGUF's words for them.
_CONFIG_IDS = {"bos": "bos", "eos": "eos", "pad": "padding"}
#: general.file_type of a model whose matrices are of that type.
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9}
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class EmbeddingShapeError(RosettaError):
    """The embedding has one row of hidden_size elements for each token of the vocabulary."""


class MissingEmbeddingError(RosettaError):
    """A model has an embedding."""


class NameClashError(RosettaError):
    """Two tensors do not become one."""


class TensorRowsError(RosettaError):
    """A tensor of a layer has the rows that the model's numbers say: heads, hidden size, feed-forward size."""


def from_huggingface(archive: Archive, files: Mapping[str, bytes], *, name: str | None = None) -> Archive:
    """The canonical model of a Hugging Face directory; `files` are its companions by name.

    Raises UnknownArchitectureError, ExpertsError, UnmappedTensorError, ConfigError, and what the tokenizer refuses.
    """
    config = parse_config(files)
    try:
        architecture = architecture_of_config(config)
        rope = rope_of(config)
        numbers = metadata_of_config(config, architecture, rope)
        tensors = _tensors_to_gguf(archive, config, architecture, numbers, rope)
        vocabulary = _vocabulary(config, tensors)
    except RosettaError as error:
        raise error.at(file=archive.path) from error.__cause__
    arch = architecture.name
    metadata = {
        "general.architecture": Value.scalar(Kind.STRING, arch),
        "general.type": Value.scalar(Kind.STRING, "model"),
        "general.name": Value.scalar(Kind.STRING, _title(name or (archive.path.name if archive.path else "model"))),
        "general.size_label": Value.scalar(Kind.STRING, size_label(sum(tensor.count for tensor in tensors.values()))),
        **numbers,
        "general.file_type": Value.scalar(Kind.U32, _file_type(tensors)),
    }
    tokenizer = tokenizer_metadata(files, vocabulary)
    if architecture.permutes_heads or "tokenizer.ggml.tokens" not in tokenizer:  # llama.cpp counts tokens otherwise
        metadata[f"{arch}.vocab_size"] = Value.scalar(Kind.U32, vocabulary)
    if architecture.permutes_heads:
        metadata[f"{arch}.rope.dimension_count"] = Value.scalar(Kind.U32, head_dim_of(config))
    metadata["general.quantization_version"] = Value.scalar(Kind.U32, 2)
    metadata |= tokenizer
    return Archive("gguf", metadata, tensors, archive.path, archive.parts)


def _file_type(tensors: Mapping[str, Tensor]) -> int:
    """That of the embedding; but 0 says that all matrices are F32, and others what most of them are (ggml/docs/gguf.md)."""
    stored = tensors[_EMBEDDING].type.name
    others = Counter(tensor.type.name for tensor in tensors.values() if len(tensor.shape) > 1)
    del others["F32"]
    if stored == "F32" and others:
        stored = others.most_common(1)[0][0]
    return FILE_TYPES.get(stored, 0)


def _vocabulary(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """The number of tokens, which is that of the embedding's rows."""
    embedding = tensors.get(_EMBEDDING)
    if embedding is None:
        raise MissingEmbeddingError("model.embed_tokens.weight is missing")
    stated, rows = config.get("vocab_size"), embedding.shape[0] if embedding.shape else 0
    vocabulary = rows if stated is None else whole(stated, "vocab_size", file="config.json")
    if embedding.shape != (vocabulary, config["hidden_size"]):
        raise EmbeddingShapeError(
            f"{list(embedding.shape)}, expected {[vocabulary, config['hidden_size']]}", tensor=_EMBEDDING
        )
    return vocabulary


def _tensors_to_gguf(
    archive: Archive,
    config: Mapping[str, Any],
    architecture: Architecture,
    metadata: Mapping[str, Value],
    rope: Rope,
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    flag(config.get("tie_word_embeddings"), "tie_word_embeddings", file="config.json")
    for name, tensor in archive.tensors.items():
        if name.endswith(_BUFFERS) or _is_tied_copy(name, archive, config):
            continue
        made = tensor_from_huggingface(tensor, None, metadata, architecture)
        if made.name in tensors:
            raise NameClashError(f"becomes {made.name}, which is there already", tensor=name)
        tensors[made.name] = made
    require_complete(tensors, metadata, architecture)
    if rope.kind != "llama3":
        return tensors
    # Only now: q has been found to have heads of that size, so the factors fit into memory.
    told = rope.parameters
    factors = llama3_factors(
        rope.theta, head_dim_of(config), told["factor"], told["low_freq_factor"], told["high_freq_factor"],
        told["original_max_position_embeddings"],
    )  # fmt: skip
    return {ROPE_FREQS: Tensor.of(ROPE_FREQS, TYPES["F32"], factors.shape, factors), **tensors}


def _is_tied_copy(name: str, archive: Archive, config: Mapping[str, Any]) -> bool:
    embedding = archive.tensors.get("model.embed_tokens.weight")
    if name != "lm_head.weight" or not config.get("tie_word_embeddings") or embedding is None:
        return False
    head = archive.tensors[name]
    if (head.type, head.shape) != (embedding.type, embedding.shape):
        return False
    return all(np.array_equal(a, b) for a, b in zip(head.chunks(), embedding.chunks(), strict=True))


def tensor_from_huggingface(
    tensor: Tensor, name: str | None, metadata: Mapping[str, Value], architecture: Architecture | None = None
) -> Tensor:
    """One tensor under its GGUF name, in GGUF's row order; 1-D ones in F32. `name` is that name where it is known."""
    if architecture is None:
        architecture = architecture_of_metadata(metadata)
    made = replace(tensor, name=name or architecture.to_gguf(tensor.name))
    made = _reordered(made, made.name, metadata, architecture)
    if len(made.shape) <= 1 and made.type.name in ("F16", "BF16"):
        made = decoded(made, "F32")
    return made


def tensor_to_huggingface(
    tensor: Tensor, metadata: Mapping[str, Value], architecture: Architecture | None = None
) -> Tensor:
    """One tensor of a model under its Hugging Face name, in Hugging Face's row order, type unchanged."""
    if architecture is None:
        architecture = architecture_of_metadata(metadata)
    made = replace(tensor, name=architecture.to_hf(tensor.name))
    return _reordered(made, tensor.name, metadata, architecture, inverse=True)


def _reordered(
    tensor: Tensor, name: str, metadata: Mapping[str, Value], architecture: Architecture, *, inverse: bool = False
) -> Tensor:
    """The tensor of that GGUF name with its rows in the other side's order, which differs for q and k of some architectures.

    Raises TensorRowsError: a wrong head count that happens to divide the rows would shuffle them into nonsense.
    """
    part = name.rsplit(".", 2)[-2] if name.startswith("blk.") else ""
    if part not in _ROWS:
        return tensor
    keys = Keys(metadata, architecture.name)
    (queries, groups), size = keys.heads, keys.head_dim
    wide, inner = keys.need("embedding_length"), keys.need("feed_forward_length")
    rows = {"queries": queries * size, "groups": groups * size, "wide": wide, "inner": inner}[_ROWS[part]]
    if tensor.shape[:1] != (rows,):
        raise TensorRowsError(f"{list(tensor.shape)}, expected {rows} rows", file=tensor.file, tensor=tensor.name)
    if part not in ("attn_q", "attn_k") or not architecture.permutes_heads:
        return tensor
    return permuted(tensor, queries if part == "attn_q" else groups, inverse=inverse)


def to_huggingface(model: Archive) -> tuple[Archive, dict[str, bytes]]:
    """The tensors under Hugging Face names and in its row order, types unchanged, and the companion files.

    Raises UnknownArchitectureError, ExpertsError, UnmappedTensorError, MissingKeyError, RopeFactorsError, and what the
    tokenizer refuses.
    """
    try:
        architecture = architecture_of_metadata(model.metadata)
        tensors = {}
        for name, tensor in model.tensors.items():
            if name == ROPE_FREQS:
                continue
            made = tensor_to_huggingface(tensor, model.metadata, architecture)
            if made.name in tensors:
                raise NameClashError(f"becomes {made.name}, which is there already", tensor=name)
            tensors[made.name] = made
        require_complete(model.tensors, model.metadata, architecture)
        files = _files(model, architecture)
    except RosettaError as error:
        raise error.at(file=model.path) from error.__cause__
    return Archive("safetensors", {}, tensors, model.path, model.parts), files


def hf_names(model: Archive) -> dict[str, str]:
    """For each tensor of the model that a Hugging Face directory has: its name there."""
    architecture = architecture_of_metadata(model.metadata)
    return {name: architecture.to_hf(name) for name in model.tensors if name != ROPE_FREQS}


def _files(model: Archive, architecture: Architecture) -> dict[str, bytes]:
    keys = Keys(model.metadata, architecture.name)
    factors = model.tensors.get(ROPE_FREQS)
    scaling = None
    if factors is not None:
        if not architecture.has_rope_freqs:
            raise UnmappedTensorError(f"{architecture.name} has no such tensor", tensor=ROPE_FREQS, hint=KEEP_HINT)
        scaling = parameters_of(factors.values(), theta_of(keys), keys.head_dim, keys.need("context_length"))
    config = config_of_metadata(model.metadata, architecture, scaling)
    embedding = model.tensors.get(_EMBEDDING)
    if embedding is None or not embedding.shape:
        raise MissingEmbeddingError(f"{_EMBEDDING} is missing")
    found = {name: token_id(model.metadata, f"{key}_token_id") for name, key in _CONFIG_IDS.items()}
    ids = {f"{name}_token_id": number for name, number in found.items() if number is not None}
    config |= ids
    config |= {
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": "output.weight" not in model.tensors,
        "torch_dtype": _DTYPES.get(embedding.type.name, "float32"),
    }
    if architecture.permutes_heads:
        config["attention_bias"] = any(name.endswith("attn_q.bias") for name in model.tensors)
        config["mlp_bias"] = any(name.endswith("ffn_up.bias") for name in model.tensors)
    generation = {"_from_model_config": True, **ids}
    files = {"config.json": _dump(config), "generation_config.json": _dump(generation)}
    return files | tokenizer_files(model.metadata)


def _dump(content: Mapping[str, Any]) -> bytes:
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
