"""mlx-lm reads what transformers reads, and nobody here wrote it: it must compute what llama.cpp computes.

Needs the extra `mlx`. llama.cpp has the F32 file, mlx-lm the Hugging Face directory that was made of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.convert import convert
from rosetta_ref.verify import verify
from tests.support import llama, smollm

mlx_lm = pytest.importorskip("mlx_lm", reason="needs the extra mlx: pip install -e '.[mlx]'")
mx = pytest.importorskip("mlx.core")

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
PROMPT = "The three formats of a language model, and what is lost between them: 1 + 1 = 2."


def mlx_logits(directory: Path, tokens: list[int]) -> np.ndarray:
    """Float32 of shape (len(tokens), vocabulary)."""
    model, _ = mlx_lm.utils.load_model(directory)
    model.set_dtype(mx.float32)
    with mx.stream(mx.cpu):
        return np.array(model(mx.array([tokens]))[0].astype(mx.float32))


@pytest.mark.real
def test_real_model_gives_the_logits_of_llama_cpp(tmp_path: Path) -> None:
    source = smollm.variant("F32")
    convert(source, tmp_path / "hf")
    with llama.Model(source) as model:
        tokens = model.tokenize(PROMPT)
        expected = model.logits(tokens)
    found = mlx_logits(tmp_path / "hf", tokens)
    assert found.shape == expected.shape
    error = float(np.abs(found - expected).max())
    print(f"largest difference {error:.2g} on logits of {np.abs(expected).max():.0f}, {sys.platform}")
    assert error < 1e-3


@pytest.mark.parametrize(
    "name", ["llama-spm", "llama-smollm-tied", "qwen2-tied-sharded", "llama3-rope-bias", "llama-yarn"]
)
def test_golden_model_gives_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    tokens = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46, 47, 48, 49, 250]
    convert(GOLDEN / name / "auto.gguf", tmp_path / "hf")
    found = mlx_logits(tmp_path / "hf", tokens)
    expected = np.load(GOLDEN / name / "logits.npy")
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) < 1e-3


def test_it_joins_verify_as_an_engine(tmp_path: Path) -> None:
    source = GOLDEN / "llama-yarn" / "auto.gguf"
    convert(source, tmp_path / "hf")
    report = verify(source, tmp_path / "hf", engines=("numpy", "mlx-lm"))
    assert report.same, report.failures
    assert report.figures["converted: numpy, mlx-lm"]["logit"] < 1e-3
    assert report.counts["positions on two engines"] == report.counts["positions"] > 500
