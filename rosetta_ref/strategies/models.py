"""Whole models: small, of a known architecture, with every shape of head, and each tensor of a type of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from rosetta_ref.architectures.complete import shape_of
from rosetta_ref.architectures.models import MODELS
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies.quantised import payload

#: Types of the matrices of a GGUF model that this package can decode. Rows are 256 elements, so all of them fit.
MATRIX_TYPES = (
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
)  # fmt: skip
#: Those with the fewest parts first: examples shrink to them.
ARCHITECTURES = tuple(MODELS)
_WIDTH = 256


@st.composite
def models(
    draw: st.DrawFn, *, types: Sequence[str] = MATRIX_TYPES, architectures: Sequence[str] = ARCHITECTURES
) -> Archive:
    """A GGUF-shaped model without a vocabulary, as an archive in memory; its matrices of these types, its vectors of F32.

    Head counts include those that tell a wrong head permutation from a right one ((8, 2), (4, 1)). Payloads are of all patterns:
    of some each block says where it belongs. Shrinks to one layer of a llama model in F32, all zeros, with a head of its own.
    """
    architecture = draw(st.sampled_from(architectures))
    heads, kv_heads = draw(st.sampled_from([(2, 1), (4, 1), (8, 2), (4, 4)]))
    layers, tied = draw(st.integers(1, 2)), draw(st.booleans())
    known, head = MODELS[architecture], _WIDTH // heads
    sizes = {"V": 5, "E": _WIDTH, "F": _WIDTH, "D": head, "Q": _WIDTH, "K": head * kv_heads}
    shapes = {
        f"{role.gguf}.weight": shape_of(role, "weight", sizes) for role in known.once if not (tied and role.optional)
    }
    parts = sorted(known.layer, key=lambda role: len(role.shape) == 1)  # matrices first
    for layer in range(layers):
        shapes |= {f"blk.{layer}.{role.gguf}.weight": shape_of(role, "weight", sizes) for role in parts}
        always = [role for role in parts if role.bias == "always"]
        shapes |= {f"blk.{layer}.{role.gguf}.bias": shape_of(role, "bias", sizes) for role in always}
    tensors = {}
    for name, shape in shapes.items():
        kind = draw(st.sampled_from(types)) if len(shape) > 1 else "F32"
        tensors[name] = Tensor.of(name, TYPES[kind], shape, draw(payload(kind, shape)))
    return Archive("gguf", _metadata(architecture, heads, kv_heads, layers), tensors)


def _metadata(architecture: str, heads: int, kv_heads: int, layers: int) -> dict[str, Value]:
    numbers: dict[str, Any] = {
        "block_count": layers, "context_length": 64, "embedding_length": _WIDTH, "feed_forward_length": _WIDTH,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "vocab_size": 5,
    }  # fmt: skip
    rows = MODELS[architecture].numbers
    numbers |= {row.gguf: row.default for row in rows if row.kind is Kind.U32 and "late" in row.flags and row.default}
    made = {"general.architecture": Value.scalar(Kind.STRING, architecture)}
    made |= {f"{architecture}.{key}": Value.scalar(Kind.U32, number) for key, number in numbers.items()}
    made[f"{architecture}.attention.layer_norm_rms_epsilon"] = Value.scalar(Kind.F32, 1e-5)
    made["tokenizer.ggml.model"] = Value.scalar(Kind.STRING, "no_vocab")
    return made
