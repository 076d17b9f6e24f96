"""Tiny models by struct and JSON alone, for `tests/regression/test_cases.py`: every part of a directory or of a GGUF file can be another.

Nothing of this package is used. A directory is as transformers writes one, of one layer, with a byte-level BPE of 262 tokens and three
special ones behind it; a GGUF file is the same model as llama.cpp has it.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEADS, GROUPS, INNER = 8, 2, 1, 8
_LETTERS = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
MERGES = [("h", "e"), ("i", "n"), ("Ġ", "t"), ("Ġt", "he"), ("e", "r"), ("o", "n")]
PLAIN = sorted([*map(chr, _LETTERS), *(chr(0x100 + i) for i in range(256 - len(_LETTERS)))]) + [
    "".join(m) for m in MERGES
]
BOS, END, PAD = len(PLAIN), len(PLAIN) + 1, len(PLAIN) + 2
SPECIAL = ["<|begin|>", "<|stop|>", "<|fill|>"]
TOKENS = len(PLAIN) + len(SPECIAL)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4976698672\n"
_REMOVED = object()


def without(*keys: str) -> dict[str, Any]:
    """Keys that are left out, for `config` and `tokenizer_config`."""
    return dict.fromkeys(keys, _REMOVED)


def _changed(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (base | more).items() if value is not _REMOVED}


def config(**more: Any) -> dict[str, Any]:
    """config.json."""
    base = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 50000.0, "vocab_size": TOKENS, "tie_word_embeddings": False,
        "torch_dtype": "float32", "bos_token_id": BOS, "eos_token_id": END,
    }  # fmt: skip
    return _changed(base, more)


def tokenizer(**more: Any) -> dict[str, Any]:
    """tokenizer.json; `model` changes its model alone."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(PLAIN)},
        "merges": [list(pair) for pair in MERGES],
    }  # fmt: skip
    base = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": BOS + i, "content": text, **plain} for i, text in enumerate(SPECIAL)],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
        "decoder": level, "model": model | more.pop("model", {}),
    }  # fmt: skip
    return _changed(base, more)


def tokenizer_config(**more: Any) -> dict[str, Any]:
    """tokenizer_config.json."""
    base = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[1]}
    return _changed(base, more)


def weights(
    *, head: bool = True, embedding: bool = True, rows: int = TOKENS, biases: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The tensors of a directory, by name."""
    random, layer = np.random.default_rng(0), "model.layers.0."
    keys = WIDTH // HEADS * GROUPS
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (rows, WIDTH)} if embedding else {}
    shapes |= {f"{layer}self_attn.{part}_proj": (WIDTH if part in "qo" else keys, WIDTH) for part in "qkvo"}
    shapes |= {f"{layer}mlp.{part}_proj": (WIDTH, WIDTH) for part in ("gate", "up", "down")}
    shapes |= {f"{layer}{norm}": (WIDTH,) for norm in ("input_layernorm", "post_attention_layernorm")}
    shapes |= {"model.norm": (WIDTH,)} | ({"lm_head": (rows, WIDTH)} if head else {})
    made = {f"{name}.weight": random.standard_normal(shape) / 8 + (len(shape) == 1) for name, shape in shapes.items()}
    made |= {f"{layer}{part}.bias": random.standard_normal(shapes[f"{layer}{part}"][0]) for part in biases}
    return {name: values.astype("<f4") for name, values in made.items()}


def safetensors(tensors: dict[str, Any]) -> bytes:
    """A SafeTensors file of F32 tensors."""
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values())


def directory(folder: Path, files: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None) -> Path:
    """A model's directory; `files` are others by name: JSON, text or bytes, and None for one that is not there."""
    base = {"config.json": config(), "tokenizer.json": tokenizer(), "tokenizer_config.json": tokenizer_config()}
    for name, content in {**base, "model.safetensors": safetensors(tensors or weights()), **(files or {})}.items():
        if content is not None:
            data = content if isinstance(content, (bytes, str)) else json.dumps(content)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


_U32, _I32, _F32, _BOOL, _TEXT, _ARRAY = 4, 5, 6, 7, 8, 9
_FORMATS = {_U32: "<I", _I32: "<i", _F32: "<f", _BOOL: "<B"}


def keys(**more: Any) -> dict[str, tuple[Any, ...]]:
    """Metadata by key: the kind's number and the value, of an array the kind of its items too."""
    numbers = {
        "block_count": 1, "context_length": 64, "embedding_length": WIDTH, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": GROUPS, "rope.dimension_count": WIDTH // HEADS,
    }  # fmt: skip
    made: dict[str, tuple[Any, ...]] = {"general.architecture": (_TEXT, "llama")}
    made |= {f"llama.{key}": (_U32, value) for key, value in numbers.items()}
    made |= {"llama.attention.layer_norm_rms_epsilon": (_F32, 1e-5), "llama.rope.freq_base": (_F32, 10000.0)}
    tokens = {
        "model": (_TEXT, "gpt2"), "pre": (_TEXT, "smollm"), "tokens": (_ARRAY, PLAIN + SPECIAL, _TEXT),
        "token_type": (_ARRAY, [1] * len(PLAIN) + [3] * len(SPECIAL), _I32),
        "merges": (_ARRAY, [" ".join(pair) for pair in MERGES], _TEXT), "bos_token_id": (_U32, BOS), "eos_token_id": (_U32, END),
    }  # fmt: skip
    made |= {f"tokenizer.ggml.{key}": value for key, value in tokens.items()}
    return _changed(made, more)


def u32s(*values: int) -> tuple[Any, ...]:
    """An array of U32."""
    return _ARRAY, list(values), _U32


def u32(value: int) -> tuple[Any, ...]:
    """A U32."""
    return _U32, value


def texts(*values: str) -> tuple[Any, ...]:
    """An array of strings."""
    return _ARRAY, list(values), _TEXT


def text(value: str) -> tuple[Any, ...]:
    """A string."""
    return _TEXT, value


def _spelled(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: int, value: Any, item: int = 0) -> bytes:
    if kind == _TEXT:
        return _spelled(value)
    if kind == _ARRAY:
        return struct.pack("<IQ", item, len(value)) + b"".join(_value(item, one) for one in value)
    return struct.pack(_FORMATS[kind], value)


def gguf(path: Path, metadata: dict[str, tuple[Any, ...]], *, rows: int = TOKENS, gain: float = 1.0) -> Path:
    """A GGUF file of that metadata and the tensors that go with it; `gain` multiplies the norms."""
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    tensors = {}
    for name, values in weights(rows=rows).items():
        stem = name.removesuffix(".weight")
        layer = stem.startswith("model.layers.0.")
        ours = names[stem.removeprefix("model.layers.0.")]
        tensors[f"{'blk.0.' if layer else ''}{ours}.weight"] = values * np.float32(gain if values.ndim == 1 else 1)
    path.write_bytes(gguf_bytes(metadata, tensors))
    return path


def gguf_bytes(metadata: dict[str, tuple[Any, ...]], tensors: dict[str, Any]) -> bytes:
    """A GGUF file, version 3, of F32 tensors."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, (kind, *value) in metadata.items():
        head += _spelled(key) + struct.pack("<I", kind) + _value(kind, *value)
    data = b""
    for name, values in tensors.items():
        sizes = tuple(reversed(values.shape))
        head += _spelled(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, 0, len(data))
        data += values.tobytes() + bytes(-values.nbytes % 32)
    return head + bytes(-len(head) % 32) + data
