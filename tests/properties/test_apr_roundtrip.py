"""What goes into an APR file comes out of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import apr
from rosetta_ref.formats.apr import errors
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies import apr as some


def assert_same(back: Archive, given_: Archive) -> None:
    assert back.metadata == given_.metadata
    assert list(back.metadata) == list(given_.metadata)
    assert back.tensors.keys() == given_.tensors.keys()
    for name, tensor in given_.tensors.items():
        found = back.tensors[name]
        assert (found.name, found.type, found.shape) == (name, tensor.type, tensor.shape)
        assert found.data.tobytes() == tensor.data.tobytes(), name


@given(archive=some.archives())
def test_what_is_written_is_read(archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("apr") / "a.apr"
    apr.write(archive, path)
    with apr.read(path) as back:
        assert_same(back, archive)
        assert back.notes == []


@given(archive=some.archives())
def test_tensors_with_bytes_keep_their_order(archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("apr") / "a.apr"
    apr.write(archive, path)
    with apr.read(path) as back:
        order = [name for name, tensor in back.tensors.items() if tensor.nbytes]
    assert order == [name for name, tensor in archive.tensors.items() if tensor.nbytes]


@given(archive=some.archives())
def test_writing_is_a_function_of_the_content(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apr")
    apr.write(archive, folder / "a.apr")
    with apr.read(folder / "a.apr") as back:
        apr.write(back, folder / "b.apr")
    first, second = (folder / "a.apr").read_bytes(), (folder / "b.apr").read_bytes()
    if sum(tensor.nbytes == 0 for tensor in archive.tensors.values()) == 0:  # empty ones have no place of their own
        assert first == second
    assert len(first) == len(second)


@given(name=st.text(min_size=1, max_size=300))
def test_names_up_to_256_bytes(name, tmp_path_factory):
    path = tmp_path_factory.mktemp("apr") / "a.apr"
    archive = Archive("apr", {}, {name: Tensor.of(name, TYPES["U8"], (1,), b"\1")})
    if len(name.encode()) > 256:
        with pytest.raises(errors.LimitError):
            apr.write(archive, path)
        assert not path.exists()
        return
    apr.write(archive, path)
    with apr.read(path) as back:
        assert list(back.tensors) == [name]


@pytest.mark.parametrize("length", [256, 257])
def test_the_longest_name(tmp_path, length):
    name = "n" * length
    archive = Archive("apr", {}, {name: Tensor.of(name, TYPES["U8"], (1,), b"\1")})
    if length == 257:
        with pytest.raises(errors.LimitError, match="257 bytes"):
            apr.write(archive, tmp_path / "a.apr")
        return
    apr.write(archive, tmp_path / "a.apr")
    assert list(apr.read(tmp_path / "a.apr").tensors) == [name]


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"x": float("nan")}, errors.MetadataError),
        ({"x": [float("inf")]}, errors.MetadataError),
        ({"x": "\udc80"}, errors.MetadataError),
        ({"x": object()}, errors.MetadataError),
        ({"hidden_size": 1, "n_embd": 1}, errors.AliasError),
        ({"n_embd": 1, "d_model": 1}, errors.AliasError),
        ({"hidden_size": "1"}, errors.MetadataTypeError),
        ({"hidden_size": True}, errors.MetadataTypeError),
        ({"num_layers": -1}, errors.MetadataTypeError),
        ({"model_type": None}, errors.MetadataTypeError),
        ({"total_size": None}, errors.MetadataTypeError),
        ({"name": 7}, errors.MetadataTypeError),
        ({"x": "a" * (16 << 20)}, errors.LimitError),
    ],
)
def test_metadata_that_others_could_not_read_is_not_written(tmp_path, metadata, error):
    with pytest.raises(error):
        apr.write(Archive("apr", metadata), tmp_path / "a.apr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [{"license": None}, {"hidden_size": None}, {"rope_theta": 1}])
def test_metadata_that_others_can_read_is_written(tmp_path, value):
    apr.write(Archive("apr", value), tmp_path / "a.apr")
    assert apr.read(tmp_path / "a.apr").metadata == value


def test_nine_dimensions_are_refused(tmp_path):
    with pytest.raises(errors.LimitError):
        apr.write(Archive("apr", {}, {"a": Tensor.of("a", TYPES["U8"], (1,) * 9, b"\1")}), tmp_path / "a.apr")


def test_the_size_of_a_tensor_is_checked_before_it_is_written(tmp_path):
    with pytest.raises(errors.SizeMismatchError):
        apr.write(Archive("apr", {}, {"a": Tensor.of("a", TYPES["F32"], (2,), b"\1" * 4)}), tmp_path / "a.apr")
    assert list(tmp_path.iterdir()) == []


def test_a_type_without_a_code_is_a_valid_tensor_of_bytes_to_others(tmp_path):
    kind = TYPES["Q5_K"]
    data = np.arange(3 * 2 * 176, dtype=np.uint16).astype(np.uint8)
    apr.write(Archive("apr", {}, {"a": Tensor.of("a", kind, (3, 512), data)}), tmp_path / "a.apr")
    raw = (tmp_path / "a.apr").read_bytes()
    assert b'"rosetta.ggml_types":{"a":{"type":"Q5_K","shape":[3,512]}}' in raw
    entry = raw.index(b"\1\0a") + 3
    assert raw[entry : entry + 18] == bytes([7, 2]) + (3).to_bytes(8, "little") + (352).to_bytes(8, "little")


def test_flags_say_row_major_quantised_and_vocabulary(tmp_path):
    apr.write(Archive("apr", {}), tmp_path / "plain.apr")
    blocks = Tensor.of("a", TYPES["Q4_K"], (256,), bytes(144))
    apr.write(Archive("apr", {"tokenizer.vocabulary": ["a"]}, {"a": blocks}), tmp_path / "full.apr")
    assert (tmp_path / "plain.apr").read_bytes()[6:8] == b"\x00\x04"
    assert (tmp_path / "full.apr").read_bytes()[6:8] == b"\x20\x06"
