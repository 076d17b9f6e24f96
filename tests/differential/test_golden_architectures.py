"""Each architecture's golden directory, as transformers saved it, against what llama.cpp's convert_hf_to_gguf made of it.

A directory in `fixtures/golden/architectures` is found by being there: a new architecture needs no edit here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest

import rosetta_ref
from rosetta_ref.architectures.models import MODELS
from tests.differential.test_golden_directories import weights

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "architectures"
NAMES = sorted(path.name for path in GOLDEN.iterdir())
#: How the directory is called, in a file of which it is said.
_NAMED = "general.name"


def tensors(path: Path) -> list[tuple[Any, ...]]:
    """Name, type, shape and bytes of each tensor, in order."""
    return [
        (t.name, t.tensor_type.name, tuple(int(n) for n in t.shape), t.data.tobytes())
        for t in gguf.GGUFReader(path).tensors
    ]


def keys(path: Path) -> list[tuple[Any, ...]]:
    """Key, types and content of the metadata, in order."""
    fields = gguf.GGUFReader(path).fields
    return [
        (name, field.types, field.contents())
        for name, field in fields.items()
        if name[:5] != "GGUF." and name != _NAMED
    ]


def test_the_proof_is_here() -> None:
    assert {"qwen3", "gemma3"} <= set(NAMES) <= MODELS.keys()


@pytest.mark.parametrize("kind", ["auto", "q8_0"])
@pytest.mark.parametrize("name", NAMES)
def test_gguf_equals_that_of_convert_hf_to_gguf(name: str, kind: str, tmp_path: Path) -> None:
    made, golden = tmp_path / "made.gguf", GOLDEN / name / f"{kind}.gguf"
    rosetta_ref.convert(GOLDEN / name / "hf", made, extra_keys=False, **({} if kind == "auto" else {"type": kind}))
    assert len(tensors(made)) >= 20
    assert tensors(made) == tensors(golden)
    # The type asked for is described behind all other keys, where llama.cpp's quantiser writes it.
    order = list if kind == "auto" else sorted
    assert order(keys(made)) == order(keys(golden))


@pytest.mark.parametrize("name", NAMES)
def test_gguf_in_f32_equals_that_of_convert_hf_to_gguf(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / name / "hf", tmp_path / "made.gguf", type="f32")
    expected = json.loads((GOLDEN / name / "f32.json").read_bytes())
    found = {
        tensor: [kind, list(reversed(shape)), hashlib.sha256(data).hexdigest()]
        for tensor, kind, shape, data in tensors(tmp_path / "made.gguf")
    }
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_of_transformers_4_gives_the_same_gguf(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(GOLDEN / name / "hf", tmp_path / "hf"))
    shutil.copy(GOLDEN / name / "config.v4.json", copy / "config.json")
    rosetta_ref.convert(copy, tmp_path / "made.gguf", extra_keys=False)
    assert tensors(tmp_path / "made.gguf") == tensors(GOLDEN / name / "auto.gguf")
    assert keys(tmp_path / "made.gguf") == keys(GOLDEN / name / "auto.gguf")


@pytest.mark.parametrize("name", NAMES)
def test_way_back_from_a_foreign_gguf_gives_the_weights_and_the_configuration(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / name / "auto.gguf", tmp_path / "back", keep_blocks=False)
    assert weights(tmp_path / "back") == weights(GOLDEN / name / "hf")
    for spelling in ("hf/config.json", "config.v4.json"):
        original = json.loads((GOLDEN / name / spelling).read_bytes())
        made = json.loads((tmp_path / "back" / "config.json").read_bytes())
        common = [key for key in original if key in made and key != "rope_scaling"]
        assert len(common) > 15
        assert {key: made[key] for key in common} == {key: original[key] for key in common}
    rosetta_ref.convert(tmp_path / "back", tmp_path / "again.gguf", extra_keys=False)
    assert tensors(tmp_path / "again.gguf") == tensors(GOLDEN / name / "auto.gguf")


@pytest.mark.parametrize("middle", [("x.gguf",), ("x.apr", "y.gguf"), ("x.apr",)])
@pytest.mark.parametrize("name", NAMES)
def test_directory_comes_back_byte_for_byte(name: str, middle: tuple[str, ...], tmp_path: Path) -> None:
    path = source = GOLDEN / name / "hf"
    for step in (*middle, "back"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    files = {file.name: file.read_bytes() for file in source.iterdir()}
    assert len(files) >= 5
    assert {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()} == files


@pytest.mark.parametrize("middle", [("hf",), ("x.apr",), ("hf", "x.apr"), ("x.apr", "hf")])
@pytest.mark.parametrize("name", NAMES)
def test_gguf_comes_back_byte_for_byte(name: str, middle: tuple[str, ...], tmp_path: Path) -> None:
    path = GOLDEN / name / "q8_0.gguf"
    for step in (*middle, "back.gguf"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    assert tensors(path) == tensors(GOLDEN / name / "q8_0.gguf")
    assert keys(path) == keys(GOLDEN / name / "q8_0.gguf")
