"""Tiny random models as GGUF files, written with gguf-py: the shapes of real ones, in seconds.

8 query heads on 2 key/value heads of 16 elements, two layers. The tokenizer is that of another GGUF file, taken over key for key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.support.independent import GGUFReader

HEADS, KV_HEADS, HEAD_DIM, LAYERS, F = 8, 2, 16, 2, 96
E = HEADS * HEAD_DIM
CONTEXT = 512


def build(
    path: Path,
    architecture: str,
    tokenizer: Path,
    *,
    tied: bool = True,
    bias: bool = False,
    floats: Mapping[str, float] | None = None,
    strings: Mapping[str, str] | None = None,
    ints: Mapping[str, int] | None = None,
    rope_freqs: np.ndarray | None = None,
    head_dim: int = HEAD_DIM,
    seed: int = 0,
) -> Path:
    """Write a model with BF16 matrices; heads of another size are said in the keys. `floats`, `strings` and `ints` are further keys behind `{architecture}.`."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(E)
    writer.add_feed_forward_length(F)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    if head_dim != HEAD_DIM:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    for name, number in (floats or {}).items():
        writer.add_float32(f"{architecture}.{name}", number)
    for name, text in (strings or {}).items():
        writer.add_string(f"{architecture}.{name}", text)
    for name, whole in (ints or {}).items():
        writer.add_uint32(f"{architecture}.{name}", whole)
    vocabulary = _tokenizer(writer, tokenizer)

    def add(name: str, *shape: int) -> None:
        if len(shape) == 1:
            # Values of BF16, as trained models have them, so that one type holds the whole model.
            values = (1 + random.standard_normal(shape) / 8).astype(np.float32).view(np.uint32)
            writer.add_tensor(name, (values & np.uint32(0xFFFF0000)).view(np.float32))
            return
        values = (random.standard_normal(shape, np.float32) / np.float32(math.sqrt(shape[-1]))).view(np.uint32)
        writer.add_tensor(
            name, (values >> 16).astype(np.uint16).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16
        )

    if rope_freqs is not None:
        writer.add_tensor("rope_freqs.weight", rope_freqs.astype(np.float32))
    add("token_embd.weight", vocabulary, E)
    if not tied:
        add("output.weight", vocabulary, E)
    add("output_norm.weight", E)
    for layer in range(LAYERS):
        wide, narrow = HEADS * head_dim, KV_HEADS * head_dim
        rows = {"attn_q": wide, "attn_k": narrow, "attn_v": narrow}
        for name, count in rows.items():
            add(f"blk.{layer}.{name}.weight", count, E)
            if bias:
                add(f"blk.{layer}.{name}.bias", count)
        for name, shape in {"attn_output": (E, wide), "ffn_gate": (F, E), "ffn_up": (F, E), "ffn_down": (E, F)}.items():
            add(f"blk.{layer}.{name}.weight", *shape)
        add(f"blk.{layer}.attn_norm.weight", E)
        add(f"blk.{layer}.ffn_norm.weight", E)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokenizer(writer: gguf.GGUFWriter, path: Path) -> int:
    """Take over the tokenizer keys of another file; the number of tokens."""
    keys = _tokenizer_keys(path)
    for name, (value, kind, item) in keys.items():
        writer.add_key_value(name, value, kind, sub_type=item)
    return len(keys["tokenizer.ggml.tokens"][0])


@lru_cache(maxsize=1)
def _tokenizer_keys(path: Path) -> dict[str, tuple[Any, gguf.GGUFValueType, gguf.GGUFValueType | None]]:
    """The values with their types, and the types of their items: seconds for a real vocabulary."""
    return {
        name: (
            field.contents(),
            field.types[0],
            field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None,
        )
        for name, field in GGUFReader(path).fields.items()
        if name.startswith("tokenizer.")
    }
