"""The samples of the gate as others read them: gguf-py, the safetensors library, llama.cpp, tokenizers, and a forward pass.

A judge whose input is wrong accuses everybody. So each face is read by code that nobody here wrote, or that shares nothing with the
gate's mapping.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import tokenizers
from safetensors import safe_open
from safetensors.numpy import save_file

from rosetta_ref.archive import Tensor
from rosetta_ref.formats import apr
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.claims import apr_metadata_of, config_of
from rosetta_ref.inference.engine import NumpyEngine
from rosetta_ref.quant import TYPES
from tests.support.forward import Directory
from tests.support.llama import Model, logits

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46]
TEXTS = (
    "the hen then in the other inner train 1234",
    "  two spaces,\n\nlines\ttabs",
    "Ĝis 世界 🦀!",
    "a",
    "",
    "it's NOT\r\n12",
    "12!a 1 2 !a! line\n\n  !a",
)
EVERY = {sample.name: sample for whole in (False, True) for sample in default_samples.default(7, whole_models=whole)}
MODELS = [name for name, sample in EVERY.items() if sample.architecture and "gguf" in sample.formats]
#: APR has no key for a scaled rope.
SCALED = ("llama-f32-yarn", "llama-f32-llama3")
FLOATS = [name for name in MODELS if "safetensors" in EVERY[name].formats and not name.endswith(("special", "sharded"))]


SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<bos>", "<eos>")


def having(form: str) -> list[str]:
    return [name for name, sample in EVERY.items() if form in sample.formats]


#: Types that gguf-py has no number for: in files of their own, so that who relies on it loses no more.
NEWEST = [name for name in having("gguf") if "newest" in name]


@pytest.mark.parametrize("name", [name for name in having("gguf") if name not in NEWEST])
def test_gguf_py_reads_what_the_sample_says(name: str, tmp_path: Path) -> None:
    sample = EVERY[name]
    path = write.write(sample, "gguf", tmp_path)
    read = {}
    for part in sorted(path.parent.glob("*.gguf")):
        read |= {tensor.name: tensor for tensor in gguf.GGUFReader(part).tensors}
    assert list(read) == list(sample.model.tensors)
    for name, tensor in sample.model.tensors.items():
        if not sample.big_endian:
            assert read[name].data.tobytes() == bytes(tensor.data)
        elif tensor.type.is_scalar:  # numbers of a big-endian file have their bytes in its order
            assert read[name].data.tobytes() == tensor.data.view(f"u{tensor.type.block_bytes}").byteswap().tobytes()
        assert tuple(map(int, read[name].shape[::-1])) == tensor.shape
        assert read[name].tensor_type.name == tensor.type.name


@pytest.mark.parametrize("name", having("safetensors"))
def test_the_safetensors_library_finds_every_tensor_once(name: str, tmp_path: Path) -> None:
    sample = EVERY[name]
    path = write.write(sample, "safetensors", tmp_path)
    read, kinds = {}, {}
    for file in sorted(path.glob("*.safetensors")):
        index = path / "model.safetensors.index.json"
        assigned = json.loads(index.read_text())["weight_map"] if index.exists() else {}
        with safe_open(file, "np") as opened:
            for name in opened.keys():  # noqa: SIM118
                if assigned.get(name, file.name) == file.name:
                    kinds[name] = opened.get_slice(name).get_dtype()
                    read[name] = opened.get_slice(name).get_shape()
    shapes = {
        mapping.hugging_face_name(name, sample.architecture) if sample.architecture else name: tensor.shape
        for name, tensor in sample.model.tensors.items()
        if name != mapping.FACTORS
    }
    assert {name: tuple(shape) for name, shape in read.items()} == shapes
    if sample.architecture and "floats" not in sample.name:
        assert len(set(kinds.values())) == 1


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_loads_every_model(name: str, tmp_path: Path) -> None:
    path = write.write(EVERY[name], "gguf", tmp_path)
    with Model(path) as model:
        assert model.vocab_size == len(EVERY[name].model.metadata["tokenizer.ggml.tokens"].data)


@pytest.mark.parametrize("name", FLOATS)
def test_three_faces_are_one_model(name: str, tmp_path: Path) -> None:
    answers = {}
    for form in EVERY[name].formats:
        path = write.write(EVERY[name], form, tmp_path / form)
        with NumpyEngine(path, precise=True) as engine:
            answers[form] = next(iter(engine.logits([TOKENS])))
    assert np.isfinite(answers["gguf"]).all()
    assert len(answers) == (2 if name in SCALED or name == "gemma3-no-window" else 3)
    # GGUF's factors are float32, where config.json has what they are computed from.
    tolerance = 1e-5 if name == "llama-f32-llama3" else 0
    for answer in answers.values():
        assert np.abs(answer - answers["gguf"]).max() <= tolerance


#: What `Directory` computes. Others are in test_forward_architectures, and all of them above.
PLAIN = [name for name in FLOATS if "floats" not in name and EVERY[name].architecture in ("llama", "qwen2")]


@pytest.mark.parametrize("name", PLAIN)
def test_llama_cpp_computes_what_the_hugging_face_directory_means(name: str, tmp_path: Path) -> None:
    """In F32, since llama.cpp rounds what it multiplies by F16 and BF16 weights, and NumPy has no BF16."""
    model = EVERY[name].model
    wide = {key: Tensor.of(key, TYPES["F32"], tensor.shape, tensor.values()) for key, tensor in model.tensors.items()}
    sample = replace(EVERY[name], model=replace(model, tensors=wide))
    ours = logits(write.write(sample, "gguf", tmp_path), TOKENS)
    path = write.write(EVERY[name], "safetensors", tmp_path)
    with open_archive(path) as archive:
        save_file({key: tensor.values() for key, tensor in archive.tensors.items()}, path / "model.safetensors")
    theirs = Directory(path).logits(TOKENS)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["llama-f32-tied", "llama-f16-scores", "qwen2-f32", "qwen3-bf16", "gemma3-bf16"])
def test_both_tokenizers_encode_alike(name: str, tmp_path: Path) -> None:
    path = write.write(EVERY[name], "safetensors", tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    with Model(write.write(EVERY[name], "gguf", tmp_path)) as model:
        for text in TEXTS:
            assert model.tokenize(text) == theirs.encode(text, add_special_tokens=False).ids, text
            assert model.tokenize(text, add_special=True) == theirs.encode(text).ids, text
        special = EVERY[name].model.metadata["tokenizer.ggml.tokens"].plain()
        ids = [place for place, token in enumerate(special) if token in SPECIAL]
        assert len(ids) == 2
        for place in ids:
            assert (
                model.tokenize(special[place], special=True)[-1:] == theirs.encode(special[place]).ids[-1:] == [place]
            )


@pytest.mark.parametrize("name", ["llama-f16-scores", "gemma3-bf16"])
def test_the_pieces_of_tokenizer_model_are_those_of_the_gguf_file(name: str) -> None:
    """The protobuf, by a parser of four lines: length-delimited fields 1 of field 1."""
    sample = EVERY[name]
    data, found = sample.companions["tokenizer.model"], []
    tokens = sample.model.metadata["tokenizer.ggml.tokens"].plain()
    for token, score in zip(tokens, sample.model.metadata["tokenizer.ggml.scores"].plain(), strict=True):
        piece = b"\x0a" + bytes([len(token.encode())]) + token.encode() + b"\x15" + np.float32(score).tobytes()
        assert data.count(piece) == 1, token
        found.append(data.index(piece))
    assert found == sorted(found)


# The mapping, against what llama.cpp's converter made of directories that transformers wrote


@pytest.mark.parametrize("folder", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_names_and_rows_are_those_of_llama_cpps_converter(folder: str) -> None:
    with open_archive(GOLDEN / folder / "auto.gguf") as ours, open_archive(GOLDEN / folder / "hf") as theirs:
        assert {mapping.gguf_name(name) for name in theirs.tensors} == set(ours.tensors) - mapping.FROM_CONFIGURATION
        for name, tensor in theirs.tensors.items():
            role = mapping.gguf_name(name)
            assert role is not None
            assert mapping.hugging_face_name(role) == name
            values, heads = ours.tensors[role].values(), mapping.row_heads(role, ours.metadata)
            assert np.array_equal(mapping.to_halves(values, heads) if heads else values, tensor.values())
            assert not heads or np.array_equal(mapping.to_pairs(tensor.values(), heads), values)


@pytest.mark.parametrize("folder", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_numbers_are_those_of_transformers(folder: str) -> None:
    theirs = json.loads((GOLDEN / folder / "hf" / "config.json").read_text())
    rope = theirs.pop("rope_parameters")
    theirs["rope_theta"] = rope.pop("rope_theta")
    with open_archive(GOLDEN / folder / "auto.gguf") as archive:
        ours = config_of(archive.metadata, archive.tensors)
    ours.pop("pad_token_id", None)  # llama.cpp's converter takes it from the tokenizer
    scaling = ours.pop("rope_scaling", None)
    assert scaling == (rope if rope["rope_type"] == "yarn" else None)
    if ours["model_type"] == "qwen2":
        assert ours.pop("head_dim") == theirs["hidden_size"] // theirs["num_attention_heads"]
    assert ours == {key: theirs[key] for key in ours}


# APR, where no reader but aprender's exists: its keys in files that aprender wrote


def test_apr_keys_are_those_of_aprender(tmp_path: Path) -> None:
    folder = GOLDEN.parent / "apr-rosetta"
    for name in ("llama-f32", "qwen2-f32"):
        with open_archive(folder / "source" / f"{name}.gguf") as source:
            ours = apr_metadata_of(source.metadata)
        with apr.read(folder / "aprender-0.25.0" / f"{name}.apr") as archive:
            theirs = archive.metadata
        shared = {key for key in ours if theirs.get(key) is not None} - {"name"}  # aprender's is the architecture
        assert len(shared) > 10
        assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
