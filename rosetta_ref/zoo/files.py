"""Small input files: a tensor or two as stored, or a whole model whose elements say where they belong.

Written by the reference: what an input holds is for its reader to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures.complete import shape_of
from rosetta_ref.architectures.names import ARCHITECTURES
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.formats.registry import of
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import Blocks
from rosetta_ref.zoo.member import Make

#: A name that a mix rounds, and that no mapping changes with --keep-names.
NAME = "blk.0.ffn_up.weight"


def blocks(kind: str, count: int = 1, **fields: Any) -> Blocks:
    """Blocks of a type, zero but for the fields given."""
    made = np.zeros(count, TYPES[kind].dtype)
    for name, value in fields.items():
        made[name] = value
    return made


def tensor(kind: str, data: Any, shape: tuple[int, ...] | None = None, name: str = NAME) -> Tensor:
    """A tensor over blocks or numbers; by default one row."""
    array = np.asarray(data)
    if array.dtype == np.float64:
        array = array.astype(TYPES[kind].dtype["x"])
    size = array.nbytes // TYPES[kind].block_bytes * TYPES[kind].elements
    return Tensor.of(name, TYPES[kind], shape or (1, size), array)


def floats(kind: str, *values: float, rows: int = 1) -> Tensor:
    """Floats of a type, rounded to it; the values are those of each row. A single row is never rounded to a type asked for."""
    encode = TYPES[kind].encode
    assert encode is not None
    return tensor(kind, encode(np.tile(np.array(values, np.float32), rows)), (rows, len(values)))


def in_gguf(*tensors: Tensor, metadata: Mapping[str, Value] | None = None, name: str = "source.gguf") -> Make:
    """A GGUF file of these tensors."""
    stated = {"general.architecture": Value.scalar(Kind.STRING, "none"), **(metadata or {})}
    return lambda folder: _written(gguf, Archive("gguf", dict(stated), {t.name: t for t in tensors}), folder / name)


def in_apr(*tensors: Tensor, metadata: Mapping[str, Any] | None = None) -> Make:
    """An APR file of these tensors."""
    stated = {"model_type": "none", "architecture": "none", **(metadata or {})}
    return lambda folder: _written(
        apr, Archive("apr", dict(stated), {t.name: t for t in tensors}), folder / "source.apr"
    )


def in_safetensors(*tensors: Tensor) -> Make:
    """A SafeTensors file of these tensors."""
    return lambda folder: _written(
        safetensors, Archive("safetensors", {}, {t.name: t for t in tensors}), folder / "source.safetensors"
    )


def _written(module: Any, archive: Archive, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    module.write(archive, path)
    return path


def model(
    architecture: str = "llama",
    *,
    heads: tuple[int, int] = (2, 1),
    head_dim: int = 8,
    width: int = 8,
    layers: int = 1,
    tied: bool = False,
    kind: str = "F32",
    tokenizer: bool = False,
    numbers: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
    biases: bool = False,
    last: str = "b",
    types: Sequence[int] = (2, 3, 3, 1, 1),
) -> Archive:
    """A GGUF-shaped model of a few numbers. Elements are a permutation of the places in their tensor.

    `numbers` are further F32 keys below the architecture's name, and `counts` U32 ones; `biases` gives q, k and v one where they
    may have one; `last` is the last of five tokens, and `types` are theirs.
    """
    known = ARCHITECTURES[architecture]
    inner = 2 * width
    words = ["<unk>", "<s>", "</s>", "a", last]
    sizes = {"V": len(words), "E": width, "F": inner, "D": head_dim, "Q": heads[0] * head_dim, "K": heads[1] * head_dim}
    shapes = {
        f"{role.gguf}.weight": shape_of(role, "weight", sizes) for role in known.once if not (tied and role.optional)
    }
    parts = sorted(known.layer, key=lambda role: len(role.shape) == 1)  # matrices first
    for layer in range(layers):
        shapes |= {f"blk.{layer}.{role.gguf}.weight": shape_of(role, "weight", sizes) for role in parts}
        for role in parts:
            if role.bias == "always" or (biases and role.bias == "maybe" and role.shape in ("QE", "KE")):
                shapes[f"blk.{layer}.{role.gguf}.bias"] = shape_of(role, "bias", sizes)
    stated: dict[str, Any] = {
        "block_count": layers, "context_length": 64, "embedding_length": width, "feed_forward_length": inner,
        "attention.head_count": heads[0], "attention.head_count_kv": heads[1], "attention.key_length": head_dim,
        "attention.value_length": head_dim, "rope.dimension_count": head_dim, "vocab_size": len(words),
    }  # fmt: skip
    stated |= {row.gguf: row.default for row in known.numbers if row.kind is Kind.U32 and row.gguf not in stated}
    stated |= counts or {}
    metadata = {"general.architecture": Value.scalar(Kind.STRING, architecture)}
    metadata |= {f"{architecture}.{key}": Value.scalar(Kind.U32, number) for key, number in stated.items()}
    reals = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0, **(numbers or {})}
    metadata |= {f"{architecture}.{key}": Value.scalar(Kind.F32, np.float32(number)) for key, number in reals.items()}
    metadata |= (
        _tokenizer(words, types) if tokenizer else {"tokenizer.ggml.model": Value.scalar(Kind.STRING, "no_vocab")}
    )
    tensors = {
        name: _numbered(name, kind if len(shape) > 1 else "F32", shape, seed)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    return Archive("gguf", metadata, tensors)


def _numbered(name: str, kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(count) + 1.0
    encode = TYPES[kind].encode
    assert encode is not None
    return Tensor.of(name, TYPES[kind], shape, encode(values.astype(np.float32)))


def _tokenizer(words: list[str], types: Sequence[int]) -> dict[str, Value]:
    return {
        "tokenizer.ggml.model": Value.scalar(Kind.STRING, "llama"),
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, words),
        "tokenizer.ggml.scores": Value.array(Kind.F32, [-float(n) for n in range(len(words))]),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        "tokenizer.ggml.bos_token_id": Value.scalar(Kind.U32, 1),
        "tokenizer.ggml.eos_token_id": Value.scalar(Kind.U32, 2),
        "tokenizer.ggml.unknown_token_id": Value.scalar(Kind.U32, 0),
    }


def model_in(face: str, *args: Any, **numbers: Any) -> Make:
    """A model as "gguf", "apr" or a "safetensors" directory; the arguments are those of `model`."""

    def make(folder: Path) -> Path:
        source = _written(gguf, model(*args, **numbers), folder / "source.gguf")
        row = of(face)
        target = folder / ("source" if row.has_companions else f"source{row.suffix}")
        if target == source:
            return source
        convert(source, target, keep_blocks=False, extra_keys=False)
        source.unlink()
        return target

    return make
