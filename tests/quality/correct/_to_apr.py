"""A GGUF file into an APR file by gguf-py, struct and json; a `Style` says which of the free choices are made.

Source: the crate apr-format 0.72.3 for the container, aprender's importers for keys and names, realizar's writer for the other
dialect of version 2 (no footer, no row-major flag, other spellings of the same keys).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.quality.correct._to_directory import CLASSES, names_of, short

_KINDS = gguf.GGMLQuantizationType
#: Types that have a code of their own. What has none is decoded to float32.
_CODES = {_KINDS.F32: 0, _KINDS.F16: 1, _KINDS.BF16: 30, _KINDS.F64: 3, _KINDS.Q4_K: 12, _KINDS.Q6_K: 14}
_NUMBERS = {
    "embedding_length": ("hidden_size", "hidden_dim"), "block_count": ("num_layers", "n_layers"),
    "attention.head_count": ("num_heads", "n_heads"), "attention.head_count_kv": ("num_kv_heads", "n_kv_heads"),
    "feed_forward_length": ("intermediate_size", "ffn_dim"), "context_length": ("max_position_embeddings", "context_length"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"), "rope.freq_base": ("rope_theta", "rope_theta"),
    "attention.key_length": ("head_dim", "head_dim"),
}  # fmt: skip
_WORDS = {
    "tokenizer.ggml.model": "tokenizer.model", "tokenizer.ggml.tokens": "tokenizer.vocabulary",
    "tokenizer.ggml.merges": "tokenizer.merges", "tokenizer.ggml.scores": "tokenizer.scores",
    "tokenizer.ggml.token_type": "tokenizer.token_type", "tokenizer.ggml.bos_token_id": "tokenizer.bos_token_id",
    "tokenizer.ggml.eos_token_id": "tokenizer.eos_token_id", "tokenizer.ggml.padding_token_id": "tokenizer.padding_token_id",
    "tokenizer.ggml.add_bos_token": "tokenizer.add_bos_token", "tokenizer.ggml.pre": "tokenizer.pre_type",
    "tokenizer.chat_template": "chat_template",
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Choices that a converter is free to make: each is right."""

    #: The dialect of realizar: other keys, no footer, no flag.
    realizar: bool = False
    #: Names and rows of Hugging Face, as of an imported directory.
    hugging_face: bool = False
    #: Data in the order of the source; the index is sorted all the same.
    unsorted: bool = False


def convert(src: str | Path, dst: str | Path, style: Style) -> None:
    """Write the file."""
    reader = gguf.GGUFReader(src)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    architecture = keys["general.architecture"]
    if architecture not in ("llama", "qwen2"):
        raise ValueError(f"architecture {architecture} is not supported")
    if any("rope.scaling" in key for key in keys) or any(
        tensor.name == "rope_freqs.weight" for tensor in reader.tensors
    ):
        raise ValueError("APR has no place for the scaling of rope")
    tensors = dict(_tensors(reader, keys, architecture, style))
    metadata = _metadata(keys, architecture, tensors, style)
    Path(dst).write_bytes(_file(metadata, tensors, style))


def _tensors(
    reader: Any, keys: Mapping[str, Any], architecture: str, style: Style
) -> Iterator[tuple[str, tuple[int, list[int], bytes]]]:
    names = names_of(architecture, keys[f"{architecture}.block_count"])
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        kind, data = tensor.tensor_type, np.ascontiguousarray(tensor.data)
        if kind not in _CODES:
            kind, data = _KINDS.F32, gguf.dequantize(tensor.data, kind).astype(np.float32)
        stem, _, part = tensor.name.rpartition(".")
        theirs = style.hugging_face or architecture == "qwen2"
        role = stem.rsplit(".", 1)[-1]
        if style.hugging_face and architecture == "llama" and role in ("attn_q", "attn_k"):
            every = keys["llama.attention.head_count"]
            heads = keys.get("llama.attention.head_count_kv", every) if role == "attn_k" else every
            rows = data.view(np.uint8).reshape(heads, -1, 2, data.nbytes // shape[0])
            data = np.ascontiguousarray(rows.swapaxes(1, 2))
        yield (f"{names[stem]}.{part}" if theirs else tensor.name), (_CODES[kind], shape, data.tobytes())


def _metadata(keys: Mapping[str, Any], architecture: str, tensors: Mapping[str, Any], style: Style) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model_type": architecture, "architecture": architecture, "hf_architecture": CLASSES[architecture][0],
        "rope_type": 2 if architecture == "qwen2" or style.hugging_face else 0,
    }  # fmt: skip
    for ours, spelled in _NUMBERS.items():
        value = keys.get(f"{architecture}.{ours}")
        if value is not None:
            made[spelled[style.realizar]] = short(value)
    for ours, theirs in _WORDS.items():
        if ours in keys:
            made[theirs] = keys[ours]
    embedding = next(value for name, value in tensors.items() if name.startswith(("token_embd", "model.embed_tokens")))
    made["n_vocab" if style.realizar else "vocab_size"] = embedding[1][0]
    made["tied_embeddings"] = not any(name in ("output.weight", "lm_head.weight") for name in tensors)
    if "tokenizer.vocabulary" in made:
        made["tokenizer.vocab_size"] = len(made["tokenizer.vocabulary"])
    return made


def _file(metadata: Mapping[str, Any], tensors: Mapping[str, tuple[int, list[int], bytes]], style: Style) -> bytes:
    text = json.dumps(metadata).encode()
    places, blob = {}, bytearray()
    for name in tensors if style.unsorted else sorted(tensors, key=str.encode):
        data = tensors[name][2]
        places[name] = (len(blob), len(data))
        blob += data + bytes(-len(data) % 64)
    index = bytearray()
    for name in sorted(tensors, key=str.encode):
        code, shape, _ = tensors[name]
        index += struct.pack("<H", len(name.encode())) + name.encode() + bytes([code, len(shape)])
        index += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<QQ", *places[name])
    index_at = 64 + len(text) + -len(text) % 64
    data_at = index_at + len(index) + -len(index) % 64
    flags = 0 if style.realizar else 0x0400
    head = struct.pack("<4sBBHIQIQQ", b"APR\0", 2, 0, flags, len(tensors), 64, len(text), index_at, data_at)
    head += struct.pack("<I", zlib.crc32(head + bytes(20))) + bytes(20)
    whole = head + text + bytes(-len(text) % 64) + index + bytes(-len(index) % 64) + blob
    return bytes(whole) if style.realizar else bytes(whole) + struct.pack("<I", zlib.crc32(whole))
