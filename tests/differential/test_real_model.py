"""SmolLM2-135M and what llama.cpp's quantiser makes of it: around the circle, and there and back through each format.

gguf-py and the safetensors library compare the files, llama.cpp computes with them; nothing of this project is asked.
By default the Q4_1 file goes around once; `pytest -m real` runs every variant through every chain.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from rosetta_ref.convert import convert
from tests.support import llama, smollm
from tests.support.independent import assert_same_directory, assert_same_gguf, safetensors_content, save_safetensors

QUESTION = "What is 2+2?"
PROMPT = "The three formats of a language model, and what is lost between them: 1 + 1 = 2."
#: What a GGUF file goes through before it is a GGUF file again. A name without a suffix is a Hugging Face directory.
CHAINS = {
    "apr": ["a.apr"],
    "hf": ["hf"],
    "safetensors": ["s/model.safetensors"],
    "apr-hf": ["a.apr", "hf"],
    "hf-apr": ["hf", "a.apr"],
}


def run(source: Path, names: Sequence[str], folder: Path) -> Path:
    """Convert along a chain of targets below a folder; the last one."""
    for name in names:
        target = folder / name
        target.parent.mkdir(exist_ok=True, parents=True)
        report = convert(source, target)
        assert report.compared, "the conversion compared nothing"
        source = target
    return source


def assert_same_engine(*, found: Path, expected: Path) -> None:
    """llama.cpp gives the same logits, bit for bit, and the same text."""
    with llama.Model(expected) as before, llama.Model(found) as after:
        tokens = before.tokenize(PROMPT)
        assert len(tokens) > 10
        assert after.tokenize(PROMPT) == tokens
        logits = before.logits(tokens)
        assert logits.std() > 0.1
        assert after.logits(tokens).tobytes() == logits.tobytes()
        text = before.chat(QUESTION)
        assert text
        assert after.chat(QUESTION) == text


def test_once_around_the_circle(tmp_path: Path) -> None:
    source = smollm.variant("Q4_1")
    back = run(source, ["model.apr", "hf", "back.gguf"], tmp_path)
    assert assert_same_gguf(found=back, expected=source) == (272, 33)
    assert_same_engine(found=back, expected=source)


@pytest.mark.real
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", smollm.VARIANTS)
def test_there_and_back(name: str, chain: str, tmp_path: Path) -> None:
    source = smollm.variant(name)
    back = run(source, [*CHAINS[chain], "back.gguf"], tmp_path)
    tensors, keys = assert_same_gguf(found=back, expected=source)
    assert_same_engine(found=back, expected=source)
    print(f"{name} through {chain}: {tensors} tensors and {keys} keys equal")
    shutil.rmtree(tmp_path)


@pytest.fixture
def plain_directory(tmp_path: Path) -> Path:
    """A BF16 directory in shards that never was a GGUF: no `rosetta/`, weights written by the safetensors library."""
    folder = tmp_path / "plain"
    convert(smollm.variant("BF16"), folder, dtype="bf16", keep_blocks=False, max_shard_size=100_000_000)
    shutil.rmtree(folder / "rosetta", ignore_errors=True)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    for number, shard in enumerate(shards):
        _, tensors = safetensors_content(shard)
        save_safetensors(shard, tensors, {"format": "pt", "shard": str(number)})
    return folder


@pytest.mark.real
@pytest.mark.parametrize("chain", [["m.gguf"], ["m.apr"], ["m.apr", "m.gguf"], ["m.gguf", "m.apr"]], ids="-".join)
def test_plain_directory_there_and_back(chain: list[str], plain_directory: Path, tmp_path: Path) -> None:
    back = run(plain_directory, [*chain, "back"], tmp_path)
    tensors, files = assert_same_directory(found=back, expected=plain_directory)
    print(f"{' -> '.join(chain)}: {tensors} tensors and {files} files equal")
    shutil.rmtree(tmp_path)
