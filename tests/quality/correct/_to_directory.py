"""A GGUF file into a Hugging Face directory by gguf-py, NumPy and json; a `Style` says which of the free choices are made.

Sources: transformers' configuration classes for names and for what silence means (`DEFAULTS`, typed from LlamaConfig, Qwen2Config,
Qwen3Config and Gemma3TextConfig of 5.24), gguf-py's name maps for tensors, llama.cpp's `conversion/` for the rows of llama and the
norms of gemma, the `tokenizers` library for the steps of tokenizer.json.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_KINDS = gguf.GGMLQuantizationType
#: What gguf-py decodes.
TYPES = (
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "MXFP4",
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
CLASSES = {
    "llama": ("LlamaForCausalLM", "llama"), "qwen2": ("Qwen2ForCausalLM", "qwen2"), "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text"),
}  # fmt: skip
_NUMBERS = {
    "context_length": "max_position_embeddings", "embedding_length": "hidden_size", "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps", "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window", "final_logit_softcapping": "final_logit_softcapping",
}  # fmt: skip
#: What transformers takes where config.json says nothing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    },
    "qwen2": {
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": False, "use_sliding_window": False,
    },
    "qwen3": {
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False,
        "use_sliding_window": False,
    },
    "gemma3": {
        "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0, "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True, "attention_bias": False, "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
    },
}  # fmt: skip
#: Meta's scalings, of which a GGUF file has only what comes of them.
_PUBLISHED = [
    {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": before}
    for factor in (8.0, 32.0, 16.0, 4.0) for before in (8192, 4096, 256)
]  # fmt: skip
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_OTHERWISE = (
    r"(?i:'[sdmt]|'re|'ve|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Style:
    """Choices that a converter is free to make: each is right."""

    #: Leave out of config.json what transformers takes anyway.
    silent: bool = False
    shards: int = 1
    template: str = "tokenizer_config.json"
    #: Where the ids of special tokens stand: any of config.json, generation_config.json; words always in tokenizer_config.json.
    ids: tuple[str, ...] = ("config.json",)
    #: Special tokens in added_tokens alone, and not in the vocabulary of the model.
    apart: bool = False
    #: The same pre-tokenizer in other words.
    otherwise: bool = False
    #: Merges as pairs.
    pairs: bool = False
    #: rope_theta inside of rope_parameters.
    newest: bool = False
    #: All tensors in float32.
    wide: bool = False
    #: The names of tensors in alphabetical order, as the torch writers have them.
    sorted: bool = False


def convert(src: str | Path, dst: str | Path, style: Style) -> None:
    """Write the directory."""
    reader, folder = gguf.GGUFReader(src), Path(dst)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    architecture = keys["general.architecture"]
    if architecture not in CLASSES:
        raise ValueError(f"architecture {architecture} is not supported")
    folder.mkdir(parents=True)
    tensors = dict(_tensors(reader, keys, architecture, style))
    config = _config(keys, architecture, tensors, {tensor.name: tensor for tensor in reader.tensors}, style)
    _weights(folder, dict(sorted(tensors.items())) if style.sorted else tensors, style.shards)
    _write(folder, "config.json", config)
    if "tokenizer.ggml.tokens" in keys:
        _tokenizer(folder, keys, style)
        _named_templates(folder, keys)


def _named_templates(folder: Path, keys: Mapping[str, Any]) -> None:
    """Each in a file; the folder takes the place of what tokenizer_config.json says, so that the default is a file then, too."""
    for name in keys.get("tokenizer.chat_templates", ()):
        (folder / "additional_chat_templates").mkdir(exist_ok=True)
        text = keys[f"tokenizer.chat_template.{name}"]
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text(text, "utf-8")
        (folder / "chat_template.jinja").write_text(keys["tokenizer.chat_template"], "utf-8")


def _write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), "utf-8")


# Tensors


def _tensors(reader: Any, keys: Mapping[str, Any], architecture: str, style: Style) -> Any:
    names = names_of(architecture, keys[f"{architecture}.block_count"])
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            continue
        values = _values(tensor, wide=style.wide)
        stem, _, part = tensor.name.rpartition(".")
        role = stem.rsplit(".", 1)[-1]
        if architecture == "llama" and role in ("attn_q", "attn_k"):
            every = keys["llama.attention.head_count"]
            heads = keys.get("llama.attention.head_count_kv", every) if role == "attn_k" else every
            rows = values.reshape(heads, -1, 2, *values.shape[1:])
            values = rows.swapaxes(1, 2).reshape(values.shape)
        if architecture == "gemma3" and role.endswith("norm"):
            values = (values.astype(np.float32) - np.float32(1)).astype(values.dtype)
        yield f"{names[stem]}.{part}", (values, tensor.tensor_type)


def _values(tensor: Any, *, wide: bool) -> Any:
    """The numbers as they are where safetensors has their type (BF16 as its bits), else in float32."""
    kind, shape = tensor.tensor_type, [int(size) for size in reversed(tensor.shape)]
    if kind == _KINDS.BF16 and not wide:
        return np.asarray(tensor.data).view(np.uint16).reshape(shape)
    plain = kind in (_KINDS.F32, _KINDS.F16, _KINDS.F64) and not wide
    values = np.asarray(tensor.data) if plain else gguf.dequantize(tensor.data, kind)
    return np.ascontiguousarray(values).reshape(shape)


def names_of(architecture: str, layers: int) -> dict[str, str]:
    """GGUF's names with those of Hugging Face, both without their last part: gguf-py's map of that architecture, the other way."""
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(arch, layers).mapping
    ours: dict[str, str] = {}
    for theirs, (_, name) in table.items():
        if theirs.startswith(("model.layers.", "model.embed_tokens", "model.norm", "lm_head")):
            plain = ours.get(name)
            if plain is None or _ODD.intersection(plain.split(".")):
                ours[name] = theirs
    return ours


#: Parts of names that other architectures have.
_ODD = frozenset(
    {"attention", "feed_forward", "temporal_block", "self_attention", "block_sparse_moe", "residual_mlp", "mixer"}
)


def _weights(folder: Path, tensors: Mapping[str, Any], shards: int) -> None:
    names = list(tensors)
    if shards == 1:
        _save(folder / "model.safetensors", tensors)
        return
    bounds = [len(names) * place // shards for place in range(shards + 1)]
    places = {}
    for number, (start, stop) in enumerate(pairwise(bounds), start=1):
        file = f"model-{number:05}-of-{shards:05}.safetensors"
        _save(folder / file, {name: tensors[name] for name in names[start:stop]})
        places |= dict.fromkeys(names[start:stop], file)
    _write(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def _save(path: Path, tensors: Mapping[str, Any]) -> None:
    """The header by hand, since NumPy has no bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (values, kind) in tensors.items():
        dtype = "BF16" if values.dtype == np.uint16 else {"f8": "F64", "f4": "F32", "f2": "F16"}[values.dtype.str[1:]]
        assert dtype != "BF16" or kind == _KINDS.BF16
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [start, start + values.nbytes]}
        start += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(values).tobytes() for values, _ in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# config.json


