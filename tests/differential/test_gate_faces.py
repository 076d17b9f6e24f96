"""The samples of the gate as others read them: gguf-py, the safetensors library, llama.cpp, tokenizers, and a forward pass.

A judge whose input is wrong accuses everybody. So each face is read by code that nobody here wrote, or that shares nothing with the
gate's mapping.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors import safe_open
from tests.support.llama import Model, logits

from rosetta_ref.formats import apr
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate import faces, mapping, samples
from rosetta_ref.gate.sample import Sample
from rosetta_ref.inference.engine import NumpyEngine

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46]
TEXTS = ("the hen then in the other inner train 1234", "  two spaces,\n\nlines\ttabs", "Ĝis 世界 🦀!", "a", "", "it's NOT\r\n12")
EVERY = {sample.name: sample for whole in (False, True) for sample in samples.default(7, whole_models=whole)}
MODELS = [name for name, sample in EVERY.items() if sample.architecture and "gguf" in sample.formats]
FLOATS = [name for name in MODELS if len(EVERY[name].formats) == 3 and "special" not in name]


@pytest.fixture(params=sorted(EVERY))
def sample(request: pytest.FixtureRequest) -> Sample:
    return EVERY[request.param]


def test_gguf_py_reads_what_the_sample_says(sample: Sample, tmp_path: Path) -> None:
    if "gguf" not in sample.formats:
        pytest.skip("no GGUF face")
    path = faces.write(sample, "gguf", tmp_path)
    read = {}
    for part in sorted(path.parent.glob("*.gguf")):
        read |= {tensor.name: tensor for tensor in gguf.GGUFReader(part).tensors}
    newer = {name for name, tensor in sample.model.tensors.items() if tensor.type.id not in _known_to_gguf_py()}
    assert list(read) == list(sample.model.tensors)
    for name, tensor in sample.model.tensors.items():
        if name not in newer:
            assert read[name].data.tobytes() == bytes(tensor.data)
            assert tuple(map(int, read[name].shape[::-1])) == tensor.shape
            assert read[name].tensor_type.name == tensor.type.name


def _known_to_gguf_py() -> set[int]:
    return {int(kind) for kind in gguf.GGMLQuantizationType}


def test_the_safetensors_library_reads_the_rows_that_config_json_asks_for(sample: Sample, tmp_path: Path) -> None:
    if "safetensors" not in sample.formats:
        pytest.skip("no SafeTensors face")
    path = faces.write(sample, "safetensors", tmp_path)
    read, kinds = {}, {}
    for file in sorted(path.glob("*.safetensors")):
        index = path / "model.safetensors.index.json"
        assigned = json.loads(index.read_text())["weight_map"] if index.exists() else {}
        with safe_open(file, "np") as opened:
            for name in opened.keys():  # noqa: SIM118
                if assigned.get(name, file.name) == file.name:
                    kinds[name] = opened.get_slice(name).get_dtype()
                    read[name] = opened.get_slice(name).get_shape()
    names = {(mapping.hugging_face_name(name) if sample.architecture else name) for name in sample.model.tensors}
    assert set(read) == names
    for name, tensor in sample.model.tensors.items():
        assert tuple(read[(mapping.hugging_face_name(name) if sample.architecture else name) or ""]) == tensor.shape
    if sample.architecture and "floats" not in sample.name:
        assert len(set(kinds.values())) == 1


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_loads_every_model(name: str, tmp_path: Path) -> None:
    path = faces.write(EVERY[name], "gguf", tmp_path)
    with Model(path) as model:
        assert model.vocab_size == len(EVERY[name].model.metadata["tokenizer.ggml.tokens"].data)


@pytest.mark.parametrize("name", FLOATS)
def test_three_faces_are_one_model(name: str, tmp_path: Path) -> None:
    answers = {}
    for form in ("gguf", "apr", "safetensors"):
        path = faces.write(EVERY[name], form, tmp_path / form)
        with NumpyEngine(path, dtype=np.float64) as engine:
            answers[form] = next(iter(engine.logits([TOKENS])))
    assert np.isfinite(answers["gguf"]).all()
    assert np.array_equal(answers["gguf"], answers["safetensors"])
    assert np.array_equal(answers["gguf"], answers["apr"])


@pytest.mark.parametrize("name", [name for name in FLOATS if name not in ("llama-floats", "qwen2-floats")])
def test_llama_cpp_computes_what_the_hugging_face_directory_means(name: str, tmp_path: Path) -> None:
    from tests.support.forward import Directory

    ours = logits(faces.write(EVERY[name], "gguf", tmp_path / "gguf"), TOKENS)
    path = faces.write(EVERY[name], "safetensors", tmp_path / "hf")
    theirs = Directory(path).logits(TOKENS) if "bf16" not in name else _widened(path, tmp_path).logits(TOKENS)
    assert np.abs(ours - theirs).max() < 1e-3 * max(1, np.abs(theirs).max())
