"""The files that aprender 0.25.0 wrote, converted: every tensor that it kept right arrives as it was in its source."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

import rosetta_ref

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "apr-rosetta"
NAMES = ["llama-f32", "llama-q4km", "qwen2-f32", "qwen2-q4km"]


def values(path: Path) -> dict[str, np.ndarray]:
    """Tensors as float32 in their logical shape, by gguf-py."""
    return {
        t.name: gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
        for t in gguf.GGUFReader(path).tensors
    }


@pytest.mark.parametrize("name", NAMES)
def test_into_gguf(name: str, tmp_path: Path) -> None:
    expected = values(GOLDEN / "source" / f"{name}.gguf")
    rosetta_ref.convert(GOLDEN / "aprender-0.25.0" / f"{name}.apr", tmp_path / "m.gguf")
    found = values(tmp_path / "m.gguf")
    assert len(expected) >= 11
    assert found.keys() == expected.keys()
    for tensor, numbers in expected.items():
        np.testing.assert_array_equal(found[tensor], numbers, err_msg=tensor)


@pytest.mark.parametrize("name", NAMES)
def test_into_safetensors(name: str, tmp_path: Path) -> None:
    """The same directory as from the source itself, tensor by tensor; that one is judged elsewhere."""
    rosetta_ref.convert(GOLDEN / "aprender-0.25.0" / f"{name}.apr", tmp_path / "hf", dtype="f32")
    found = load_file(tmp_path / "hf" / "model.safetensors")
    expected = values(GOLDEN / "source" / f"{name}.gguf")
    heads = 8
    assert len(found) == len(expected) >= 11
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], expected["token_embd.weight"])
    np.testing.assert_array_equal(found["model.layers.0.mlp.down_proj.weight"], expected["blk.0.ffn_down.weight"])
    queries = expected["blk.0.attn_q.weight"]
    if name.startswith("llama"):  # adjacent pairs to halves, head by head
        rows, columns = queries.shape
        queries = queries.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    np.testing.assert_array_equal(found["model.layers.0.self_attn.q_proj.weight"], queries)
