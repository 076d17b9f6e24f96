"""The forward pass against engines that nobody here wrote: transformers (recorded) and llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.convert import convert
from rosetta_ref.inference import NumpyEngine, load
from tests.differential.test_tiny_random_models import ROPE, llama3_factors
from tests.support import llama, tiny

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
MODELS = sorted(path.parent.name for path in GOLDEN.glob("*/logits.npy"))
#: The tokens of the recorded logits.
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46, 47, 48, 49, 250]


def numpy_logits(path: Path, *, precise: bool = False, tokens: list[int] = TOKENS) -> np.ndarray:
    with NumpyEngine(path, precise=precise) as engine:
        (made,) = engine.logits([tokens])
    assert made.dtype == (np.float64 if precise else np.float32)
    return made


def assert_close(found: np.ndarray, expected: np.ndarray, *, limit: float) -> None:
    __tracebackhide__ = True
    assert found.shape == expected.shape
    assert expected.std() > 0.1, "logits that say nothing"
    error = float(np.abs(found.astype(np.float64) - expected).max())
    assert error < limit, f"logits differ by up to {error}"


def test_there_are_five_recorded_models() -> None:
    assert len(MODELS) == 5


@pytest.mark.parametrize("precise", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("form", ["hf", "auto.gguf", "apr"])
@pytest.mark.parametrize("name", MODELS)
def test_gives_the_logits_of_transformers(name: str, form: str, precise: bool, tmp_path: Path) -> None:
    path = GOLDEN / name / form
    if form == "apr":
        path = tmp_path / "m.apr"
        convert(GOLDEN / name / "hf", path)
    assert_close(numpy_logits(path, precise=precise), np.load(GOLDEN / name / "logits.npy"), limit=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_format_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    """APR has the rows of GGUF: the same bits. A directory has others: float64 agrees to 1e-9, the best token always."""
    convert(GOLDEN / name / "auto.gguf", tmp_path / "m.apr")
    assert numpy_logits(tmp_path / "m.apr").tobytes() == numpy_logits(GOLDEN / name / "auto.gguf").tobytes()
    gguf, hf = (numpy_logits(GOLDEN / name / form, precise=True) for form in ("auto.gguf", "hf"))
    # The factors in rope_freqs.weight are float32: an angle is not the one of the formula.
    assert_close(hf, gguf, limit=1e-5 if name == "llama3-rope-bias" else 1e-9)
    assert (hf.argmax(axis=1) == gguf.argmax(axis=1)).all()


CASES: dict[str, dict[str, Any]] = {
    "llama-tied": {"architecture": "llama"},
    "llama-untied": {"architecture": "llama", "tied": False},
    "llama-bias": {"architecture": "llama", "bias": True},
    "llama-wide-heads": {"architecture": "llama", "head_dim": 24},
    "llama-narrow-heads": {"architecture": "llama", "head_dim": 8, "tied": False},
    "qwen2-tied": {"architecture": "qwen2", "bias": True},
    "qwen2-untied": {"architecture": "qwen2", "bias": True, "tied": False},
    **{f"llama-{rope}": {"architecture": "llama", **options} for rope, options in ROPE.items() if rope != "plain"},
    **{
        f"qwen2-{rope}": {"architecture": "qwen2", "bias": True, **options}
        for rope, options in ROPE.items()
        if rope in ("linear", "yarn")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_gives_the_logits_of_llama_cpp(name: str, tmp_path: Path) -> None:
    """In F32, which llama.cpp computes without rounding activations."""
    options = dict(CASES[name])
    options["rope_freqs"] = llama3_factors() if name.endswith("llama3") else None
    tokenizer = GOLDEN / "llama-smollm-tied" / "auto.gguf"
    tiny.build(tmp_path / "bf16.gguf", tokenizer=tokenizer, seed=len(name), **options)
    llama.quantize(tmp_path / "bf16.gguf", tmp_path / "m.gguf", "F32")
    tokens = TOKENS * 4
    assert_close(
        numpy_logits(tmp_path / "m.gguf", tokens=tokens), llama.logits(tmp_path / "m.gguf", tokens), limit=1e-4
    )


@pytest.mark.parametrize("form", ["hf", "auto.gguf"])
def test_a_cache_and_a_batch_change_nothing(form: str) -> None:
    """Greedy answers to several prompts at once, step by step, are those of the whole computed anew for one prompt at a time."""
    prompts = [TOKENS[:3], TOKENS, TOKENS[5:6]]
    with NumpyEngine(GOLDEN / "llama-yarn" / form, precise=True) as engine:
        together = engine.generate(prompts, 12)
        assert [len(answer) for answer in together] == [12, 12, 12]
        for prompt, answer in zip(prompts, together, strict=True):
            tokens = list(prompt)
            for token in answer:
                (logits,) = engine.logits([tokens])
                assert int(logits[-1].argmax()) == token
                tokens.append(token)


@pytest.mark.parametrize("wrong", [0, 5, 11])
def test_a_wrong_draft_does_not_change_an_answer(wrong: int) -> None:
    """What another model said is only what is looked at first: also tokens that this model does not have, and too few."""
    with NumpyEngine(GOLDEN / "llama-yarn" / "hf", precise=True) as engine:
        right = engine.generate([TOKENS, TOKENS[:3]], 12)
        other = [list(answer) for answer in right]
        other[0][wrong] = (other[0][wrong] + 1) % engine.vocabulary
        other[1][wrong] = engine.vocabulary + 7
        assert engine.generate([TOKENS, TOKENS[:3]], 12, drafts=other) == right
        assert engine.generate([TOKENS, TOKENS[:3]], 12, drafts=[right[0][:wrong], []]) == right


@pytest.mark.parametrize("precise", [False, True])
def test_drafts_end_where_the_model_ends_its_answer(precise: bool) -> None:
    with NumpyEngine(GOLDEN / "llama-yarn" / "hf", precise=precise) as engine:
        (whole,) = engine.generate([TOKENS], 12)
        engine.tokenisation.__dict__["stops"] = frozenset({whole[6]})
        ended = whole[: whole.index(whole[6])]
        assert engine.generate([TOKENS], 12, drafts=[whole]) == engine.generate([TOKENS], 12) == [ended]
        assert engine.generate([TOKENS], len(ended), drafts=[whole]) == [ended]


@pytest.mark.parametrize("precise", [False, True])
def test_an_answer_of_no_tokens(precise: bool) -> None:
    with NumpyEngine(GOLDEN / "llama-yarn" / "hf", precise=precise) as engine:
        assert [engine.generate([TOKENS], count) for count in (0, -1)] == [[[]], [[]]]


def test_an_answer_ends_where_the_model_ends_it() -> None:
    with NumpyEngine(GOLDEN / "qwen2-tied-sharded" / "hf") as engine:
        (first,) = engine.generate([TOKENS], 4)
        assert len(first) == 4
        engine.tokenisation.__dict__["stops"] = frozenset({first[2]})
        assert engine.generate([TOKENS], 4) == [first[: first.index(first[2])]]


@pytest.mark.parametrize("form", ["hf", "auto.gguf"])
@pytest.mark.parametrize("name", MODELS)
def test_text_becomes_the_tokens_of_llama_cpp(name: str, form: str) -> None:
    text = "def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂"
    with load(GOLDEN / name / form) as engine, load(GOLDEN / name / "auto.gguf", "llama.cpp") as judge:
        assert engine.tokenize(text) == judge.tokenize(text)
        assert engine.has_template == judge.has_template
        if engine.has_template:
            assert engine.chat("What is 2+2?") == judge.chat("What is 2+2?")
