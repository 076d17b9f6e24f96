"""Gemma 3 270M, as somebody published it: around the circle bit for bit, and no word against it from `validate`.

llama.cpp computes with the files, gguf-py and `tokenizers` read them; nothing of this project is asked.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf as gguf_py
import numpy as np
import pytest

from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf
from rosetta_ref.validate import validate
from tests.support import gemma, llama
from tests.support.independent import assert_same_gguf

pytestmark = pytest.mark.real

PROMPT = "The three formats of a language model, and what is lost between them: 1 + 1 = 2."
TEXTS = [  # no special tokens: llama.cpp does not parse them in a plain text
    PROMPT, "", " ", "  two  spaces\n\nand\ttabs", "Über café 你好 🦙", "\n\n\n\n", "a\r\nb",
    "<table><tr>x</tr></table>", "naïve — “quotes” …", "def f(x):\n    return x ** 2\n", "𝒳 ∈ ℝⁿ", "\u2581\u2581", "12345678901234567890",
]  # fmt: skip


def test_once_around_the_circle(tmp_path: Path) -> None:
    source = path = gemma.model()
    for step in ("hf", "model.apr", "back.gguf"):
        assert convert(path, tmp_path / step).compared == 236
        path = tmp_path / step
    assert path.read_bytes() == source.read_bytes()
    assert assert_same_gguf(found=path, expected=source) == (236, 33)
    with llama.Model(source) as before, llama.Model(path) as after:
        tokens = before.tokenize(PROMPT)
        assert len(tokens) > 10
        logits = before.logits(tokens)
        assert logits.std() > 0.1
        assert after.logits(tokens).tobytes() == logits.tobytes()
        assert after.generate(tokens, 8) == before.generate(tokens, 8)
    shutil.rmtree(tmp_path)


def test_weights_alone_have_the_numbers(tmp_path: Path) -> None:
    """What any loader of SafeTensors sees: each tensor's numbers, with the 1 of the norms taken off, and added again."""
    source = gemma.model()
    convert(source, tmp_path / "hf", keep_blocks=False)
    convert(tmp_path / "hf", tmp_path / "plain.gguf", extra_keys=False)
    before = {one.name: one for one in gguf_py.GGUFReader(source).tensors}
    after = {one.name: one for one in gguf_py.GGUFReader(tmp_path / "plain.gguf").tensors}
    assert before.keys() == after.keys()
    for name, one in before.items():
        expected = gguf_py.quants.dequantize(one.data, one.tensor_type)
        found = gguf_py.quants.dequantize(after[name].data, after[name].tensor_type)
        assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), name
    shutil.rmtree(tmp_path)


def test_the_tokenizer_says_what_llama_cpp_says(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    convert(gemma.model(), tmp_path / "hf", keep_blocks=False)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "hf" / "tokenizer.json"))
    with llama.Model(gemma.model(), vocab_only=True) as model:
        for text in TEXTS:
            assert theirs.encode(text, add_special_tokens=False).ids == list(model.tokenize(text)), text
    config = json.loads((tmp_path / "hf" / "config.json").read_bytes())
    assert (config["sliding_window"], config["vocab_size"], config["tie_word_embeddings"]) == (512, 262144, True)
    shutil.rmtree(tmp_path)


def test_nothing_is_wrong_with_it() -> None:
    with gguf.read(gemma.model()) as archive:
        report = validate(archive)
    assert report.ok
    assert (report.judged, len(report.not_judged)) == (236, 0)
