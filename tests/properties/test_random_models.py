"""Random models there and back: every tensor and key, through each chain of formats."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gguf as gguf_py
from hypothesis import given
from hypothesis import strategies as st

import rosetta_ref
from rosetta_ref.archive import Archive
from rosetta_ref.formats import gguf
from rosetta_ref.strategies.models import models

CHAINS = (("m.apr",), ("hf",), ("m.safetensors",), ("m.apr", "hf"), ("hf", "m.apr"))


@given(model=models(), chain=st.sampled_from(CHAINS))
def test_there_and_back(model: Archive, chain: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gguf.write(model, folder / "first.gguf")
        path = folder / "first.gguf"
        for step in (*chain, "back.gguf"):
            rosetta_ref.convert(path, folder / step)
            path = folder / step
        back = {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf_py.GGUFReader(path).tensors}
        expected = {name: (tensor.type.name, tensor.data.tobytes()) for name, tensor in model.tensors.items()}
        assert len(expected) >= 11
        assert [name for name in expected if back[name] != expected[name]] == []
        assert path.read_bytes() == (folder / "first.gguf").read_bytes()
