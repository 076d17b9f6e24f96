"""Ways in which a conversion once lost, mixed or overwrote something without a word, found by reading the code as an enemy."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf as gguf_py
import numpy as np
import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.cli import main
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.quant import TYPES

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"
GOLDEN = ROOT / "fixtures" / "golden" / "convert-hf"
SPM = GOLDEN / "llama-spm" / "hf"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def edited(path: Path, change: Callable[[gguf.Archive], None]) -> Path:
    """A copy of the demo model with something changed."""
    with gguf.read(DEMO) as model:
        change(model)
        gguf.write(model, path)
    return path


# --- the manifest of --checksums


@pytest.mark.parametrize("name", ["source.gguf", "out.apr", "missing/sums.json", "folder", "taken.json"])
def test_the_manifest_takes_the_place_of_nothing(name: str, tmp_path: Path) -> None:
    shutil.copy(DEMO, tmp_path / "source.gguf")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken.json").write_text("precious")
    before = snapshot(tmp_path)
    with pytest.raises(RosettaError):
        rosetta_ref.convert(tmp_path / "source.gguf", tmp_path / "out.apr", checksums=tmp_path / name)
    assert snapshot(tmp_path) == before


def test_the_manifest_is_no_companion_of_the_source(tmp_path: Path) -> None:
    shutil.copytree(SPM, tmp_path / "hf")
    before = snapshot(tmp_path)
    with pytest.raises(RosettaError):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf", checksums=tmp_path / "hf" / "config.json", force=True)
    assert snapshot(tmp_path) == before


# --- the source is never touched


def test_no_part_of_the_source_is_replaced_or_removed(tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.model"):
        shutil.copy(DEMO, folder / name)
        before = snapshot(folder)
        with pytest.raises(RosettaError, match="belongs to the source"):
            rosetta_ref.convert(folder / name, folder, force=True)
        assert snapshot(folder) == before
        (folder / name).unlink()


def test_a_second_conversion_of_a_target_waits_for_nobody(tmp_path: Path) -> None:
    staging = tmp_path / ".m.apr.partial"
    (staging / "new").mkdir(parents=True)
    (staging / "new" / "m.apr").write_bytes(b"half")
    held = os.open(staging, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(RosettaError, match="another conversion"):
            rosetta_ref.convert(DEMO, tmp_path / "m.apr")
        assert (staging / "new" / "m.apr").read_bytes() == b"half"
    finally:
        os.close(held)
    rosetta_ref.convert(DEMO, tmp_path / "m.apr")
    assert [path.name for path in tmp_path.iterdir()] == ["m.apr"]


# --- two models are never mixed


def test_force_leaves_no_file_of_the_former_model(tmp_path: Path) -> None:
    shutil.copytree(SPM, tmp_path / "hf")
    (tmp_path / "hf" / "README.md").write_text("mine")
    (tmp_path / "hf" / "model_of_mine.safetensors").write_text("mine too")
    rosetta_ref.convert(DEMO, tmp_path / "hf", force=True, keep_blocks=False)
    names = set(snapshot(tmp_path / "hf"))
    assert {"README.md", "model_of_mine.safetensors"} <= names
    assert "tokenizer.model" not in names
    (tmp_path / "hf" / "model_of_mine.safetensors").unlink()
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")


def test_what_was_kept_for_a_former_file_goes_with_it(tmp_path: Path) -> None:
    def rename(model: gguf.Archive) -> None:
        model.metadata["general.name"] = Value.scalar(Kind.STRING, "Other")

    other = edited(tmp_path / "other.gguf", rename)
    rosetta_ref.convert(DEMO, tmp_path / "m.safetensors")
    rosetta_ref.convert(other, tmp_path / "m.safetensors", keep_blocks=False, force=True)
    assert not (tmp_path / "rosetta").exists()
    rosetta_ref.convert(tmp_path / "m.safetensors", tmp_path / "back.gguf")
    with gguf.read(tmp_path / "back.gguf") as back:
        assert "llama.cpp" not in str(back.metadata["general.name"].data)
        assert back.metadata["general.name"].data != gguf.read(DEMO).metadata["general.name"].data


def test_a_remembered_directory_goes_into_one_file(tmp_path: Path) -> None:
    for name in ("llama-spm", "qwen2-tied-sharded"):
        rosetta_ref.convert(GOLDEN / name / "hf", tmp_path / f"{name}.gguf")
        (tmp_path / name).mkdir()
        rosetta_ref.convert(tmp_path / f"{name}.gguf", tmp_path / name / "one.safetensors")
        assert not list((tmp_path / name).glob("*.index.json"))
        with (
            safetensors.read(tmp_path / name / "one.safetensors") as one,
            safetensors.read(GOLDEN / name / "hf") as many,
        ):
            assert one.tensors.keys() == many.tensors.keys()
            for tensor, expected in ((one.tensors[n], many.tensors[n]) for n in many.tensors):
                assert (tensor.type, tensor.shape) == (expected.type, expected.shape)
                assert tensor.data.tobytes() == expected.data.tobytes()


# --- a corrupt model stays visible


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "aprq4", "aprq8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_is_never_made_a_number(kind: str, value: float, tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32", keep_blocks=False)
    path = tmp_path / "hf" / "model.safetensors"
    with safetensors.read(path) as archive:
        offset = archive.tensors["model.layers.1.self_attn.k_proj.weight"].offset
    assert offset is not None
    with path.open("r+b") as file:
        file.seek(offset + 4 * 77)
        file.write(np.float32(value).tobytes())
    target = tmp_path / ("m.apr" if kind.startswith("apr") else "m.gguf")
    with pytest.raises(RosettaError, match="element") as raised:
        rosetta_ref.convert(tmp_path / "hf", target, type=kind)
    assert raised.value.tensor is not None
    assert not target.exists()


def test_an_encoded_q4_0_is_repacked_for_apr(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32", keep_blocks=False)
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.apr", type="q4_0")
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf", type="q4_0")
    rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "back.gguf")
    with apr.read(tmp_path / "m.apr") as packed:
        assert packed.tensors["blk.0.ffn_up.weight"].type.name == "AprQ4"
    ours, theirs = (gguf_py.GGUFReader(tmp_path / name).tensors for name in ("back.gguf", "m.gguf"))
    assert [(t.name, t.tensor_type, t.data.tobytes()) for t in ours] == [
        (t.name, t.tensor_type, t.data.tobytes()) for t in theirs
    ]


# --- a model is whole


def drop(name: str) -> Callable[[gguf.Archive], None]:
    return lambda model: model.tensors.pop(name)


def narrow(name: str) -> Callable[[gguf.Archive], None]:
    def change(model: gguf.Archive) -> None:
        rows = model.tensors[name].shape[0]
        model.tensors[name] = Tensor.of(name, TYPES["F32"], (rows, 128), np.zeros((rows, 128), np.float32))

    return change


@pytest.mark.parametrize("suffix", ["apr", "hf"])
@pytest.mark.parametrize(
    "change",
    [
        drop("blk.0.ffn_up.weight"),
        drop("output_norm.weight"),
        drop("blk.1.attn_norm.weight"),
        narrow("blk.0.attn_v.weight"),
    ],
)
def test_half_a_model_is_refused(change: Callable[[gguf.Archive], None], suffix: str, tmp_path: Path) -> None:
    source = edited(tmp_path / "half.gguf", change)
    target = tmp_path / ("hf" if suffix == "hf" else "m.apr")
    with pytest.raises(RosettaError) as raised:
        rosetta_ref.convert(source, target)
    assert raised.value.tensor is not None
    assert raised.value.file == source or raised.value.file is None
    assert not target.exists()


def test_half_a_directory_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SPM, tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    with safetensors.read(path) as archive:
        tensors = {name: tensor for name, tensor in archive.tensors.items() if "up_proj" not in name}
        safetensors.write(replace(archive, tensors=tensors), tmp_path / "less.safetensors")
    (tmp_path / "less.safetensors").rename(path)
    with pytest.raises(RosettaError, match=r"blk\.0\.ffn_up"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")


# --- what changed, and only that, comes from the files


def test_one_changed_number_changes_one_key(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    config = json.loads(path.read_text())
    config |= {"rope_theta": 5000.0, "rope_parameters": {**config["rope_parameters"], "rope_theta": 5000.0}}
    path.write_text(json.dumps(config))
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    with gguf.read(DEMO) as before, gguf.read(tmp_path / "back.gguf") as after:
        assert after.metadata["llama.rope.freq_base"].plain() == 5000.0
        assert after.metadata.keys() - {"llama.rope.freq_base"} == before.metadata.keys() - {"llama.rope.freq_base"}
        assert [k for k in before.metadata if before.metadata[k] != after.metadata[k]] == ["llama.rope.freq_base"]


def test_a_file_that_came_or_went_is_told(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    (tmp_path / "hf" / "tokenizer.json").unlink()
    (tmp_path / "hf" / "special_tokens_map.json").write_text("{}")
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert any("special_tokens_map.json, tokenizer.json changed since" in note for note in report.notes)


def test_diff_of_two_directories_reads_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        shutil.copytree(SPM, tmp_path / name)
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "b" / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "config.json: rms_norm_eps" in capsys.readouterr().out


# --- options and targets


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("m.apr", {"dtype": "f16"}),
        ("hf", {"apr_native": True}),
        ("hf", {"max_shard_size": 0}),
        ("m.gguf2", {}),
        ("m.Q4_K", {}),
        (".gguf", {}),
        ("-", {}),
        ("none/m.apr", {}),
    ],
)
def test_what_cannot_be_meant_is_refused(target: str, options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(RosettaError):
        rosetta_ref.convert(DEMO, tmp_path / target, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["SmolLM2-1.7B", "Mistral-7B-v0.1", "plain"])
def test_names_of_models_are_directories(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / name)
    assert (tmp_path / name / "model.safetensors").is_file()


def test_suffixes_of_any_case_are_files(tmp_path: Path) -> None:
    for name in ("M.APR", "M.SafeTensors"):
        rosetta_ref.convert(DEMO, tmp_path / name)
        assert (tmp_path / name).is_file()


def test_the_report_counts_every_tensor_once(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "m.apr")
    rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "hf")
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    assert sum(report.actions.values()) == report.tensors == 20
    assert min(report.actions.values()) > 0
