"""SafeTensors: what is written is what is read, in one file and in shards."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.safetensors import errors
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies.safetensors import archives


def assert_same_content(got: Archive, expected: Archive) -> None:
    __tracebackhide__ = True
    assert list(got.tensors) == list(expected.tensors)
    assert got.metadata == expected.metadata
    for name, tensor in expected.tensors.items():
        other = got.tensors[name]
        assert (other.type.name, other.shape) == (tensor.type.name, tensor.shape), name
        assert other.data.tobytes() == tensor.data.tobytes(), name


@given(archives())
def test_a_written_file_reads_back_and_writes_the_same_bytes(archive: Archive) -> None:
    with tempfile.TemporaryDirectory() as directory:
        first, second = Path(directory, "first.safetensors"), Path(directory, "second.safetensors")
        safetensors.write(archive, first)
        with safetensors.read(first) as got:
            # Zero-size tensors share an offset; the header's order tells them apart, so the order holds for them too.
            assert_same_content(got, archive)
            safetensors.write(got, second)
        assert first.read_bytes() == second.read_bytes()
        assert int.from_bytes(first.read_bytes()[:8], "little") % 8 == 0


@given(archives(), st.integers(1, 4000))
def test_shards_read_back_as_the_whole(archive: Archive, max_shard_size: int) -> None:
    layout = safetensors.plan_shards(archive, max_shard_size)
    assert [name for shard in layout for name in shard.names] == list(archive.tensors)
    for shard in layout:
        size = sum(archive.tensors[name].nbytes for name in shard.names)
        assert size <= max_shard_size or len([n for n in shard.names if archive.tensors[n].nbytes]) == 1
    with tempfile.TemporaryDirectory() as directory:
        written = safetensors.write_sharded(archive, directory, layout)
        assert sorted(Path(directory).iterdir()) == sorted(written)
        with safetensors.read(directory) as got:
            assert_same_content(got, archive)
            assert [part.names for part in got.parts] == [shard.names for shard in layout]
            assert [part.metadata for part in got.parts] == [archive.metadata] * len(layout)


def small(*names: str) -> Archive:
    tensors = {n: Tensor.of(n, TYPES["F32"], (2,), np.array([i, i + 0.5], "<f4")) for i, n in enumerate(names)}
    return Archive("safetensors", {"format": "pt"}, tensors)


def test_an_index_has_the_form_that_transformers_writes(tmp_path: Path) -> None:
    archive = small("b", "a", "c")
    safetensors.write_sharded(archive, tmp_path, safetensors.plan_shards(archive, 16))
    text = (tmp_path / "model.safetensors.index.json").read_text()
    assert json.loads(text) == {
        "metadata": {"total_size": 24},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
                       "c": "model-00002-of-00002.safetensors"},
    }  # fmt: skip
    assert text.startswith('{\n  "metadata": {\n    "total_size": 24\n  },\n  "weight_map": {\n    "a": ')
    index = safetensors.read_index(tmp_path / "model.safetensors.index.json")
    assert (index.metadata, index.weight_map["c"]) == ({"total_size": 24}, "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(("good", "old"), [("1.safetensors", "2.safetensors"), ("2.safetensors", "1.safetensors")])
def test_the_index_decides_between_two_copies(tmp_path: Path, good: str, old: str) -> None:
    fresh, stale = small("a", "b"), small("x", "b")
    stale.tensors["b"] = Tensor.of("b", TYPES["F32"], (2,), np.array([9, 9], "<f4"))
    safetensors.write(stale, tmp_path / old)
    safetensors.write(fresh, tmp_path / good)
    weight_map = {"a": good, "b": good, "x": old}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with safetensors.read(tmp_path) as got:
        assert got.tensors["b"].values().tolist() == [1, 1.5]
        assert got.tensors["b"].file == tmp_path / good
        assert {part.map.path.name: part.names for part in got.parts} == {old: ("x",), good: ("a", "b")}
        assert any("copy of 'b'" in note for note in got.notes)


def test_a_numbered_set_without_an_index_is_read_whole(tmp_path: Path) -> None:
    archive = small("a", "b", "c")
    safetensors.write_sharded(archive, tmp_path, safetensors.plan_shards(archive, 8))
    (tmp_path / "model.safetensors.index.json").unlink()
    with safetensors.read(tmp_path) as got:
        assert_same_content(got, archive)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(errors.MissingShardError, match="model-00002-of-00003"):
        safetensors.read(tmp_path)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K", "AprQ4", "AprQ8"])
def test_block_types_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    tensor = Tensor.of("t", TYPES[kind], (256,), bytes(TYPES[kind].nbytes((256,))))
    with pytest.raises(errors.UnwritableTypeError, match=f"'t'.*{kind}"):
        safetensors.write(Archive("safetensors", {}, {"t": tensor}), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["__metadata__", "\udcff"])
def test_names_that_the_header_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.UnwritableNameError):
        safetensors.write(small(name), tmp_path / "x.safetensors")


@pytest.mark.parametrize("metadata", [{"n": 1}, {"\ud800": "x"}, {"x": "\ud800"}])
def test_metadata_that_is_not_text_is_refused(tmp_path: Path, metadata: dict[str, object]) -> None:
    with pytest.raises(errors.MetadataError):
        safetensors.write(Archive("safetensors", metadata, {}), tmp_path / "x.safetensors")


def test_a_tensor_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    tensor = Tensor.of("t", TYPES["F32"], (2,), bytes(4))
    with pytest.raises(errors.TensorSizeError, match="needs 8 bytes, has 4"):
        safetensors.write(Archive("safetensors", {}, {"t": tensor}), tmp_path / "x.safetensors")


@pytest.mark.parametrize("names", [[("a",)], [("a", "b"), ("b",)], [("a", "b", "z")]])
def test_a_layout_names_every_tensor_once(tmp_path: Path, names: list[tuple[str, ...]]) -> None:
    layout = [safetensors.Shard(f"{i}.safetensors", group) for i, group in enumerate(names)]
    with pytest.raises(errors.LayoutError):
        safetensors.write_sharded(small("a", "b"), tmp_path, layout)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_set_that_fails_half_way(tmp_path: Path) -> None:
    archive = small("a", "b")
    bad = Tensor.of("c", TYPES["Q4_0"], (32,), bytes(18))
    archive.tensors["c"] = bad
    with pytest.raises(errors.UnwritableTypeError):
        safetensors.write_sharded(archive, tmp_path, safetensors.plan_shards(archive, 8))
    assert not list(tmp_path.iterdir())
