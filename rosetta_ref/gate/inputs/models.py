"""Tiny models that llama.cpp and transformers load, with heads that show what is done wrong to heads.

A model is described by a `Spec`; its matrices are filled from a list of cases (type and payload), one after the other. Everything
else that a loader asks for is here: keys, norms, biases, a tokenizer.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats.registry import CONTAINERS
from rosetta_ref.gate.inputs import tokenizers
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.claims import config_of
from rosetta_ref.gate.judge.mapping import EMBEDDING, FACTORS, LAYER_ROLES
from rosetta_ref.gate.judge.rope import llama3_factors
from rosetta_ref.patterns import payloads
from rosetta_ref.quant import TYPES, BlockType

#: The shape of a role's matrix in letters: V tokens, E width, F inner, Q rows of q, K rows of k.
_SHAPES = {
    "attn_q": "QE", "attn_k": "KE", "attn_v": "KE", "attn_output": "EQ", "ffn_gate": "FE", "ffn_up": "FE",
    "ffn_down": "EF",
}  # fmt: skip
_BIASED = {"llama": ("attn_q", "attn_k", "attn_v", "attn_output"), "qwen2": ("attn_q", "attn_k", "attn_v")}
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_THETA = 100_000.0
#: Type and payload of a matrix.
Case = tuple[str, str]


@dataclass(frozen=True)
class Spec:
    """The numbers of a model. `kv_heads` heads of k and v; `head` elements in a head; qwen2 always has biases.

    Blind, so not to be used alone: kv_heads^2 = heads, a head of 2 or 4 elements, inner = width. `modern` is how transformers 5
    writes the directory; `llama3` the parameters of that rope scaling, which GGUF has as a tensor.
    """

    architecture: str
    heads: int
    kv_heads: int
    head: int
    inner: int
    layers: int = 2
    tied: bool = False
    biased: bool = False
    tokenizer: str = "smollm"
    #: The float type of everything that is not a matrix: stored as F32, exact in this one.
    base: str = "F32"
    keys: Mapping[str, Value] = field(default_factory=dict)
    #: Elements of the residual stream, where they are not those of all heads.
    stream: int = 0
    modern: bool = False
    llama3: Mapping[str, float] | None = None

    @property
    def width(self) -> int:
        """Elements of the residual stream."""
        return self.stream or self.heads * self.head

    def vocabulary(self) -> dict[str, Value]:
        """GGUF's keys of the tokenizer."""
        return tokenizers.sentencepiece() if self.tokenizer == "spm" else tokenizers.byte_level(self.tokenizer)


def build(name: str, spec: Spec, cases: Sequence[Case], seed: int) -> Sample:
    """A model whose matrices take the cases in turn, and a label for each: "q4_k/llama-8x2-attn_q/index-coded"."""
    tokens = spec.vocabulary()
    tensors, labels = {}, {}
    turn = cycle(cases)
    stem = f"{spec.architecture}-{spec.heads}x{spec.kv_heads}"
    for tensor, role, shape in _slots(spec, len(tokens["tokenizer.ggml.tokens"].data)):
        own = seed_of(seed, name, tensor)
        if len(shape) == 1:
            make = payloads.near_one if role.endswith("norm") else payloads.small
            values = make(TYPES[spec.base], shape[0], own)
            tensors[tensor], case = Tensor.of(tensor, TYPES["F32"], shape, values), ("F32", "index-coded")
        else:
            case = next(turn)
            tensors[tensor] = tensor_of(tensor, TYPES[case[0]], shape, case[1], own)
        part = f"{role}-bias" if tensor.endswith(".bias") else role
        labels[tensor] = f"{case[0].lower()}/{stem}-{part}/{case[1]}"
    if spec.llama3:
        tensors[FACTORS] = Tensor.of(
            FACTORS, TYPES["F32"], (spec.head // 2,), llama3_factors(spec.head, _THETA, spec.llama3).astype(np.float32)
        )
        labels[FACTORS] = f"f32/{stem}-rope_freqs/computed"
    model = Archive("gguf", _keys(name, spec, tokens), tensors)
    files = tokenizers.files(tokens, modern=spec.modern) | {"config.json": _config(model, spec)}
    formats = formats_of(model)
    if spec.llama3 or any("rope.scaling" in key for key in spec.keys):  # APR has no key for it
        formats = tuple(name for name in formats if name != "apr")
    return Sample(name, model, labels, spec.architecture, formats, seed, companions=files)


def _config(model: Archive, spec: Spec) -> bytes:
    config = config_of(model.metadata, model.tensors)
    dtype = _DTYPES.get(model.tensors[EMBEDDING].type.name)
    if spec.llama3:
        config["rope_scaling"] = {"rope_type": "llama3", **spec.llama3}
    if dtype:
        config["dtype" if spec.modern else "torch_dtype"] = dtype
    if spec.modern:
        scaling = config.pop("rope_scaling", {"rope_type": "default"})
        config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), **scaling}
    return (json.dumps(config, indent=2) + "\n").encode()


