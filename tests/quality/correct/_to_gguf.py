"""A Hugging Face directory into a GGUF file by gguf-py, NumPy and json; a `Style` says which of the free choices are made.

Sources: llama.cpp's `src/llama-hparams` and `src/models/` for what its loaders take where a key is absent, gguf-py's name maps and
SpecialVocab, transformers' configuration classes for what config.json means (`_to_directory.DEFAULTS`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.quality.correct._gguf import Encoded
from tests.quality.correct._hugging_face import tensors_of
from tests.quality.correct._to_directory import DEFAULTS

_KINDS = gguf.GGMLQuantizationType
_ARCHITECTURES = {
    "LlamaForCausalLM": ("llama", gguf.MODEL_ARCH.LLAMA), "Qwen2ForCausalLM": ("qwen2", gguf.MODEL_ARCH.QWEN2),
    "Qwen3ForCausalLM": ("qwen3", gguf.MODEL_ARCH.QWEN3), "Gemma3ForCausalLM": ("gemma3", gguf.MODEL_ARCH.GEMMA3),
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Choices that a converter is free to make: each is right."""

    #: Leave out each key where llama.cpp takes that value anyway.
    silent: bool = False
    #: More keys than anybody asks for.
    talkative: bool = False
    alignment: int = 32
    #: Tensors from the last to the first.
    reversed: bool = False
    #: What a tensor of more than one dimension becomes: F32 where nothing is said.
    encoded: Callable[[np.ndarray], Encoded] | None = None
    #: The pre-tokenizer, for who knows it otherwise than by its steps.
    pre: str | None = None
    #: general.file_type, in words of llama.h, where not all is F32.
    file_type: int = 0


def convert(src: str | Path, dst: str | Path, style: Style) -> None:
    """Write the file."""
    folder = Path(src)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "rope_parameters" in config:
        config |= _older(config["rope_parameters"])
    name = config["architectures"][0]
    if name not in _ARCHITECTURES:
        raise ValueError(f"the architecture {name} is not supported")
    architecture, arch = _ARCHITECTURES[name]
    config = DEFAULTS[architecture] | config
    writer = gguf.GGUFWriter(dst, architecture)
    if style.alignment != 32:
        writer.add_custom_alignment(style.alignment)
    tensors = dict(_tensors(folder, architecture, arch, config))
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type", scaling.get("type")) == "llama3":
        tensors["rope_freqs.weight"] = _factors(config)
    made = {name: _encoded(tensors[name], style) for name in (reversed(tensors) if style.reversed else tensors)}
    whole = {kind for _, kind in made.values()} == {_KINDS.F32}
    _numbers(writer, architecture, config, replace(style, file_type=0) if whole else style)
    _tokenizer(writer, folder, config, style)
    for name, (data, kind) in made.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _older(table: Mapping[str, Any]) -> dict[str, Any]:
    """rope_parameters of transformers 5 in the keys of before."""
    if "full_attention" in table:
        whole, windowed = table["full_attention"], table.get("sliding_attention", {})
        return _older(whole) | {"rope_local_base_freq": windowed.get("rope_theta", 10000.0)}
    found = {"rope_theta": table["rope_theta"]} if "rope_theta" in table else {}
    rest = {key: value for key, value in table.items() if key != "rope_theta"}
    return found | ({"rope_scaling": rest} if rest.get("rope_type", "default") != "default" else {})


def _encoded(values: np.ndarray, style: Style) -> Encoded:
    if values.ndim == 1 or style.encoded is None:
        return np.ascontiguousarray(values, np.float32), _KINDS.F32
    return style.encoded(np.ascontiguousarray(values, np.float32))


# Tensors


