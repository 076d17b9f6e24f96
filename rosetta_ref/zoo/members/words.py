"""Kinds of keys, silence, and tokens that are no plain ones: what a file says in other ways than the usual one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures import huggingface, tokenizer
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import model_in
from rosetta_ref.zoo.member import Broken, Make, Member
from rosetta_ref.zoo.seams import replacing

_write, _files_of, _tokenizer_files, _tokenizer_metadata = (
    seams.GGUF_WRITE.right, huggingface.files_of, tokenizer.tokenizer_files, tokenizer.tokenizer_metadata,
)  # fmt: skip
_TYPES, _EOS = "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def _writing(change: Callable[[str, Value], Value | None]) -> Broken:
    """GGUF files get other keys: None leaves one out."""

    def write(archive: Archive, *args: Any, **options: Any) -> None:
        made = {key: change(key, value) for key, value in archive.metadata.items()}
        _write(
            replace(archive, metadata={key: value for key, value in made.items() if value is not None}),
            *args,
            **options,
        )

    return replacing(seams.GGUF_WRITE.by(write))


def _signed(key: str, value: Value) -> Value:
    return Value.scalar(Kind.I32, value.plain()) if value.kind is Kind.U32 and "tokenizer" not in key else value


def _whole_base(key: str, value: Value) -> Value:
    return Value.scalar(Kind.U32, int(value.plain())) if key.endswith("rope.freq_base") else value


def _real_context(key: str, value: Value) -> Value:
    return Value.scalar(Kind.F32, np.float32(value.plain())) if key.endswith("context_length") else value


def _no_usual_window(key: str, value: Value) -> Value | None:
    return None if key == "gemma3.attention.sliding_window" and value.plain() == 4096 else value


def _no_usual_heads(key: str, value: Value) -> Value | None:
    return None if key.endswith(".head_count_kv") and value.plain() == 32 else value


def _changing(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def changed(files: dict[str, bytes]) -> dict[str, bytes]:
        if name not in files:
            return files
        content, before = json.loads(files[name]), json.loads(files[name])
        change(content)
        return files if content == before else files | {name: json.dumps(content).encode()}

    return changed


def _of_config(change: Callable[[dict[str, Any]], None]) -> Broken:
    changed = _changing("config.json", change)
    return replacing(seams.FILES_OF.by(lambda *args: changed(_files_of(*args))))


def _of_tokenizer(change: Callable[[dict[str, Any]], None]) -> Broken:
    changed = _changing("tokenizer.json", change)
    return replacing(seams.TOKENIZER_FILES.by(lambda *args: changed(_tokenizer_files(*args))))


def _untold_tie(stated: dict[str, Any]) -> None:
    if stated.get("tie_word_embeddings") is True:
        del stated["tie_word_embeddings"]


def _all_special(content: dict[str, Any]) -> None:
    for token in content.get("added_tokens", ()):
        token["special"] = True


def _typed(change: Mapping[int, int]) -> Broken:
    """Tokens get another type on the way to GGUF."""

    def metadata(*args: Any, **options: Any) -> dict[str, Value]:
        made = _tokenizer_metadata(*args, **options)
        if _TYPES not in made:
            return made
        kinds = [change.get(kind, kind) for kind in made[_TYPES].plain()]
        return made | {_TYPES: Value.array(Kind.I32, kinds)}

    return replacing(seams.TOKENIZER_METADATA.by(metadata))


def _end_of_config_alone(files: Mapping[str, bytes], *args: Any, **options: Any) -> dict[str, Value]:
    made = _tokenizer_metadata(files, *args, **options)
    stated = json.loads(files.get("config.json", b"{}")).get("eos_token_id")
    return made if isinstance(stated, int) else {key: value for key, value in made.items() if key != _EOS}


def _member(name: str, does: str, shows: str, blind: str, pairs: tuple[str, ...], broken: Broken,
            shown_by: Make | None = None, hidden_by: Make | None = None) -> Member:  # fmt: skip
    face = "safetensors" if pairs[0] == "G-S" else "gguf"
    return Member(name, "metadata", "ours", does, shows, blind, pairs, (face,), broken, shown_by, hidden_by)


def _end_in_generation_config(folder: Path) -> Path:
    """As many newer models have it: config.json says nothing of where an answer ends."""
    path = model_in("safetensors", tokenizer=True)(folder)
    stated = json.loads((path / "config.json").read_bytes())
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": stated.pop("eos_token_id")}), "utf-8")
    (path / "config.json").write_text(json.dumps(stated), "utf-8")
    return path


#: Types of five tokens: the last but one is a token that users write.
_USERS = (2, 3, 3, 4, 1)
_TIED = model_in("gguf", tied=True)
_TO_GGUF, _FROM_GGUF, _FROM_DIRECTORY = ("S-G", "A-G"), ("G-S",), ("S-G", "S-A")

MEMBERS = (
    _member(
        "integers-are-signed", "every whole number of a GGUF file is an INT32", "any model", "none",
        _TO_GGUF, _writing(_signed), model_in("safetensors"),
    ),
    _member(
        "rope-base-is-whole", "rope.freq_base is a UINT32", "any model", "none", _TO_GGUF,
        _writing(_whole_base), model_in("safetensors"),
    ),
    _member(
        "context-is-real", "context_length is a FLOAT32", "any model", "none", _TO_GGUF,
        _writing(_real_context), model_in("safetensors"),
    ),
    _member(
        "usual-window-forgotten", "no window is written where config.json is silent, and means 4096",
        "gemma3 with the usual window", "another window", ("S-G",), _writing(_no_usual_window),
        model_in("safetensors", "gemma3", counts={"attention.sliding_window": 4096}),
        model_in("safetensors", "gemma3", counts={"attention.sliding_window": 16}),
    ),
    _member(
        "usual-heads-forgotten", "the 32 heads of k and v that config.json means in silence are not written: as many as of q",
        "a model whose silence means 32", "another number, or as many as of q", ("S-G",), _writing(_no_usual_heads),
        model_in("safetensors", "qwen2", heads=(64, 32)), model_in("safetensors", "qwen2"),
    ),
    _member(
        "tie-not-said", "config.json of a tied model says nothing of it", "a tied llama", "a model with a head", ("G-S", "A-S"),
        _of_config(_untold_tie), _TIED, model_in("gguf"),
    ),
    _member(
        "biases-denied", "config.json says that there are no biases", "a llama with biases", "models without biases",
        _FROM_GGUF, _of_config(lambda stated: stated.update(attention_bias=False) if "attention_bias" in stated else None),
        model_in("gguf", biases=True), model_in("gguf"),
    ),
    _member(
        "post-processor-removed", "tokenizer.json has no post_processor, and no text begins with a BOS",
        "a tokenizer that adds a BOS", "one that adds none", _FROM_GGUF,
        _of_tokenizer(lambda stated: stated.update(post_processor=None)), model_in("gguf", tokenizer=True),
        model_in("gguf", tokenizer=False),
    ),
    _member(
        "user-tokens-are-special-in-a-directory", "each token outside of the vocabulary is special in tokenizer.json",
        "a token that users write", "control tokens alone", _FROM_GGUF, _of_tokenizer(_all_special),
        model_in("gguf", tokenizer=True, types=_USERS), model_in("gguf", tokenizer=True),
    ),
    _member(
        "user-tokens-are-control", "tokens that users write are control tokens in GGUF", "such a token",
        "control tokens alone", _FROM_DIRECTORY, _typed({USER_DEFINED: CONTROL}),
        model_in("safetensors", tokenizer=True, types=_USERS), model_in("safetensors", tokenizer=True),
    ),
    _member(
        "control-tokens-are-plain", "control tokens are plain ones in GGUF", "any special token", "no tokenizer", _FROM_DIRECTORY,
        _typed({CONTROL: NORMAL}), model_in("safetensors", tokenizer=True), model_in("safetensors", tokenizer=False),
    ),
    _member(
        "unused-tokens-are-plain", "rows that no token has are plain tokens in GGUF", "more rows than tokens",
        "as many rows as tokens", _FROM_DIRECTORY, _typed({UNUSED: NORMAL}),
        model_in("safetensors", tokenizer=True, last="[PAD4]", types=(2, 3, 3, 1, 5)), model_in("safetensors", tokenizer=True),
    ),
    _member(
        "end-of-config-alone", "the end of an answer is looked for in config.json alone", "one in generation_config.json",
        "one in config.json", _FROM_DIRECTORY, replacing(seams.TOKENIZER_METADATA.by(_end_of_config_alone)),
        _end_in_generation_config, model_in("safetensors", tokenizer=True),
    ),
)  # fmt: skip
