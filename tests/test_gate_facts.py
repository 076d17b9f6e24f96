"""Facts where loaders look for them: kinds of keys, silence, tokens. Expected values by llama.cpp and transformers 5.24, typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats import gguf
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.inputs.write import write
from rosetta_ref.gate.judge import loads
from rosetta_ref.gate.judge.loader_kinds import kinds_of, wrong_kinds
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.silence import taken
from rosetta_ref.gate.judge.view import look

SAMPLES = {sample.name: sample for sample in default(0, quantised=False)}
Change = Callable[[dict[str, Any]], None]


def found(
    sample: Sample, tmp_path: Path, file: str, change: Change, face: str = "gguf", lost: str = ""
) -> Iterator[str]:
    """What the judge says of a directory with one changed file as the output of that face; `lost` is a file that goes."""
    source, target = write(sample, face, tmp_path / "source"), write(sample, "safetensors", tmp_path / "target")
    path = target / file
    content = json.loads(path.read_text()) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content))
    if lost:
        (target / lost).unlink()
    with look(source) as one, look(target) as other:
        yield from (f"{each.kind}: {each.detail}" for each in judge_metadata(one, other).findings)


WRONG = {
    "llama.context_length": Value.scalar(Kind.F32, np.float32(128)),
    "llama.rope.freq_base": Value.scalar(Kind.U32, 100000),
    "llama.block_count": Value.scalar(Kind.I32, 2),
    "llama.attention.head_count_kv": Value.scalar(Kind.U64, 2),
    "llama.attention.layer_norm_rms_epsilon": Value.scalar(Kind.F64, 1e-5),
    "llama.rope.dimension_count": Value.scalar(Kind.U16, 8),
    "tokenizer.ggml.add_bos_token": Value.scalar(Kind.U32, 0),
    "tokenizer.ggml.bos_token_id": Value.scalar(Kind.I32, 1),
    "general.name": Value.scalar(Kind.U32, 1),
}


@pytest.mark.parametrize("key", WRONG)
def test_llama_cpp_refuses_what_the_judge_says_it_refuses(key: str, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    model = SAMPLES["llama-f32-tied"].model
    assert [wrong for _, wrong in wrong_kinds(model.metadata, "llama") if wrong] == []
    made = replace(model, metadata=dict(model.metadata) | {key: WRONG[key]})
    gguf.write(made, tmp_path / "m.gguf")
    assert key in (loads.refusal(tmp_path / "m.gguf") or "") or key == "general.name"
    assert [named for named, wrong in wrong_kinds(made.metadata, "llama") if wrong] == [key]


def test_llama_cpp_takes_arrays_of_whole_numbers_and_what_it_does_not_read(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    model = SAMPLES["qwen2-f32"].model
    keys = {
        "qwen2.attention.head_count": Value.array(Kind.I32, [6, 6]), "qwen2.vocab_size": Value.scalar(Kind.I32, 5),
        "qwen2.attention.sliding_window": Value.scalar(Kind.F32, np.float32(8)),
    }  # fmt: skip
    made = dict(model.metadata) | keys
    gguf.write(replace(model, metadata=made), tmp_path / "m.gguf")
    assert loads.refusal(tmp_path / "m.gguf") is None
    assert [key for key, wrong in wrong_kinds(made, "qwen2") if wrong] == []
    assert kinds_of("gemma3.attention.sliding_window", "gemma3") == (Kind.U32, ())


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("said", ["<|endoftext|>", {"content": "<|endoftext|>", "special": True}])
def test_a_padding_is_found_by_its_text(file: str, said: Any, tmp_path: Path) -> None:
    sample = SAMPLES["qwen2-f32"]
    config = json.loads(sample.companions["config.json"])
    tokens = json.loads(sample.companions["tokenizer_config.json"])
    assert tokens.pop("pad_token") == "<|endoftext|>"
    assert config.pop("pad_token_id") is not None
    silent = {"config.json": json.dumps(config).encode(), "tokenizer_config.json": json.dumps(tokens).encode()}
    quiet = replace(sample, companions={**sample.companions, **silent})
    assert [*found(quiet, tmp_path / "a", file, lambda content: content.update(pad_token=said))] == []
    lost = [*found(quiet, tmp_path / "b", file, lambda content: None)]
    assert lost == ["words-lost: padding: it is not there"]
    wrong = [*found(quiet, tmp_path / "c", file, lambda content: content.update(pad_token="<|im_end|>"))]
    assert [each.split(":")[1] for each in wrong] == [" padding"]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("llama-silent-directory", {"attention.head_count_kv": 4, "attention.key_length": 16, "rope.freq_base": 10000.0}),
        ("llama-silent-file", {"attention.head_count_kv": 4, "attention.key_length": 16, "rope.freq_base": 10000.0}),
        ("qwen3-silent-directory", {"attention.head_count_kv": 32, "attention.key_length": 128, "context_length": 32768}),
        ("gemma3-silent-directory", {"attention.sliding_window": 4096, "attention.key_length": 256,
                                     "rope.freq_base": 1e6, "rope.freq_base_swa": 1e4, "attention.head_count_kv": 4}),
        ("gemma3-no-window", {"attention.sliding_window": None}),
    ],
)  # fmt: skip
def test_silence_means_what_loaders_take(name: str, numbers: dict[str, Any], tmp_path: Path) -> None:
    with look(write(SAMPLES[name], SAMPLES[name].formats[-1], tmp_path)) as view:
        by_key = {row.gguf: value for row, value in taken(view).items()}
        stated = {row.gguf for row in view.numbers}
    assert {key: by_key[key] for key in numbers} == numbers
    assert view.format == "gguf" or not numbers.keys() & stated - {"context_length"}


@pytest.mark.parametrize(
    ("name", "file", "change", "says"),
    [
        ("qwen2-bf16-tied", "config.json", lambda c: c.pop("tie_word_embeddings"), "head-missing"),
        ("gemma3-bf16", "config.json", lambda c: c.pop("tie_word_embeddings"), ""),
        ("gemma3-bf16", "config.json", lambda c: c.pop("sliding_window"), "sliding_window is not there, which means 4096"),
        ("gemma3-no-window", "config.json", lambda c: c.pop("layer_types"), "layer_types"),
        ("gemma3-no-window", "config.json", lambda c: c.pop("sliding_window"), ""),
        ("llama-bf16-biased", "config.json", lambda c: c.update(attention_bias=False), "attention_bias is False"),
        ("llama-bf16-biased", "config.json", lambda c: c.pop("attention_bias"), "attention_bias is None"),
        ("llama-f32-tied", "config.json", lambda c: c.update(attention_bias=True), "the model has no biases"),
        ("llama-f16-scores", "tokenizer.json", lambda c: c.update(post_processor=None), "BOS is added"),
        ("llama-f16-scores", "tokenizer.json", lambda c: c["added_tokens"].pop(), "kinds of tokens"),
        ("qwen2-words", "tokenizer.json", lambda c: c["added_tokens"][-1].update(special=True), "kinds of tokens"),
        ("qwen2-f32", "config.json", lambda c: c.update(eos_token_id=[c["eos_token_id"], 3]), ""),
    ],
)  # fmt: skip
def test_what_a_directory_says_otherwise(name: str, file: str, change: Change, says: str, tmp_path: Path) -> None:
    said = [*found(SAMPLES[name], tmp_path, file, change)]
    assert len(said) == bool(says), said
    assert says in "".join(said)
