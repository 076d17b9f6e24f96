"""Tiny models that llama.cpp and transformers load, with heads that show what is done wrong to heads.

A model is described by a `Spec`; its matrices are filled from a list of cases (type and payload), one after the other. Everything
else that a loader asks for is here: keys, norms, biases, a tokenizer.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats.registry import CONTAINERS
from rosetta_ref.gate.inputs import tokenizers
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.claims import config_of
from rosetta_ref.gate.judge.config import modern
from rosetta_ref.gate.judge.mapping import EMBEDDING, FACTORS, HEAD
from rosetta_ref.gate.judge.model import ALWAYS, Role
from rosetta_ref.gate.judge.models import MODELS, of
from rosetta_ref.gate.judge.rope import llama3_factors
from rosetta_ref.patterns import payloads
from rosetta_ref.quant import TYPES, BlockType

#: The architectures that most converters take, first: what a converter is asked with that does not say which it takes.
_FIRST = ("llama", "qwen2")
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_THETA = 100_000.0
#: The vocabulary of an architecture whose own a converter does not take.
_WORDED: ContextVar[Mapping[str, str]] = ContextVar("_WORDED", default={})  # noqa: B039 (never written to)
#: Type and payload of a matrix.
Fill = tuple[str, str]


@dataclass(frozen=True)
class Spec:
    """The numbers of a model. `kv_heads` heads of k and v; `head` elements in a head; `biased` where the architecture may be.

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
    #: A vocabulary of `tokenizers`; "" for the architecture's own.
    tokenizer: str = ""
    #: The float type of everything that is not a matrix: stored as F32, exact in this one.
    base: str = "F32"
    keys: Mapping[str, Value] = field(default_factory=dict)
    #: Elements of the residual stream, where they are not those of all heads.
    stream: int = 0
    modern: bool = False
    llama3: Mapping[str, float] | None = None
    theta: float = _THETA

    @property
    def width(self) -> int:
        """Elements of the residual stream."""
        return self.stream or self.heads * self.head

    @property
    def words(self) -> str:
        """The name of its vocabulary."""
        return self.tokenizer or _WORDED.get().get(self.architecture) or of(self.architecture).tokenizer

    @property
    def scaling(self) -> str | None:
        """The kind of its rope scaling; None where it has none."""
        if self.llama3:
            return "llama3"
        stated = self.keys.get(f"{self.architecture}.rope.scaling.type")
        return str(stated.plain()) if stated is not None else None

    def vocabulary(self) -> dict[str, Value]:
        """GGUF's keys of the tokenizer."""
        return tokenizers.vocabulary(self.words)


@contextmanager
def worded(words: Mapping[str, str]) -> Iterator[None]:
    """Models of those architectures have those vocabularies, where their `Spec` names none."""
    token = _WORDED.set(words)
    try:
        yield
    finally:
        _WORDED.reset(token)


def families(claimed: Collection[str] | None = None) -> list[str]:
    """The architectures that there are models of, common ones first; of those that a converter takes, where it says so."""
    known = [*(name for name in _FIRST if name in MODELS), *(name for name in MODELS if name not in _FIRST)]
    return [name for name in known if claimed is None or name in claimed]


