"""Random models that no golden file has: the real qwen2 vocabulary, biases, tied and untied, each kind of rope scaling.

llama.cpp computes with the file before and after the round trips: the same logits, bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rosetta_ref
from tests.support import llama, tiny, vocab
from tests.support.independent import assert_same_gguf

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46, 47, 48, 49, 250] * 4
CHAINS = {"apr": ["m.apr"], "hf": ["hf"], "apr-hf": ["m.apr", "hf"], "hf-apr": ["hf", "m.apr"]}
ROPE: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": {"strings": {"rope.scaling.type": "linear"}, "floats": {"rope.scaling.factor": 4.0}},
    "yarn": {
        "strings": {"rope.scaling.type": "yarn"},
        "floats": {"rope.scaling.factor": 4.0, "rope.freq_base": 50000.0},
        "ints": {"rope.scaling.original_context_length": 128},
    },
    # Wavelengths 6.3, 32, 167, ... against 256 positions: one factor of each kind, by Llama 3's own formula.
    "llama3": {"floats": {"rope.freq_base": 500000.0}},
}


def llama3_factors() -> np.ndarray:
    """By the definition, in Python's own numbers, rounded once."""
    factors = []
    for i in range(tiny.HEAD_DIM // 2):
        length = 2 * np.pi * 500000.0 ** (2 * i / tiny.HEAD_DIM)
        smooth = (64 / length - 1.0) / (4.0 - 1.0)
        factors.append(1.0 if length < 16 else 8.0 if length > 64 else 1 / ((1 - smooth) / 8.0 + smooth))
    return np.array(factors, np.float32)


def check(source: Path, chain: str, folder: Path) -> None:
    path = source
    for target in [*CHAINS[chain], "back.gguf"]:
        rosetta_ref.convert(path, folder / target)
        path = folder / target
    tensors, keys = assert_same_gguf(found=path, expected=source)
    assert tensors >= 20
    assert keys >= 12
    before = llama.logits(source, TOKENS)
    assert before.std() > 1e-3
    assert llama.logits(path, TOKENS).tobytes() == before.tobytes()


# 150,000 tokens, ten seconds; the same chains with small vocabularies are below, these tokens in test_tokenizer_llamacpp.
@pytest.mark.slow
@pytest.mark.parametrize("chain", ["apr-hf", pytest.param("hf-apr", marks=pytest.mark.real)])
@pytest.mark.parametrize("tied", [True, pytest.param(False, marks=pytest.mark.real)], ids=["tied", "untied"])
def test_qwen2_with_its_real_vocabulary(tied: bool, chain: str, tmp_path: Path) -> None:
    source = tiny.build(tmp_path / "m.gguf", "qwen2", vocab.vocab("qwen2"), tied=tied, bias=True)
    check(source, chain, tmp_path)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("rope", ROPE)
def test_llama_with_each_rope_scaling(rope: str, chain: str, tmp_path: Path) -> None:
    tokenizer = GOLDEN / "llama-smollm-tied" / "auto.gguf"
    freqs = llama3_factors() if rope == "llama3" else None
    source = tiny.build(
        tmp_path / "m.gguf", "llama", tokenizer, tied=rope != "linear", rope_freqs=freqs, seed=len(rope), **ROPE[rope]
    )
    check(source, chain, tmp_path)


@pytest.mark.parametrize("rope", ["linear", "yarn"])
def test_scaling_is_said_in_the_configuration(rope: str, tmp_path: Path) -> None:
    tokenizer = GOLDEN / "llama-smollm-tied" / "auto.gguf"
    source = tiny.build(tmp_path / "m.gguf", "llama", tokenizer, **ROPE[rope])
    rosetta_ref.convert(source, tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["rope_scaling"]["rope_type"] == rope
    assert config["rope_scaling"]["factor"] == 4.0
    assert config["rope_parameters"]["rope_theta"] == config["rope_theta"]
    rosetta_ref.convert(source, tmp_path / "plain", keep_blocks=False)
    rosetta_ref.convert(tmp_path / "plain", tmp_path / "back.gguf")
    before = llama.logits(source, TOKENS)
    assert llama.logits(tmp_path / "back.gguf", TOKENS).tobytes() == before.tobytes()
