"""Models that say less than others do, or say it elsewhere: what silence means, and tokens as published models have them.

Each says several things elsewhere at once, none of which hides another. Sources: the defaults of transformers' configuration
classes and of llama.cpp's loaders (`judge.silence`), files of published Llama 2, Qwen2 and Gemma 3.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.inputs import tokenizers
from rosetta_ref.gate.inputs.models import Fill, Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.directory import TOOLS
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.judge.tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED

_F32: list[Fill] = [("F32", "index-coded")]
_CONFIG, _TOKENIZER, _OF_TOKENIZER = "config.json", "tokenizer.json", "tokenizer_config.json"
_GENERATION = "generation_config.json"
#: Keys of a GGUF file that llama.cpp does without, behind the architecture's name and alone.
_MAY_GO = (
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base",
    "vocab_size",
)  # fmt: skip
_MAY_GO_ALONE = ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.pre", "general.name")
#: Keys of config.json that transformers does without, where the model has the number that it takes then.
_UNSAID = (
    "tie_word_embeddings", "num_key_value_heads", "head_dim", "rope_theta", "rope_parameters", "rope_local_base_freq",
    "rms_norm_eps", "max_position_embeddings", "attention_bias", "mlp_bias", "sliding_window", "layer_types",
    "query_pre_attn_scalar", "use_sliding_window", "max_window_layers", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
#: The default template of a directory, and one for models with tools.
_CHAT = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
_TOOLS = "{% for tool in tools %}{{ tool }}{% endfor %}"


def facts(families: Collection[str], seed: int) -> Iterator[Sample]:
    """The models of those architectures."""
    for family in families:
        if family in _MADE:
            yield from _MADE[family](seed)
        elif isinstance(MODELS[family].taken.get("attention.key_length"), int):
            yield from _of_own_heads(family, seed)


def _llama(seed: int) -> Iterator[Sample]:
    spec = Spec("llama", 4, 4, 16, 96, layers=1, tokenizer="spm", keys=_numbers("llama", 2048, 10000.0))
    full = build("llama-silent", spec, _F32, seed)
    directory = _silent_directory(replace(full, name="llama-silent-directory"))
    # The template in tokenizer_config.json is another one.
    named = {"chat_template.jinja": _CHAT.encode(), f"{TOOLS}/tool_use.jinja": _TOOLS.encode()}
    yield replace(directory, companions={**directory.companions, **named})
    keys = {f"llama.{key}" for key in _MAY_GO} | {*_MAY_GO_ALONE}
    kept = {key: value for key, value in full.model.metadata.items() if key not in keys}
    kept |= {
        "tokenizer.chat_templates": Value.array(Kind.STRING, ["tool_use"]),
        "tokenizer.chat_template.tool_use": Value.scalar(Kind.STRING, _TOOLS),
    }
    yield replace(full, name="llama-silent-file", model=replace(full.model, metadata=kept), formats=("gguf",))


def _qwen2(seed: int) -> Iterator[Sample]:
    spec = Spec("qwen2", 64, 32, 4, 32, layers=1, keys=_numbers("qwen2", 32768, 10000.0))
    yield _silent_directory(build("qwen2-silent-directory", spec, _F32, seed))
    spec = _Wordy("qwen2", 8, 2, 16, 96, layers=1, tied=True, modern=True)
    if "tokenizer.ggml.scores" in spec.vocabulary():
        return  # a converter that takes no such tokenizer has another in its place, whose files say it otherwise
    sample = build("qwen2-words", spec, _F32, seed)
    yield _as_published(sample)


def _of_own_heads(family: str, seed: int) -> Iterator[Sample]:
    """A model whose heads are of another size and number than the width says, in silence."""
    taken = MODELS[family].taken
    kv, head, context = (taken[key] for key in ("attention.head_count_kv", "attention.key_length", "context_length"))
    keys = _numbers(family, context, taken["rope.freq_base"])
    spec = Spec(family, 2 * kv, kv, head, 32, layers=1, stream=32, keys=keys)
    yield _silent_directory(build(f"{family}-silent-directory", spec, _F32, seed))


def _gemma3(seed: int) -> Iterator[Sample]:
    window = {"gemma3.attention.sliding_window": Value.scalar(Kind.U32, 4096)}
    spec = Spec("gemma3", 8, 4, 256, 96, layers=7, stream=32, tied=True)
    said = replace(spec, keys=_numbers("gemma3", 131072, 1e6) | window)
    yield _silent_directory(build("gemma3-silent-directory", said, _F32, seed))
    full = build("gemma3-no-window", replace(spec, heads=8, kv_heads=2, head=16), _F32, seed)
    kept = {key: value for key, value in full.model.metadata.items() if key not in window}

    def without(config: dict[str, Any]) -> None:
        config |= {"sliding_window": None, "layer_types": ["full_attention"] * 7}

    yield replace(_changed(full, without), model=replace(full.model, metadata=kept), formats=("gguf", "safetensors"))


_MADE: dict[str, Callable[[int], Iterator[Sample]]] = {
    "llama": _llama, "qwen2": _qwen2, "gemma3": _gemma3,
}  # fmt: skip


def _numbers(family: str, context: int, theta: float) -> dict[str, Value]:
    """The numbers that transformers takes where config.json is silent."""
    return {
        f"{family}.context_length": Value.scalar(Kind.U32, context),
        f"{family}.attention.layer_norm_rms_epsilon": Value.scalar(Kind.F32, np.float32(1e-6)),
        f"{family}.rope.freq_base": Value.scalar(Kind.F32, np.float32(theta)),
    }


def _silent_directory(sample: Sample) -> Sample:
    """Its directory alone, without what config.json and tokenizer_config.json may leave out; the tokenizer says the rest."""

    def without(config: dict[str, Any]) -> None:
        for key in (*_UNSAID, "add_bos_token", "add_eos_token"):
            config.pop(key, None)

    kept = _changed(_changed(sample, without), without, _OF_TOKENIZER)
    files = {name: data for name, data in kept.companions.items() if name != _GENERATION}
    return replace(kept, companions=files, formats=("safetensors",))


def _changed(sample: Sample, change: Callable[[dict[str, Any]], None], name: str = _CONFIG) -> Sample:
    """The same with another content of one of its JSON files."""
    content = json.loads(sample.companions.get(name, b"{}"))
    change(content)
    return replace(sample, companions={**sample.companions, name: (json.dumps(content, indent=2) + "\n").encode()})


#: Tokens behind those of the vocabulary: a control token, one that a text may hold, and rows that no token has.
_ELSEWHERE = ("bos_token_id", "eos_token_id", "pad_token_id", "add_bos_token", "added_tokens_decoder")
_CONTROL, _OWN, _SPARE = "<|tool|>", "<think>", 3


@dataclass(frozen=True)
class _Wordy(Spec):
    """A model with more tokens than its vocabulary merges."""

    def vocabulary(self) -> dict[str, Value]:
        keys = super().vocabulary()
        tokens, types = keys["tokenizer.ggml.tokens"].plain(), keys["tokenizer.ggml.token_type"].plain()
        tokens += [_CONTROL, _OWN]
        tokens += [f"[PAD{len(tokens) + place}]" for place in range(_SPARE)]
        types += [CONTROL, USER_DEFINED] + [UNUSED] * _SPARE
        return keys | {
            "tokenizer.ggml.tokens": Value.array(Kind.STRING, tokens),
            "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        }


def _as_published(sample: Sample) -> Sample:
    """Specials in added_tokens alone, a token that users write, spare rows, ends as a list, other ids by text alone."""
    types = sample.model.metadata["tokenizer.ggml.token_type"].plain()
    eos = sample.model.metadata["tokenizer.ggml.eos_token_id"].plain()

    def tokens(content: dict[str, Any]) -> None:
        vocabulary: dict[str, int] = content["model"]["vocab"]
        plain = {token: place for token, place in vocabulary.items() if types[place] == NORMAL}
        own = {"id": vocabulary[_OWN], "content": _OWN, **tokenizers.FLAGS, "special": False}
        content["model"]["vocab"] = plain
        content["added_tokens"] = sorted([*content["added_tokens"], own], key=lambda token: token["id"])

    def unsaid(config: dict[str, Any]) -> None:
        for key in _ELSEWHERE:
            config.pop(key, None)

    changed = _changed(_changed(sample, tokens, _TOKENIZER), unsaid)
    changed = _changed(changed, unsaid, _OF_TOKENIZER)
    return _changed(changed, lambda content: content.update(eos_token_id=[eos, types.index(UNUSED) - 2]), _GENERATION)
