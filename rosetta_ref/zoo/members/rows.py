"""Rows and values: rows of q and k in the wrong order, weights with something added or multiplied in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures import aprender, heads, huggingface
from rosetta_ref.architectures.names import ARCHITECTURES
from rosetta_ref.architectures.record import ROPES, Model, Role
from rosetta_ref.architectures.transforms import PermuteRows, PlusOne, Sizes, Transform
from rosetta_ref.archive import Archive, Buffer, Tensor
from rosetta_ref.formats import apr
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import floats, in_gguf, in_safetensors, model_in
from rosetta_ref.zoo.member import Make, Member
from rosetta_ref.zoo.seams import replacing

Transforms = tuple[Transform, ...]

# --- the order of rows -------------------------------------------------------------------------------------------------------

_row_order, _transforms_of = heads.row_order, huggingface.transforms_of
_TURNED = {role.gguf: role.transforms for role in ARCHITECTURES["llama"].layer if role.transforms}


def _k_by_a_quotient(rows: PermuteRows, sizes: Sizes) -> int:
    """The number of heads of k is that of q over that of k, where they differ."""
    queries, groups = sizes["H"], sizes["G"]
    return queries if rows.letter == "H" or queries == groups else queries // groups


def _k_as_q(_: PermuteRows, sizes: Sizes) -> int:
    """K permuted with the number of heads of q, of which there are more."""
    return sizes["H"]


def _forward(rows: int, count: int, *, inverse: bool = False) -> Any:
    return _row_order(rows, count)


def _every_architecture(model: Model, role: Role, name: str) -> Transforms:
    """Rows are turned as in llama, whatever the architecture."""
    here = _transforms_of(model, role, name)
    return here if any(isinstance(step, PermuteRows) for step in here) else (*here, *_TURNED.get(role.gguf, ()))


def _weights_only(model: Model, role: Role, name: str) -> Transforms:
    return () if name.endswith(".bias") else _transforms_of(model, role, name)


def _own_rope_type(metadata: Mapping[str, Any], model: Model, hf: bool) -> int:
    return ROPES[model.rope]


def _halves_in_apr(rope_type: int) -> Make:
    """A llama file of APR's that says how the rows of q and k stand."""

    def make(folder: Path) -> Path:
        path = model_in("apr")(folder)
        with apr.read(path) as archive:
            archive.metadata["rope_type"] = rope_type
            made = {
                name: Tensor.of(name, one.type, one.shape, one.data.copy()) for name, one in archive.tensors.items()
            }
        apr.write(Archive("apr", archive.metadata, made), path)
        return path

    return make


# --- values ------------------------------------------------------------------------------------------------------------------

_to_apr = aprender.to_apr


def _changed(one: Tensor, change: Any) -> Tensor:
    encode = one.type.encode
    assert encode is not None
    return replace(one, source=Buffer(np.ascontiguousarray(encode(change(one.values()))).view(np.uint8).reshape(-1)))


def _no_one(model: Model, role: Role, name: str) -> Transforms:
    return tuple(step for step in _transforms_of(model, role, name) if not isinstance(step, PlusOne))


def _one_twice(model: Model, role: Role, name: str) -> Transforms:
    here = _transforms_of(model, role, name)
    return (*here, *(step for step in here if isinstance(step, PlusOne)))


def _one_everywhere(model: Model, role: Role, name: str) -> Transforms:
    """Norms of every architecture get Gemma's 1."""
    return (
        (*_no_one(model, role, name), PlusOne()) if name.endswith("norm.weight") else _transforms_of(model, role, name)
    )


def _embedding_scaled(model: Archive, **options: Any) -> Archive:
    made = _to_apr(model, **options)
    for name in {"token_embd.weight", "model.embed_tokens.weight"} & made.tensors.keys():
        one = made.tensors[name]
        if one.type.is_scalar:
            made.tensors[name] = _changed(one, lambda x: x * np.float32(math.sqrt(x.shape[-1])))
    return made