def _config(
    keys: Mapping[str, Any], architecture: str, tensors: Mapping[str, Any], stored: Any, style: Style
) -> dict[str, Any]:
    name, model_type = CLASSES[architecture]
    numbers = {
        theirs: keys[f"{architecture}.{ours}"] for ours, theirs in _NUMBERS.items() if f"{architecture}.{ours}" in keys
    }
    made = {"architectures": [name], "model_type": model_type} | {key: short(value) for key, value in numbers.items()}
    made["vocab_size"] = tensors["model.embed_tokens.weight"][0].shape[0]
    made["tie_word_embeddings"] = "lm_head.weight" not in tensors
    made["hidden_activation" if architecture == "gemma3" else "hidden_act"] = (
        "gelu_pytorch_tanh" if architecture == "gemma3" else "silu"
    )
    if architecture == "llama":
        made["attention_bias"] = any(each.endswith("self_attn.q_proj.bias") for each in tensors)
        made["mlp_bias"] = any(each.endswith("mlp.up_proj.bias") for each in tensors)
    if architecture == "gemma3":
        made |= _gemma(keys)
    if architecture in ("qwen2", "qwen3"):
        made["use_sliding_window"] = False
    if "config.json" in style.ids:
        made |= _ids(keys)
    if scaling := _scaling(keys, architecture, stored, made):
        made["rope_scaling"] = scaling
    if style.silent:
        made = _without_defaults(made, architecture)
    return _newest(made) if style.newest and architecture != "gemma3" else made