def build(name: str, spec: Spec, fills: Sequence[Fill], seed: int) -> Sample:
    """A model whose matrices take the fills in turn, and a label for each: "q4_k/llama-8x2-attn_q/index-coded"."""
    tokens = spec.vocabulary()
    tensors, labels = {}, {}
    turn = cycle(fills)
    stem = f"{spec.architecture}-{spec.heads}x{spec.kv_heads}"
    for tensor, role, shape in _slots(spec, len(tokens["tokenizer.ggml.tokens"].data)):
        own = seed_of(seed, name, tensor)
        if len(shape) == 1:
            values = _vector(role, TYPES[spec.base], shape[0], own)
            tensors[tensor], fill = Tensor.of(tensor, TYPES["F32"], shape, values), ("F32", "index-coded")
        else:
            fill = next(turn)
            tensors[tensor] = tensor_of(tensor, TYPES[fill[0]], shape, fill[1], own)
        part = f"{role.gguf}-bias" if tensor.endswith(".bias") else role.gguf
        labels[tensor] = f"{fill[0].lower()}/{stem}-{part}/{fill[1]}"
    if spec.llama3:
        tensors[FACTORS] = Tensor.of(
            FACTORS,
            TYPES["F32"],
            (spec.head // 2,),
            llama3_factors(spec.head, spec.theta, spec.llama3).astype(np.float32),
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
        config = modern(config)
    return (json.dumps(config, indent=2) + "\n").encode()


def _vector(role: Role, base: BlockType, count: int, seed: int) -> NDArray[np.float32]:
    """Weights of a norm, or a bias: all different, and exact in that type as Hugging Face has them."""
    if role.is_matrix:
        return payloads.small(base, count, seed)
    values = payloads.near_one(base, count, seed)
    if not role.plus:
        return values
    signs = np.where(np.arange(count) % 2, np.float32(-1 / 16), np.float32(1 / 16))
    return values * signs + np.float32(role.plus)  # of more bits than a narrow type has


def _slots(spec: Spec, tokens: int) -> Iterator[tuple[str, Role, tuple[int, ...]]]:
    """Name, role and shape of every tensor, in an order of llama.cpp's converter."""
    sizes = {
        "V": tokens, "E": spec.width, "F": spec.inner, "Q": spec.heads * spec.head, "K": spec.kv_heads * spec.head,
        "D": spec.head,
    }  # fmt: skip

    def slot(stem: str, role: Role, part: str = "weight") -> tuple[str, Role, tuple[int, ...]]:
        letters = role.shape if part == "weight" else role.shape[:1]
        return f"{stem}{role.gguf}.{part}", role, tuple(sizes[letter] for letter in letters)

    model = of(spec.architecture)
    ends = [slot("", role) for role in model.whole]
    yield from (end for end in ends if len(end[2]) > 1 and not (spec.tied and end[0] == HEAD))
    for layer in range(spec.layers):
        for role in model.layer:
            yield slot(f"blk.{layer}.", role)
            if role.biased == ALWAYS or (spec.biased and role.biased):
                yield slot(f"blk.{layer}.", role, "bias")
    yield from (end for end in ends if len(end[2]) == 1)


def _keys(name: str, spec: Spec, tokens: Mapping[str, Value]) -> dict[str, Value]:
    numbers = {
        "context_length": 128, "embedding_length": spec.width, "block_count": spec.layers,
        "feed_forward_length": spec.inner, "attention.head_count": spec.heads, "attention.head_count_kv": spec.kv_heads,
        "vocab_size": len(tokens["tokenizer.ggml.tokens"].data),
    }  # fmt: skip
    numbers |= dict.fromkeys(of(spec.architecture).head_keys, spec.head)
    texts = {"general.architecture": spec.architecture, "general.type": "model", "general.name": name}
    return {
        **{key: Value.scalar(Kind.STRING, text) for key, text in texts.items()},
        **{f"{spec.architecture}.{key}": Value.scalar(Kind.U32, number) for key, number in numbers.items()},
        f"{spec.architecture}.attention.layer_norm_rms_epsilon": Value.scalar(Kind.F32, np.float32(1e-5)),
        **_examples(spec.architecture),
        f"{spec.architecture}.rope.freq_base": Value.scalar(Kind.F32, np.float32(spec.theta)),
        **spec.keys,
        **tokens,
    }  # fmt: skip


def _examples(architecture: str) -> dict[str, Value]:
    model = of(architecture)
    kinds = {row.gguf: row.kind for row in model.numbers}
    return {f"{architecture}.{key}": Value.scalar(kinds[key], value) for key, value in model.example.items()}


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
