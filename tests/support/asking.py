"""Models of a few kilobytes to ask questions, from struct and JSON alone: any numbers, any vocabulary, any template."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5
#: Type id of a tensor, and the NumPy type of its numbers.
_NUMBERS = {0: "<f4", 1: "<f2"}


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def u32(value: int) -> bytes:
    return struct.pack("<II", U32, value)


def f32(value: float) -> bytes:
    return struct.pack("<If", F32, value)


def string(value: str) -> bytes:
    return struct.pack("<I", STRING) + text(value)


def strings(values: Iterable[str]) -> bytes:
    rows = list(map(text, values))
    return struct.pack("<IIQ", ARRAY, STRING, len(rows)) + b"".join(rows)


def whole(values: Sequence[int]) -> bytes:
    return struct.pack(f"<IIQ{len(values)}i", ARRAY, I32, len(values), *values)


def alphabet() -> list[str]:
    """GPT-2's: a printable character for each byte, so that every text can be spelled."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


def gguf(
    path: Path, *, layers: int = 1, width: int = 2, inner: int = 2, heads: int = 1, head: int = 2, groups: int | None = None,
    vocabulary: int | None = None, tokens: Sequence[str] | None = None, template: str | None = None, kind: int = 0,
    seed: int = 0, keys: Mapping[str, bytes | None] | None = None,
) -> Path:  # fmt: skip
    """A llama of random numbers; `keys` are more keys, or others, or None for none; `vocabulary` rows without words."""
    tokens = alphabet() if tokens is None and vocabulary is None else tokens
    rows = len(tokens) if tokens is not None else vocabulary
    groups = groups or heads
    numbers = {
        "block_count": layers, "embedding_length": width, "feed_forward_length": inner, "attention.head_count": heads,
        "attention.head_count_kv": groups, "context_length": 2048, "attention.key_length": head,
        "attention.value_length": head, "rope.dimension_count": head,
    }  # fmt: skip
    stated: dict[str, bytes | None] = {"general.architecture": string("llama")}
    stated |= {f"llama.{key}": u32(value) for key, value in numbers.items()}
    stated["llama.attention.layer_norm_rms_epsilon"] = f32(1e-5)
    stated["tokenizer.ggml.model"] = string("no_vocab" if tokens is None else "gpt2")
    if tokens is not None:
        stated["tokenizer.ggml.pre"] = string("gpt-2")
        stated |= {"tokenizer.ggml.tokens": strings(tokens), "tokenizer.ggml.merges": strings([])}
        stated["tokenizer.ggml.eos_token_id"] = u32(0)
    stated |= {} if template is None else {"tokenizer.chat_template": string(template)}
    stated |= keys or {}
    q, k = heads * head, groups * head
    shapes: dict[str, tuple[int | None, ...]] = {"token_embd": (rows, width), "output_norm": (width,)}
    for layer in range(layers):
        each = {
            "attn_norm": (width,), "attn_q": (q, width), "attn_k": (k, width), "attn_v": (k, width),
            "attn_output": (width, q), "ffn_norm": (width,), "ffn_gate": (inner, width), "ffn_up": (inner, width),
            "ffn_down": (width, inner),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in each.items()}
    entries = [text(key) + value for key, value in stated.items() if value is not None]
    path.write_bytes(_file(entries, shapes, kind, np.random.default_rng(seed)))
    return path


def _file(entries: list[bytes], shapes: Mapping[str, Any], kind: int, random: np.random.Generator) -> bytes:
    infos, data = bytearray(), bytearray()
    for name, shape in shapes.items():
        stored = 0 if len(shape) == 1 else kind
        infos += text(f"{name}.weight") + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos += struct.pack("<IQ", stored, len(data))
        data += random.standard_normal(shape).astype(_NUMBERS[stored]).tobytes()
        data += bytes(-len(data) % 32)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(entries)) + b"".join(entries) + infos
    return bytes(head + bytes(-len(head) % 32) + data)


def tokenizer(**parts: Any) -> bytes:
    """A tokenizer.json of three tokens, with other parts."""
    made = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "aa": 2}, "merges": [["a", "a"]]},
    }  # fmt: skip
    return json.dumps(made | parts).encode()
