"""What a conversion promises beyond equal tensors: changed weights are noticed, nothing is replaced unasked, nothing is left."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf as gguf_py
import numpy as np
import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.convert import staging
from rosetta_ref.convert.check import InventedValueError, MismatchError
from rosetta_ref.formats import gguf, safetensors

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"
SPM = ROOT / "fixtures" / "golden" / "convert-hf" / "llama-spm"


def raw(path: Path) -> dict[str, tuple[str, bytes]]:
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf_py.GGUFReader(path).tensors}


def edit_weight(path: Path, name: str) -> np.ndarray:
    """Change one element of an F32 tensor of a SafeTensors file in place; its new values."""
    with safetensors.read(path) as archive:
        tensor = archive.tensors[name]
        assert tensor.type.name == "F32"
        offset, values = tensor.offset, tensor.values().copy()
    assert offset is not None
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(0.123).tobytes())
    values.flat[0] = np.float32(0.123)
    return values


def test_a_changed_tensor_is_taken_from_the_weights(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32")
    changed = "model.layers.0.mlp.down_proj.weight"
    values = edit_weight(tmp_path / "hf" / "model.safetensors", changed)
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert report.changed == ["blk.0.ffn_down.weight"]
    assert any("blk.0.ffn_down.weight was changed" in note for note in report.notes)
    before, after = raw(DEMO), raw(tmp_path / "back.gguf")
    assert before.keys() == after.keys()
    kind, data = after.pop("blk.0.ffn_down.weight")
    assert (kind, data) == ("F32", values.tobytes())
    del before["blk.0.ffn_down.weight"]
    assert after == before


def test_a_changed_tensor_of_a_directory_with_names_as_stored_keeps_its_row_order(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32", keep_names=True)
    values = edit_weight(tmp_path / "hf" / "model.safetensors", "blk.0.attn_q.weight")
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf", keep_names=True)
    assert report.changed == ["blk.0.attn_q.weight"]
    before, after = raw(DEMO), raw(tmp_path / "back.gguf")
    assert after.pop("blk.0.attn_q.weight") == ("F32", values.tobytes())
    del before["blk.0.attn_q.weight"]
    assert after == before


@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "blk.1.ffn_down.weight"])
def test_damaged_blocks_are_never_taken_for_the_original(tmp_path: Path, name: str) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32")
    path = tmp_path / "hf" / "rosetta" / "blocks.safetensors"
    with safetensors.read(path) as archive:
        offset = archive.tensors[name].offset
    assert offset is not None
    data = bytearray(path.read_bytes())
    data[offset + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(RosettaError, match="damaged") as raised:
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert raised.value.tensor is not None
    assert not (tmp_path / "back.gguf").exists()


@pytest.mark.parametrize("value", [0.5, 0.123])
def test_a_changed_tensor_that_was_not_kept_is_noticed(tmp_path: Path, value: float) -> None:
    """BF16 within F32 is not kept. A new value may fit BF16 or not: neither is to be lost."""
    rosetta_ref.convert(DEMO, tmp_path / "f32", dtype="f32", keep_blocks=False)
    rosetta_ref.convert(tmp_path / "f32", tmp_path / "m.gguf", extra_keys=False)
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "bf16", dtype="bf16", keep_blocks=False)
    rosetta_ref.convert(tmp_path / "bf16", tmp_path / "bf16.gguf", extra_keys=False)
    rosetta_ref.convert(tmp_path / "bf16.gguf", tmp_path / "hf", dtype="f32")
    path = tmp_path / "hf" / "model.safetensors"
    with safetensors.read(path) as archive:
        tensor = archive.tensors["model.layers.0.mlp.down_proj.weight"]
        values, offset = tensor.values().copy(), tensor.offset
    values.flat[0] = value
    assert offset is not None
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(values.tobytes())
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert report.changed == ["blk.0.ffn_down.weight"]
    assert raw(tmp_path / "back.gguf")["blk.0.ffn_down.weight"] == ("F32", values.tobytes())
    assert raw(tmp_path / "back.gguf")["blk.0.ffn_up.weight"] == raw(tmp_path / "bf16.gguf")["blk.0.ffn_up.weight"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("weights"),
        lambda record: record["tensors"].update(x=3),
        lambda record: record["tensors"]["output_norm.weight"].update(type="Q9"),
        lambda record: record["tensors"]["output_norm.weight"].update(shape=[-1]),
        lambda record: record["tensors"]["output_norm.weight"].update(shape=None),
        lambda record: record["tensors"]["output_norm.weight"].update(crc32=[1]),
        lambda record: record["tensors"]["output_norm.weight"].update(name=None),
        lambda record: record.update(companions=3),
        lambda record: record.update(metadata=[3]),
        lambda record: record.update(tensors=None),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RosettaError, match=r"source\.json"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")


def test_without_kept_blocks_the_weights_are_all_there_is(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", keep_blocks=False)
    assert not (tmp_path / "hf" / "rosetta").exists()
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert raw(tmp_path / "back.gguf").keys() == raw(DEMO).keys()
    assert {kind for kind, _ in raw(tmp_path / "back.gguf").values()} == {"F32"}


def test_kept_blocks_of_another_model_are_left_aside(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "one.safetensors")
    (tmp_path / "one.safetensors").rename(tmp_path / "two.safetensors")
    report = rosetta_ref.convert(tmp_path / "two.safetensors", tmp_path / "back.gguf")
    assert any("belongs to one.safetensors" in note for note in report.notes)
    assert report.actions["restored"] == 0


def test_a_changed_configuration_makes_the_metadata_anew(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    config = json.loads(path.read_text())
    config["rms_norm_eps"] = 0.25
    path.write_text(json.dumps(config))
    report = rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert any("config.json changed" in note for note in report.notes)
    with gguf.read(tmp_path / "back.gguf") as back:
        assert back.metadata["llama.attention.layer_norm_rms_epsilon"].plain() == 0.25


def test_edited_gguf_metadata_makes_the_files_anew(tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "hf", tmp_path / "m.gguf")
    with gguf.read(tmp_path / "m.gguf") as model:
        key = "llama.context_length"
        model.metadata[key] = type(model.metadata[key]).scalar(model.metadata[key].kind, 77)
        gguf.write(model, tmp_path / "edited.gguf")
    report = rosetta_ref.convert(tmp_path / "edited.gguf", tmp_path / "hf")
    assert any("metadata changed" in note for note in report.notes)
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["max_position_embeddings"] == 77


def test_an_existing_target_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "m.apr"
    target.write_bytes(b"precious")
    with pytest.raises(staging.TargetExistsError):
        rosetta_ref.convert(DEMO, target)
    assert target.read_bytes() == b"precious"
    rosetta_ref.convert(DEMO, target, force=True)
    assert target.read_bytes()[:4] == b"APR\0"
    assert [path.name for path in tmp_path.iterdir()] == ["m.apr"]


def test_an_existing_companion_needs_force(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(staging.TargetExistsError, match=r"config\.json"):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_force_leaves_no_stale_shard(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", max_shard_size=200_000)
    assert len(list((tmp_path / "hf").glob("model-*.safetensors"))) > 2
    rosetta_ref.convert(DEMO, tmp_path / "hf", force=True)
    assert [path.name for path in (tmp_path / "hf").glob("*.safetensors*")] == ["model.safetensors"]
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "back.gguf")
    assert raw(tmp_path / "back.gguf") == raw(DEMO)


def test_shards_come_back_from_any_of_their_names(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", max_shard_size=200_000)
    shard = sorted((tmp_path / "hf").glob("model-*.safetensors"))[0]
    for source in (shard, tmp_path / "hf" / "model.safetensors.index.json"):
        rosetta_ref.convert(source, tmp_path / "back.gguf", force=True)
        assert raw(tmp_path / "back.gguf") == raw(DEMO)


def test_what_is_written_wrong_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = gguf.write

    def flips_a_bit(archive, path, **options):  # type: ignore[no-untyped-def]
        honest(archive, path, **options)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    rosetta_ref.convert(DEMO, tmp_path / "m.apr")
    monkeypatch.setattr(gguf, "write", flips_a_bit)
    with pytest.raises(MismatchError) as raised:
        rosetta_ref.convert(tmp_path / "m.apr", tmp_path / "back.gguf")
    assert raised.value.tensor
    assert [path.name for path in tmp_path.iterdir()] == ["m.apr"]


def test_overflow_that_the_source_does_not_have_is_refused(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "hf", dtype="f32", keep_blocks=False)
    path = tmp_path / "hf" / "model.safetensors"
    with safetensors.read(path) as archive:
        offset = archive.tensors["model.norm.weight"].offset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(1e6).tobytes())
    rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf", extra_keys=False)
    with pytest.raises(InventedValueError, match="inf"):
        rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "f16", dtype="f16")
    assert not (tmp_path / "f16").exists()


def test_checksums_are_those_of_the_bytes(tmp_path: Path) -> None:
    rosetta_ref.convert(DEMO, tmp_path / "m.apr", checksums=tmp_path / "sums.json")
    sums = json.loads((tmp_path / "sums.json").read_text())
    expected = {name: hashlib.sha256(data).hexdigest() for name, (_, data) in raw(DEMO).items()}
    assert {name: one["source"] for name, one in sums.items()} == expected


def test_a_directory_needs_its_configuration(tmp_path: Path) -> None:
    shutil.copytree(SPM / "hf", tmp_path / "hf")
    (tmp_path / "hf" / "config.json").unlink()
    with pytest.raises(RosettaError, match=r"config\.json"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_experts_and_stray_tensors_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SPM / "hf", tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_local_experts": 8}))
    with pytest.raises(RosettaError, match="num_local_experts"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    path.write_text(json.dumps(config))
    with safetensors.read(tmp_path / "hf") as archive:
        tensors = archive.tensors | {
            "model.extra.weight": replace(archive.tensors["model.norm.weight"], name="model.extra.weight")
        }
        safetensors.write(type(archive)("safetensors", {}, tensors), tmp_path / "hf" / "other.safetensors")
    (tmp_path / "hf" / "other.safetensors").rename(tmp_path / "hf" / "model.safetensors")
    with pytest.raises(RosettaError, match=r"model\.extra\.weight"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()