def _slots(spec: Spec, tokens: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Name, role and shape of every tensor, in an order of llama.cpp's converter."""
    sizes = {
        "V": tokens, "E": spec.width, "F": spec.inner, "Q": spec.heads * spec.head, "K": spec.kv_heads * spec.head,
    }  # fmt: skip
    yield "token_embd.weight", "token_embd", (tokens, spec.width)
    if not spec.tied:
        yield "output.weight", "output", (tokens, spec.width)
    biased = _BIASED[spec.architecture] if spec.biased or spec.architecture == "qwen2" else ()
    for layer in range(spec.layers):
        for role, _ in LAYER_ROLES:
            shape = tuple(sizes[letter] for letter in _SHAPES.get(role, "E"))
            yield f"blk.{layer}.{role}.weight", role, shape
            if role in biased:
                yield f"blk.{layer}.{role}.bias", role, shape[:1]
    yield "output_norm.weight", "output_norm", (spec.width,)


def _keys(name: str, spec: Spec, tokens: Mapping[str, Value]) -> dict[str, Value]:
    numbers = {
        "context_length": 128, "embedding_length": spec.width, "block_count": spec.layers,
        "feed_forward_length": spec.inner, "attention.head_count": spec.heads, "attention.head_count_kv": spec.kv_heads,
        "vocab_size": len(tokens["tokenizer.ggml.tokens"].data),
    }  # fmt: skip
    if spec.architecture == "llama":
        numbers |= {
            "attention.key_length": spec.head,
            "attention.value_length": spec.head,
            "rope.dimension_count": spec.head,
        }
    texts = {"general.architecture": spec.architecture, "general.type": "model", "general.name": name}
    return {
        **{key: Value.scalar(Kind.STRING, text) for key, text in texts.items()},
        **{f"{spec.architecture}.{key}": Value.scalar(Kind.U32, number) for key, number in numbers.items()},
        f"{spec.architecture}.attention.layer_norm_rms_epsilon": Value.scalar(Kind.F32, np.float32(1e-5)),
        f"{spec.architecture}.rope.freq_base": Value.scalar(Kind.F32, np.float32(_THETA)),
        **spec.keys,
        **tokens,
    }  # fmt: skip


def tensor_of(name: str, kind: BlockType, shape: tuple[int, ...], payload: str, seed: int) -> Tensor:
    """A tensor of a type with that payload, padded to whole blocks where the type pads."""
    count = int(np.prod(shape))
    sized = kind.sized(count)
    whole = -(-count // sized.elements) * sized.elements
    return Tensor.of(name, kind, shape, payloads.payload(sized, whole, payload, seed))


def seed_of(seed: int, *names: str) -> int:
    """A seed of its own for each tensor of each sample."""
    return zlib.crc32("/".join((str(seed), *names)).encode())


def formats_of(model: Archive) -> tuple[str, ...]:
    """The formats that have a place for all types of a model."""
    kinds = {tensor.type for tensor in model.tensors.values()}
    return tuple(name for name, row in CONTAINERS.items() if all(row.holds(kind) for kind in kinds))
