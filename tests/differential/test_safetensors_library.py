"""SafeTensors against the `safetensors` library, both ways."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load_file, save_file

from rosetta_ref.archive import Archive
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.safetensors.errors import DuplicateEntryError, SafetensorsError
from rosetta_ref.strategies.safetensors import NAMES, archives

NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4",
    "F32": "<f4", "F64": "<f8", "I64": "<i8", "U64": "<u8", "C64": "<c8",
}  # fmt: skip


@given(archives())
def test_the_library_reads_what_we_write(archive: Archive) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.safetensors")
        safetensors.write(archive, path)
        got = {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in deserialize(path.read_bytes())}
    assert got == {name: (t.type.name, t.shape, t.data.tobytes()) for name, t in archive.tensors.items()}


@given(
    st.dictionaries(
        NAMES, st.tuples(st.sampled_from(sorted(NUMPY)), st.lists(st.integers(0, 5), max_size=4)), max_size=6
    ),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_we_read_what_the_library_writes_and_write_it_again(
    layout: dict[str, tuple[str, list[int]]], metadata: dict[str, str], seed: int
) -> None:
    random = np.random.default_rng(seed)
    arrays = {}
    for name, (dtype, shape) in layout.items():
        kind = np.dtype(NUMPY[dtype])
        raw = random.integers(0, 2 if dtype == "BOOL" else 256, int(np.prod(shape)) * kind.itemsize, np.uint8)
        arrays[name] = raw.view(kind).reshape(shape)
    with tempfile.TemporaryDirectory() as directory:
        path, again = Path(directory, "x.safetensors"), Path(directory, "y.safetensors")
        save_file(arrays, path, metadata=metadata or None)
        with safetensors.read(path) as got:
            assert got.metadata == metadata
            assert set(got.tensors) == set(arrays)
            for name, array in arrays.items():
                tensor = got.tensors[name]
                assert (tensor.type.name, tensor.shape) == (layout[name][0], array.shape)
                assert tensor.data.tobytes() == array.tobytes()
            safetensors.write(got, again)
        assert path.read_bytes() == again.read_bytes()


def test_values_are_the_librarys_values(tmp_path: Path) -> None:
    arrays = {"h": np.array([1.5, -0.0, 65504, np.inf], "<f2"), "i": np.arange(-3, 3, dtype="<i4").reshape(2, 3)}
    save_file(arrays, tmp_path / "x.safetensors")
    expected = load_file(tmp_path / "x.safetensors")
    with safetensors.read(tmp_path / "x.safetensors") as got:
        assert len(got.tensors) == 2
        for name, tensor in got.tensors.items():
            np.testing.assert_array_equal(tensor.values(), expected[name].astype(np.float32))


ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
PARTS = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", '"a"', '"b"', "0", "4", "1", "-0", "8", "1.0", "null", '"dtype"', '"F32"', '"F4"',
     '"X"', " ", '"shape"', '"data_offsets"', '"__metadata__"', ENTRY, '"a":' + ENTRY, '{"x":"y"}',
     '["F32",[1],[0,4]]', "\\ud800"]
)  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good header with pieces swapped for others: near enough to valid that both verdicts happen."""
    pieces = ["{", '"a":', "{", '"dtype":', '"F32"', ",", '"shape":', "[", "1", "]", ",",
              '"data_offsets":', "[", "0", ",", "4", "]", "}", "}"]  # fmt: skip
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(pieces) - 1))
        pieces[place : place + draw(st.integers(0, 2))] = draw(st.lists(PARTS, max_size=2))
    header = "".join(pieces).encode()
    return len(header).to_bytes(8, "little") + header + bytes(draw(st.sampled_from([4, 0, 8])))


def sample(header: str, data: bytes = bytes(4)) -> bytes:
    header = header.replace("ENTRY", ENTRY)
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data


@given(mutants())
@example(sample('{"a":ENTRY,"a":ENTRY}'))
@example(sample('{"a":["F32",[1],[0,4]]}'))
@example(sample('{"a":{"dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]}}'))
@example(sample('{"__metadata__":null,"a":ENTRY}'))
@example(sample('{"__metadata__":{"x":"1","x":"2"},"a":ENTRY}'))
@example(sample(" \n" + '{"a":ENTRY}' + "\t "))
@example(sample('{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}', b""))
@example(sample('{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}', b""))
@example(sample('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', b""))
@example(sample('{"z":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},"a":ENTRY}'))
@example(sample('{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"a":ENTRY}'))
@example(sample('{"\\ud83d\\ude00":ENTRY}'))
@example(sample('{"\\ud83d":ENTRY}'))
@example(sample("{}", b""))
def test_we_refuse_what_the_library_refuses_and_nothing_else(data: bytes) -> None:
    try:
        expected = {name: (t["dtype"], tuple(t["shape"])) for name, t in deserialize(data)}
    except SafetensorError:
        expected = None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.safetensors")
        path.write_bytes(data)
        try:
            with safetensors.read(path) as archive:
                got = {name: (t.type.name, t.shape) for name, t in archive.tensors.items()}
        except DuplicateEntryError:
            # The library lets the last entry count where both speak of the same bytes; the format disallows it.
            pairs = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=list)
            assert len({name for name, _ in pairs}) < len(pairs)
            return
        except SafetensorsError:
            got = None
    assert got == expected
