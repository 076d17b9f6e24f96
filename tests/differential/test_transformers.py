"""transformers as an engine, where it is installed: `pip install transformers torch` (large, so in no extra)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.inference import load

pytest.importorskip("torch", reason="needs torch, which is in no extra: pip install transformers torch")
pytest.importorskip("transformers", reason="needs transformers: pip install transformers torch")

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46, 47, 48, 49, 250]


@pytest.mark.parametrize("name", ["llama-smollm-tied", "llama-yarn", "llama3-rope-bias", "qwen2-tied-sharded"])
def test_both_engines_give_the_same_logits_and_answers(name: str) -> None:
    path = GOLDEN / name / "hf"
    with load(path, "transformers") as theirs, load(path) as ours:
        (found,), (expected,) = ours.logits([TOKENS]), theirs.logits([TOKENS])
        assert found.shape == expected.shape
        assert float(np.abs(found - expected).max()) < 2e-5
        assert ours.generate([TOKENS], 8) == theirs.generate([TOKENS], 8)
