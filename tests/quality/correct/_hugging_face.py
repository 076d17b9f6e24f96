"""A Qwen2 directory into GGUF by gguf-py: names, numbers and the tokenizer; what becomes of the matrices, the converter says.

Sources: `conversion/qwen.py` and `conversion/base.py` of llama.cpp for keys and names, gguf-py's name tables, transformers'
Qwen2Config for what config.json means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors

from tests.quality.correct._gguf import Encoded

NUMBERS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def tensors_of(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor in float32: by the index where there is one, so that what it does not name is left out."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = json.loads(index.read_text("utf-8"))["weight_map"]
        files = {file: {name for name in named if named[name] == file} for file in dict.fromkeys(named.values())}
    else:
        files = {"model.safetensors": None}
    for file, wanted in files.items():
        for name, about in sorted(safetensors.deserialize((folder / file).read_bytes()), key=lambda one: one[0]):
            if wanted is not None and name not in wanted:
                continue
            values = np.frombuffer(about["data"], NUMBERS[about["dtype"]]).reshape(about["shape"])
            wide = (values.astype(np.uint32) << 16).view(np.float32) if about["dtype"] == "BF16" else values
            yield name, wide.astype(np.float32)


def into_gguf(src: Path, dst: Path, encoded: Callable[[str, np.ndarray], Encoded], file_type: int) -> None:
    """Write the model; `encoded` is asked for each tensor by its GGUF name."""
    folder = Path(src)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if config["model_type"] != "qwen2":
        raise ValueError(f"model_type {config['model_type']} is not supported")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    made: dict[str, Encoded] = {}
    for name, values in tensors_of(folder):
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if ours is None:
            raise ValueError(f"tensor {name} has no place in GGUF")
        made[ours] = encoded(ours, np.ascontiguousarray(values))
    stored = {kind for _, kind in made.values()}
    writer = gguf.GGUFWriter(dst, "qwen2")
    _numbers(writer, config, file_type if stored != {gguf.GGMLQuantizationType.F32} else 0)
    _tokenizer(writer, folder, config)
    for name, (data, kind) in made.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _numbers(writer: gguf.GGUFWriter, config: dict[str, Any], file_type: int) -> None:
    writer.add_file_type(file_type)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads", config["num_attention_heads"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    rope = config.get("rope_parameters") or config
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))


def _tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    stated = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    beside = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    ids = dict(stated["model"]["vocab"])
    special = {token["content"]: token for token in stated["added_tokens"]}
    ids |= {content: token["id"] for content, token in special.items()}
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = [
        (gguf.TokenType.CONTROL if special[token]["special"] else gguf.TokenType.USER_DEFINED) if token in special
        else gguf.TokenType.NORMAL
        for token in tokens
    ]  # fmt: skip
    while len(tokens) < config["vocab_size"]:
        tokens.append(f"[PAD{len(tokens)}]")
        kinds.append(gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in stated["model"]["merges"]]
    )
    for word, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        named = beside.get(f"{word}_token")
        named = named["content"] if isinstance(named, dict) else named
        if named is not None:
            add(ids[named])
    if "add_bos_token" in beside:
        writer.add_add_bos_token(beside["add_bos_token"])
    file = folder / "chat_template.jinja"
    template = file.read_text("utf-8") if file.exists() else beside.get("chat_template")
    if template is not None:
        writer.add_chat_template(template)
