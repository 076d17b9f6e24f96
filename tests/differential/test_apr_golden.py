"""Files that `apr-format` 0.72.3 wrote, against what its own reader says of them."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.formats import apr
from rosetta_ref.formats.apr import errors
from rosetta_ref.quant import TYPES

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "apr"
#: The names that its reader has for types, and ours.
NAMES = {"q4": "AprQ4", "q8": "AprQ8"}


def as_floats(metadata):
    """Metadata with the two numbers that the other reader holds as float32, the way it says them."""
    return {
        key: float(np.float32(value)) if key in ("rms_norm_eps", "rope_theta") else value
        for key, value in metadata.items()
    }


@pytest.mark.parametrize("name", ["every-type", "no-tensors", "streamed"])
def test_a_file_is_read_as_its_own_reader_reads_it(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    with apr.read(GOLDEN / f"{name}.apr") as archive:
        assert as_floats(archive.metadata) == expected["metadata"]
        assert archive.notes == []
        assert len(archive.tensors) == expected["tensor_count"] == len(expected["tensors"])
        for said in expected["tensors"]:
            tensor = archive.tensors[said["name"]]
            assert tensor.type.name == NAMES.get(said["type"], said["type"].upper())
            assert list(tensor.shape) == said["shape"]
            assert (tensor.offset, tensor.nbytes) == (expected["data_offset"] + said["offset"], said["size"])
            assert zlib.crc32(tensor.data.tobytes()) == said["crc32"]


def test_payloads_of_every_type():
    q = (np.arange(45) * 37 + 11) % 101
    quantised = (q / 16 - 3).astype("<f4")
    expected = {
        "z.f32": struct.pack("<6I", 0, 0x80000000, 0x3FC00000, 0x7F800000, 0x7FC00123, 1),
        "bf16": bytes.fromhex("803f017f"),
        "f64": struct.pack("<d", math.pi),
        "i32": struct.pack("<i", -7),
        "i64": struct.pack("<q", -7),
        "i8": bytes.fromhex("80007f"),
        "u8": bytes.fromhex("80007f"),
        "q4k": bytes((7 * i + 3) % 256 for i in range(144)),
        "q6k": bytes((11 * i + 5) % 256 for i in range(210)),
        "empty": b"",
        "q8": struct.pack("<f", np.abs(quantised).max() / np.float32(127))
        + np.round(quantised / (np.abs(quantised).max() / np.float32(127))).astype(np.int8).tobytes(),
    }
    with apr.read(GOLDEN / "every-type.apr") as archive:
        for name, data in expected.items():
            assert archive.tensors[name].data.tobytes() == data, name


#: The numbers that the crate encoded: the tensors "q4" and "q8".
ENCODED = np.float32([((37 * i + 11) % 101) / 16 - 3 for i in range(45)])


@pytest.mark.parametrize(("name", "size"), [("AprQ4", 36), ("AprQ8", 49)])
def test_the_crates_blocks(name, size):
    """Its numbers are encoded to its bytes, and its bytes are decoded to its numbers, but for half a step."""
    kind = TYPES[name].sized(45)
    with apr.read(GOLDEN / "every-type.apr") as archive:
        data = archive.tensors[{"AprQ4": "q4", "AprQ8": "q8"}[name]].data.tobytes()
    assert len(data) == size
    assert kind.encode(ENCODED).tobytes() == data
    got = kind.decode(kind.blocks(data))[:45]
    assert np.abs(got - ENCODED).max() <= np.abs(ENCODED).max() / (7 if name == "AprQ4" else 127) * 0.5005


def test_what_is_written_again_differs_in_the_order_of_data_at_most(tmp_path):
    with apr.read(GOLDEN / "streamed.apr") as archive:
        assert list(archive.tensors) == ["b", "a"]
        apr.write(archive, tmp_path / "again.apr")
    assert (tmp_path / "again.apr").read_bytes()[256:] != b""
    original, again = (GOLDEN / "streamed.apr").read_bytes(), (tmp_path / "again.apr").read_bytes()
    tensors = slice(-4 - 2 * 64, -4)
    assert original[tensors] == again[tensors]


@pytest.mark.parametrize(
    ("name", "error", "word"),
    [
        ("lz4-flag-only", errors.FlagError, "LZ4"),
        ("sharded-0-of-2", errors.FlagError, "sharded"),
        ("v1-aprn", errors.OldContainerError, "version 1"),
    ],
)
def test_what_is_refused_is_refused_by_name(name, error, word):
    with pytest.raises(error, match=word):
        apr.read(GOLDEN / f"{name}.apr")