def short(value: Any) -> Any:
    """A float32 as the shortest decimal that gives it again."""
    return float(str(np.float32(value))) if isinstance(value, (float, np.floating)) else int(value)


def _gemma(keys: Mapping[str, Any]) -> dict[str, Any]:
    """A window in five of six layers; the scale of attention that llama.cpp computes with (src/models/gemma3.cpp)."""
    layers, heads = keys["gemma3.block_count"], keys["gemma3.attention.head_count"]
    pattern = keys.get("gemma3.attention.sliding_window_pattern", 6)
    head = keys.get("gemma3.attention.key_length", 256)
    pattern = pattern if keys.get("gemma3.attention.sliding_window") else 1
    kinds = ["full_attention" if (layer + 1) % pattern == 0 else "sliding_attention" for layer in range(layers)]
    return {
        "layer_types": kinds, "rope_local_base_freq": short(keys.get("gemma3.rope.freq_base_swa", 10000.0)),
        "query_pre_attn_scalar": keys["gemma3.embedding_length"] // heads if layers == 62 else head,
    }  # fmt: skip


def _scaling(keys: Mapping[str, Any], architecture: str, stored: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    kind = keys.get(f"{architecture}.rope.scaling.type")
    if kind in ("linear", "yarn"):
        before = keys.get(f"{architecture}.rope.scaling.original_context_length")
        rest = {"original_max_position_embeddings": before} if kind == "yarn" and before else {}
        return {"rope_type": kind, "factor": short(keys[f"{architecture}.rope.scaling.factor"]), **rest}
    factors = stored.get("rope_freqs.weight")
    if factors is None:
        return {}
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    for published in _PUBLISHED:
        turns = published["original_max_position_embeddings"] * config["rope_theta"] ** -(np.arange(0, head, 2) / head)
        smooth = np.clip((turns / (2 * np.pi) - 1) / 3, 0, 1)
        if np.allclose(1 / ((1 - smooth) / published["factor"] + smooth), factors.data, rtol=1e-5):
            return {"rope_type": "llama3", **published}
    raise ValueError("the factors of rope are of no published scaling")


def _without_defaults(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    defaults = dict(DEFAULTS[architecture])
    if architecture == "llama":  # these two hang on others
        defaults["num_key_value_heads"] = config["num_attention_heads"]
        defaults["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    kinds = config.get("layer_types")
    if kinds == [
        "full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(len(kinds or ()))
    ]:
        defaults["layer_types"] = kinds
    return {key: value for key, value in config.items() if key not in defaults or defaults[key] != value}


def _newest(config: dict[str, Any]) -> dict[str, Any]:
    """As transformers 5 writes it; the keys before it stay readable for it, too."""
    theta = config.pop("rope_theta", None)
    table = config.pop("rope_scaling", {"rope_type": "default"})
    return config | {"rope_parameters": table | ({} if theta is None else {"rope_theta": theta})}


def _ids(keys: Mapping[str, Any]) -> dict[str, Any]:
    named = {"bos": "bos", "eos": "eos", "padding": "pad"}
    places = ((f"tokenizer.ggml.{ours}_token_id", f"{theirs}_token_id") for ours, theirs in named.items())
    return {theirs: keys[ours] for ours, theirs in places if ours in keys}


# The tokenizer


def _tokenizer(folder: Path, keys: Mapping[str, Any], style: Style) -> None:
    said = {key.removeprefix("tokenizer.ggml."): value for key, value in keys.items()}
    spm = said["model"] == "llama"
    config = _tokenizer_config(said, spm)
    template = keys.get("tokenizer.chat_template")
    if template is not None and style.template == "tokenizer_config.json":
        config["chat_template"] = template
    elif template is not None:
        (folder / style.template).write_text(template, "utf-8")
    _write(folder, "tokenizer_config.json", config)
    _write(folder, "tokenizer.json", _sentencepiece(said, style) if spm else _byte_level(said, style))
    if "generation_config.json" in style.ids:
        _write(folder, "generation_config.json", _ids(keys))


def _tokenizer_config(said: Mapping[str, Any], spm: bool) -> dict[str, Any]:
    ids = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    words = {
        f"{word}_token": said["tokens"][said[f"{key}_token_id"]]
        for word, key in ids.items()
        if f"{key}_token_id" in said
    }
    flags = {key: bool(said[key]) for key in ("add_bos_token", "add_eos_token") if key in said}
    return {"tokenizer_class": "LlamaTokenizerFast" if spm else "PreTrainedTokenizerFast", **words, **flags}


def _added(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    rows = enumerate(zip(said["tokens"], said["token_type"], strict=True))
    # 2 unknown, 3 control, 4 user-defined
    return [
        {"id": place, "content": token, "special": kind != 4, **flags}
        for place, (token, kind) in rows
        if kind in (2, 3, 4)
    ]


def _whole(said: Mapping[str, Any], style: Style, **parts: Any) -> dict[str, Any]:
    added = _added(said)
    apart = (
        {token["content"] for token in added} - {said["tokens"][said.get("unknown_token_id", -1)]}
        if style.apart
        else set()
    )
    parts["model"] |= {
        "type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "vocab": {token: place for place, token in enumerate(said["tokens"]) if token not in apart},
    }  # fmt: skip
    if style.pairs:
        parts["model"]["merges"] = [merge.split(" ") for merge in parts["model"]["merges"]]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **parts}


def _byte_level(said: Mapping[str, Any], style: Style) -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pre = said["pre"]
    if pre == "qwen2":
        steps = [_split(_QWEN2_OTHERWISE if style.otherwise else _QWEN2), level | {"use_regex": False}]
    elif pre == "smollm":
        digits = _split(r"\p{N}") if style.otherwise else {"type": "Digits", "individual_digits": True}
        steps = [digits, _split(_GPT2), level | {"use_regex": False}] if style.otherwise else [digits, level]
    else:
        raise ValueError(f"the pre-tokenizer {pre} is not supported")
    before = _template(said) if said.get("add_bos_token") else level | {"trim_offsets": False}
    return _whole(
        said, style, normalizer={"type": "NFC"} if pre == "qwen2" else None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": steps}, post_processor=before, decoder=level,
        model={"merges": said["merges"], "unk_token": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False},
    )  # fmt: skip


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _template(said: Mapping[str, Any]) -> dict[str, Any]:
    bos = said["tokens"][said["bos_token_id"]]
    first, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    known = {bos: {"id": bos, "ids": [said["bos_token_id"]], "tokens": [bos]}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": known,
    }


def _sentencepiece(said: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """A merge for each way to make a piece, those of better pieces first, as transformers makes them of a tokenizer.model."""
    tokens, prefixed = said["tokens"], said.get("add_space_prefix", True)
    scores = dict(zip(tokens, said["scores"], strict=True))
    plain = [token for token, kind in zip(tokens, said["token_type"], strict=True) if kind == 1]
    cuts = ((piece[:at], piece[at:], scores[piece]) for piece in plain for at in range(1, len(piece)))
    merges = sorted((cut for cut in cuts if cut[0] in scores and cut[1] in scores), key=lambda cut: -cut[2])
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else []
    normalizer, steps = (
        ({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]} if prefixed else spaces),
        None,
    )
    if style.otherwise:  # the step of newer files, which does the same
        scheme = {"prepend_scheme": "first" if prefixed else "never", "split": False}
        normalizer, steps = None, {"type": "Metaspace", "replacement": "▁", **scheme}
    return _whole(
        said, style, normalizer=normalizer, pre_tokenizer=steps, post_processor=_template(said) if said.get("add_bos_token", True) else None,
        decoder={"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]},
        model={"merges": [f"{one} {two}" for one, two, _ in merges], "unk_token": tokens[said["unknown_token_id"]],
               "fuse_unk": True, "byte_fallback": True, "ignore_merges": False},
    )  # fmt: skip