def _tensors(folder: Path, architecture: str, arch: Any, config: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    kv = config.get("num_key_value_heads") or heads
    for theirs, values in tensors_of(folder):
        ours = names.get_name(theirs, try_suffixes=(".weight", ".bias"))
        if ours is None:
            raise ValueError(f"tensor {theirs} has no place in GGUF")
        if architecture == "llama" and (".attn_q." in ours or ".attn_k." in ours):
            count = heads if ".attn_q." in ours else kv
            rows = values.reshape(count, 2, -1, *values.shape[1:])
            values = rows.swapaxes(1, 2).reshape(values.shape)
        if architecture == "gemma3" and ours.endswith("norm.weight"):
            values = values + np.float32(1)
        yield ours, values


def _factors(config: Mapping[str, Any]) -> np.ndarray:
    """Llama 3.1: long waves are stretched, short ones are not, and between them it goes smoothly."""
    table = config["rope_scaling"]
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    wave = 2 * np.pi * float(config["rope_theta"]) ** (np.arange(0, head, 2) / head)
    low, high, factor = table["low_freq_factor"], table["high_freq_factor"], table["factor"]
    turns = table["original_max_position_embeddings"] / wave
    between = (turns - low) / (high - low)
    made = np.where(turns > high, 1.0, np.where(turns < low, factor, 1 / ((1 - between) / factor + between)))
    return made.astype(np.float32)


# Numbers


def _numbers(writer: Any, architecture: str, config: Mapping[str, Any], style: Style) -> None:
    heads, kv = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    theta = float(config.get("rope_theta", 10000.0))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    quiet = style.silent
    if not (quiet and kv == heads):
        writer.add_head_count_kv(kv)
    if not (quiet and head * heads == config["hidden_size"]):
        writer.add_key_length(head)
        writer.add_value_length(head)
    if not (quiet and theta == 10000.0):
        writer.add_rope_freq_base(theta)
    if architecture == "gemma3":
        _gemma(writer, config, style)
    if not quiet:
        writer.add_file_type(style.file_type)
        writer.add_vocab_size(config["vocab_size"])
        if architecture == "llama":
            writer.add_rope_dimension_count(head)
    if style.talkative:
        writer.add_quantization_version(2)
        writer.add_name("Any name")
        writer.add_description("converted")
        writer.add_size_label("1M")
        writer.add_tags(["text-generation"])
        writer.add_string("any.tool.version", "1.0")
        writer.add_array("any.tool.numbers", [1, 2, 3])
    _scaling(writer, config)


def _gemma(writer: Any, config: Mapping[str, Any], style: Style) -> None:
    writer.add_sliding_window(config["sliding_window"])
    if not style.silent or config["rope_local_base_freq"] != 10000.0:
        writer.add_float32("gemma3.rope.freq_base_swa", config["rope_local_base_freq"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def _scaling(writer: Any, config: Mapping[str, Any]) -> None:
    table = config.get("rope_scaling") or {}
    kind = table.get("rope_type", table.get("type"))
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(table["factor"])
        before = table.get("original_max_position_embeddings")
        if before:
            writer.add_rope_scaling_orig_ctx_len(before)
    elif kind not in (None, "default", "llama3"):
        raise ValueError(f"the rope scaling {kind} is not supported")


# The tokenizer


def _tokenizer(writer: Any, folder: Path, config: Mapping[str, Any], style: Style) -> None:
    stated = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    beside = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    ids = dict(stated["model"]["vocab"])
    added = {token["content"]: token for token in stated["added_tokens"]}
    ids |= {content: token["id"] for content, token in added.items()}
    tokens = sorted(ids, key=ids.__getitem__)
    spm = bool(stated["model"].get("byte_fallback"))
    unknown = stated["model"].get("unk_token")
    kinds = [_kind(token, added, spm, unknown) for token in tokens]
    while len(tokens) < config["vocab_size"]:
        tokens.append(f"[PAD{len(tokens)}]")
        kinds.append(gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("llama" if spm else "gpt2")
    writer.add_tokenizer_pre("default" if spm else style.pre or _pre(stated))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if spm:
        writer.add_token_scores(_scores(stated, tokens))
        prefixed = "Prepend" in json.dumps(stated.get("normalizer"))
        if not (style.silent and prefixed):
            writer.add_add_space_prefix(prefixed)
    else:
        merges = stated["model"]["merges"]
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    _special(writer, ids, beside, config)
    for key, add, taken in (
        ("add_bos_token", writer.add_add_bos_token, spm),
        ("add_eos_token", writer.add_add_eos_token, False),
    ):
        if key in beside and not (style.silent and beside[key] == taken):
            add(beside[key])
    file = folder / "chat_template.jinja"
    template = file.read_text("utf-8") if file.exists() else beside.get("chat_template")
    if template is not None:
        writer.add_chat_template(template)


def _kind(token: str, added: Mapping[str, Any], spm: bool, unknown: str | None) -> int:
    if spm and token == unknown:
        return gguf.TokenType.UNKNOWN
    if token in added:
        return gguf.TokenType.CONTROL if added[token]["special"] else gguf.TokenType.USER_DEFINED
    byte = spm and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    return gguf.TokenType.BYTE if byte else gguf.TokenType.NORMAL


def _pre(stated: Mapping[str, Any]) -> str:
    steps = stated["pre_tokenizer"]["pretokenizers"]
    return "smollm" if steps[0]["type"] == "Digits" else "qwen2"


def _scores(stated: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """Minus the place of a piece among those that merges make, and behind them the others: any numbers of that order are right."""
    made = dict.fromkeys(
        "".join(merge if isinstance(merge, list) else merge.split(" ")) for merge in stated["model"]["merges"]
    )
    places = {piece: float(-place) for place, piece in enumerate(made)}
    return [places.get(token, 0.0) for token in tokens]


def _special(writer: Any, ids: Mapping[str, int], beside: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    adders = {
        "bos": writer.add_bos_token_id, "eos": writer.add_eos_token_id, "pad": writer.add_pad_token_id,
        "unk": writer.add_unk_token_id,
    }  # fmt: skip
    for word, add in adders.items():
        named = beside.get(f"{word}_token")
        named = named["content"] if isinstance(named, dict) else named
        if named is not None:
            add(ids[named])
        elif isinstance(config.get(f"{word}_token_id"), int):
            add(config[f"{word}_token_id"])
