"""An envelope gives back any bytes, and says what lies in them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rosetta_ref.gate import malformed
from rosetta_ref.reduce.envelope import parse, serialise
from rosetta_ref.zoo import files

FORMATS = ("gguf", "apr", "safetensors")
SMALL = {
    "gguf": files.in_gguf(files.tensor("Q4_K", files.blocks("Q4_K", 2, d=1))),
    "apr": files.in_apr(files.floats("F32", 1, 2, 3, rows=2)),
    "safetensors": files.in_safetensors(files.floats("F32", 1, 2, 3, rows=2)),
}


def weights(path: Path) -> bytes:
    return (path if path.is_file() else next(path.glob("*.safetensors"))).read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_malformed_file_comes_back_byte_for_byte(kind: str, tmp_path: Path) -> None:
    count = 0
    for number, make in enumerate((files.model_in(kind, tokenizer=True), SMALL[kind])):
        for file in malformed.from_file(make(tmp_path / str(number)), 0):
            if not file.file.endswith(".json"):
                assert serialise(parse(file.data(), kind)) == file.data(), file.rule
                count += 1
    assert count > 60


@pytest.mark.parametrize("kind", FORMATS)
def test_a_valid_file_tells_no_lie(kind: str, tmp_path: Path) -> None:
    data = weights(files.model_in(kind, tokenizer=True)(tmp_path))
    envelope = parse(data, kind)
    assert not envelope.lies
    assert len(envelope.tensors) == 12
    assert serialise(envelope) == data


@pytest.mark.parametrize("kind", FORMATS)
def test_any_bytes_come_back(kind: str, tmp_path: Path) -> None:
    data = weights(SMALL[kind](tmp_path))
    rng = random.Random(0)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(rng.randint(0, 3)):
            broken[rng.randrange(len(broken))] = rng.choice((0, 1, 255, rng.randrange(256)))
        cut = bytes(broken[: rng.choice((len(broken), rng.randrange(len(broken))))])
        assert serialise(parse(cut, kind)) == cut, cut.hex()


@pytest.mark.parametrize(
    ("rule", "path", "stated"),
    [
        ("gguf/tensor-count-past-the-end", "header.tensor_count", 2**40),
        ("gguf/key-count-overflows", "header.metadata_count", 2**64 - 1),
        ("gguf/text-length-overflows", "metadata[0].value.length", 2**64 - 8),
        ("gguf/key-length-overflows", "metadata[0].key.length", 2**64 - 1),
        ("gguf/dimension-count-huge", "tensor[0].dims.count", 2**32 - 1),
        ("gguf/dimension-negative", "tensor[0].dims[1]", 2**64 - 1),
        ("gguf/offset-past-the-end", "tensor[0].offset", 2**40),
        ("gguf/type-unknown", "tensor[0].type", 1000),
        ("apr/tensor-count-past-the-end", "header.tensor_count", 2**32 - 1),
        ("apr/metadata-size-past-the-end", "header.metadata_size", 2**32 - 1),
        ("apr/name-length-past-the-end", "tensor[0].name.length", 2**16 - 1),
        ("apr/size-past-the-end", "tensor[0].size", 2**40),
        ("apr/flag-encrypted", "header.flags", 0x404),
        ("safetensors/length-huge", "header.length", 2**40),
        ("safetensors/shape-negative", "tensor[0].shape", [-1]),
        ("safetensors/dtype-unknown", "tensor[0].dtype", "F31"),
    ],
)
def test_one_broken_rule_is_one_lie(rule: str, path: str, stated: object, tmp_path: Path) -> None:
    kind = rule.split("/", 1)[0]
    twin = SMALL[kind](tmp_path)
    data = next(file.data() for file in malformed.from_file(twin, 0) if file.rule == rule)
    envelope = parse(data, kind)
    assert envelope.lies == {path: stated}
    if not path.endswith(("].type", ".shape")):  # several types, and shapes, take the bytes that are there
        assert serialise(envelope.telling({})) == twin.read_bytes(), "without the lie it is the twin"


def test_a_cut_is_the_size_that_is_there(tmp_path: Path) -> None:
    data = SMALL["apr"](tmp_path).read_bytes()
    assert parse(data[:-9], "apr").lies == {"file.size": len(data) - 9}


def test_lies_go_with_what_they_are_about(tmp_path: Path) -> None:
    envelope = parse(weights(files.model_in("gguf")(tmp_path)), "gguf")
    made = envelope.telling({"tensor[3].offset": 7, "tensor[4].type": 99, "header.tensor_count": 5}).with_tensors(
        [1, 3]
    )
    assert made.lies == {"tensor[1].offset": 7, "header.tensor_count": 5}
    assert [entry.name for entry in made.tensors] == [envelope.tensors[n].name for n in (1, 3)]