MEMBERS = (
    Member(
        "k-permuted-with-wrong-head-count", "heads", "llama.cpp #3364",
        "the rows of k are turned by n_head // n_kv heads, and not by n_kv",
        "(n_head, n_kv) = (8, 2), (6, 3), (4, 1)", "n_head = n_kv^2: (4, 2), (9, 3), (16, 4), (64, 8)",
        ("S-G", "G-S", "S-A", "A-S"), ("safetensors",),
        replacing(seams.ROW_HEADS.by(_k_by_a_quotient)),
        model_in("safetensors", heads=(8, 2)),
        model_in("safetensors", heads=(4, 2)),
        "https://github.com/ggml-org/llama.cpp/pull/3364",
    ),
    Member(
        "k-permuted-as-q", "heads", "transformers #31788",
        "k permuted with the number of heads of q",
        "grouped heads, (2, 1)", "as many heads of k as of q",
        ("G-S", "S-G", "S-A", "A-S"), ("safetensors",),
        replacing(seams.ROW_HEADS.by(_k_as_q)),
        model_in("gguf", heads=(2, 1)),
        model_in("gguf", heads=(2, 2)),
        "https://github.com/huggingface/transformers/pull/31788",
        alike={"k-permuted-with-wrong-head-count": "two heads over one: the quotient is the number of heads of q"},
    ),
    Member(
        "inverse-permutation-is-forward", "heads", "mobius #396",
        "writes the forward permutation for the inverse",
        "head_dim 6, 8, 16", "head_dim 2 and 4",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.ROW_ORDER.by(_forward)),
        model_in("gguf", head_dim=6),
        model_in("gguf", head_dim=4),
        "https://github.com/onnxruntime/mobius/pull/396",
    ),
    Member(
        "permutes-every-architecture", "heads", "mobius #396, nurl #584",
        "q/k permuted for architectures whose GGUF files are not (qwen2, gemma, phi)",
        "any qwen2 file", "llama-only tests",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(seams.TRANSFORMS_OF.by(_every_architecture)),
        model_in("safetensors", "qwen2"),
        model_in("safetensors", "llama"),
        "https://github.com/onnxruntime/mobius/pull/396",
    ),
    Member(
        "biases-not-permuted", "heads", "ours",
        "the weights of q and k are permuted, their biases are not",
        "a llama model with biases", "models without biases, and qwen2",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(seams.TRANSFORMS_OF.by(_weights_only)),
        model_in("safetensors", biases=True),
        model_in("safetensors", "qwen2"),
    ),
    Member(
        "apr-rope-type-ignored", "heads", "ours",
        "the rows of q and k in a llama file of APR's are taken for pairs, whatever rope_type says",
        "rope_type 2", "rope_type 0",
        ("A-G", "A-S"), ("apr",),
        replacing(seams.ROPE_TYPE_OF.by(_own_rope_type)),
        _halves_in_apr(2),
        _halves_in_apr(0),
    ),
    Member(
        "norm-plus-one-forgotten", "values", "llama.cpp #5631",
        "Gemma stores w, the file needs 1 + w",
        "any gemma norm", "every other architecture",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(seams.TRANSFORMS_OF.by(_no_one)),
        model_in("safetensors", "gemma3"),
        model_in("safetensors", "llama"),
        "https://github.com/ggml-org/llama.cpp/pull/5631",
    ),
    Member(
        "norm-plus-one-twice", "values", "vllm #31464",
        "Gemma stores w, the file needs 1 + w, and gets 2 + w",
        "any gemma norm", "every other architecture",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(seams.TRANSFORMS_OF.by(_one_twice)),
        model_in("safetensors", "gemma3"),
        model_in("safetensors", "llama"),
        "https://github.com/vllm-project/vllm/issues/31464",
    ),
    Member(
        "norm-plus-one-everywhere", "values", "ours",
        "the norms of every architecture get Gemma's 1 on the way to GGUF, and lose it on the way back",
        "any llama norm", "files without norms",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(seams.TRANSFORMS_OF.by(_one_everywhere)),
        model_in("safetensors"),
        in_safetensors(floats("F32", 1, 2)),
    ),
    Member(
        "embedding-scaled", "values", "ours",
        "the root of the hidden size, by which Gemma multiplies embeddings, is put into the weights",
        "any model", "a hidden size of 1; files without an embedding",
        ("G-A", "S-A"), ("apr",),
        replacing(seams.TO_APR.by(_embedding_scaled)),
        model_in("gguf"),
        in_gguf(floats("F32", 1, 2)),
    ),
)  # fmt: skip
