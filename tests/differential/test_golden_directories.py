"""Hugging Face directories as transformers saved them, against what llama.cpp's convert_hf_to_gguf made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
from safetensors import safe_open

import rosetta_ref

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
NAMES = ["llama-smollm-tied", "llama-spm", "llama-yarn", "llama3-rope-bias", "qwen2-tied-sharded"]
#: The one comes from the directory's name, the other from the number of parameters.
NAMED_BY_CIRCUMSTANCE = {"general.name", "general.size_label"}


def tensors(path: Path) -> dict[str, tuple[Any, ...]]:
    return {
        t.name: (t.tensor_type.name, tuple(int(n) for n in t.shape), t.data.tobytes())
        for t in gguf.GGUFReader(path).tensors
    }


def keys(path: Path) -> dict[str, tuple[Any, ...]]:
    return {
        name: (field.types, field.contents())
        for name, field in gguf.GGUFReader(path).fields.items()
        if not name.startswith("GGUF.") and name not in NAMED_BY_CIRCUMSTANCE
    }


def weights(directory: Path) -> dict[str, tuple[str, list[int], bytes]]:
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        raw = path.read_bytes()
        header = int.from_bytes(raw[:8], "little")
        with safe_open(path, "np") as file:  # the library has an opinion first
            assert file.keys()
        for name, record in json.loads(raw[8 : 8 + header]).items():
            if name != "__metadata__":
                first, last = record["data_offsets"]
                found[name] = (record["dtype"], record["shape"], raw[8 + header + first : 8 + header + last])
    return found


@pytest.mark.parametrize("kind", ["auto", "q8_0"])
@pytest.mark.parametrize("name", NAMES)
def test_gguf_equals_that_of_convert_hf_to_gguf(name: str, kind: str, tmp_path: Path) -> None:
    made = tmp_path / "made.gguf"
    options = {} if kind == "auto" else {"type": kind}
    rosetta_ref.convert(GOLDEN / name / "hf", made, extra_keys=False, **options)
    expected = tensors(GOLDEN / name / f"{kind}.gguf")
    assert len(expected) >= 20
    assert tensors(made) == expected
    assert len(keys(made)) >= 20
    assert keys(made) == keys(GOLDEN / name / f"{kind}.gguf")


@pytest.mark.parametrize("name", NAMES)
def test_way_back_from_a_foreign_gguf_gives_the_weights(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / name / "auto.gguf", tmp_path / "back")
    expected = weights(GOLDEN / name / "hf")
    assert len(expected) > 15
    assert weights(tmp_path / "back") == expected


def meaning(config: dict[str, Any]) -> dict[str, Any]:
    """What a config.json says of the numbers; what has a default, or only speaks of training, aside."""
    rope = config["rope_parameters"]
    plain = (
        "architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "vocab_size", "tie_word_embeddings", "hidden_act",
    )  # fmt: skip
    said = {key: config[key] for key in plain}
    said["head_dim"] = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    said["bias"] = config.get("attention_bias", False), config.get("mlp_bias", False)
    return said | {
        "rope": {key: rope[key] for key in sorted(rope)},
        "ids": (config["bos_token_id"], config["eos_token_id"]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_way_back_from_a_foreign_gguf_gives_a_config_that_means_the_same(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / name / "auto.gguf", tmp_path / "back")
    original = json.loads((GOLDEN / name / "hf" / "config.json").read_text())
    made = {"bos_token_id": None} | json.loads((tmp_path / "back" / "config.json").read_text())
    assert meaning(made) == meaning(original)


@pytest.mark.parametrize("middle", [("x.gguf",), ("x.apr", "y.gguf"), ("x.apr",)])
@pytest.mark.parametrize("name", NAMES)
def test_directory_comes_back_byte_for_byte(name: str, middle: tuple[str, ...], tmp_path: Path) -> None:
    source = GOLDEN / name / "hf"
    path = source
    for step in (*middle, "back"):
        rosetta_ref.convert(path, tmp_path / step)
        path = tmp_path / step
    files = {file.name: file.read_bytes() for file in source.iterdir()}
    assert len(files) >= 5
    assert {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()} == files
