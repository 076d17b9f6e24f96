"""Configuration, tokenizers, records and importance matrices of which any part is something else: refused by name, or converted."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.convert.imatrix import read_imatrix
from rosetta_ref.foreign import NotAFileError
from tests.support.hostile import GOLDEN, SPM, directory, entry, memory, remembering

#: What any value may be replaced by; `...` stands for a hole, `DEEP` for 63 lists within each other.
DEEP, HALF = "@deep@", "@half@"
JUNK: list[Any] = [
    None, True, 0, -1, 4.5, 10**400, 2**64, 1e308, math.inf, math.nan, "", "4", "x" * 3000, "\x1b[2J", [], {}, [[]], [None], [True],
    ["x"], {"a": 1}, {"": {}}, [{"type": []}], {"type": None}, {"content": 5}, {"id": True, "content": "a"}, ["a", "b", "c"], DEEP, HALF,
    ...,
]  # fmt: skip
RAW = [
    b"", b"null", b"[]", b"7", b"{", b"{} {}", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000, b'"x"',
    b'{"a": ' + b"9" * 5000 + b"}", b'{"model": "x"}', b'{"model": null}', b"\0", b'{"x": "\xed\xa0\x80"}', b'\xef\xbb\xbf{"a": 1}',
]  # fmt: skip


def places(node: Any) -> Iterator[tuple[Any, ...]]:
    """Paths to every value, of long tables and lists to the first and the last."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys if len(keys) < 40 and isinstance(node, dict) else dict.fromkeys([*keys[:1], *keys[-1:]]):
        yield (key,)
        yield from ((key, *rest) for rest in places(node[key]))


def spoilt(content: bytes | str, count: int, seed: int) -> Iterator[bytes]:
    """So many copies of the JSON with something else somewhere; the text as it may stand in a file."""
    chosen = random.Random(seed)
    everywhere = list(places(json.loads(content)))
    for _ in range(count):
        made = at = json.loads(content)
        *way, last = chosen.choice(everywhere)
        for key in way:
            at = at[key]
        junk = chosen.choice(JUNK)
        if junk is ...:
            del at[last]
        else:
            at[last] = junk
        text = json.dumps(made).replace(json.dumps(DEEP), "[" * 63 + "]" * 63).replace(json.dumps(HALF), '"\\ud800"')
        yield text.encode()


def refused_by_name(source: Path, target: Path, *names: str, **options: Any) -> bool:
    """Whether it was refused; whoever refuses names the file, in one line."""
    said = None
    try:
        rosetta_ref.convert(source, target, force=True, **options)
    except RosettaError as error:
        said = str(error)
    assert said is None or any(name in said for name in names), said
    assert "\n" not in (said or "")
    return said is not None


COUNT = pytest.mark.parametrize("count", [25, pytest.param(3000, marks=pytest.mark.slow)])


@COUNT
@pytest.mark.parametrize(
    ("of", "name"),
    [
        ("llama3-rope-bias", "config.json"), ("llama-yarn", "config.json"), ("llama3-rope-bias", "tokenizer.json"),
        ("llama3-rope-bias", "tokenizer_config.json"), ("llama-spm", "tokenizer_config.json"),
    ],
)  # fmt: skip
def test_a_companion_of_any_content(of: str, name: str, count: int, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", GOLDEN / of)
    content = (source / name).read_bytes()
    refused = 0
    for data in [*RAW, *spoilt(content, count, seed=1)]:
        (source / name).write_bytes(data)
        # A configuration with other numbers does not fit the tensors, and they are named.
        refused += refused_by_name(source, tmp_path / "m.gguf", name, "tensor")
    assert refused > len(RAW) // 2


@pytest.mark.parametrize(
    "text", ['{"x": -1}', '{"x": true}', '{"x": 1.5}', '{"x": [1]}', '{"x": 400}', "[]", '{"\\ud800": 1}', "{"]
)
def test_added_tokens_of_any_content(text: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    (source / "added_tokens.json").write_text(text)
    assert refused_by_name(source, tmp_path / "m.gguf", "added_tokens.json")


@COUNT
def test_a_sentencepiece_model_of_any_content(count: int, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    path = source / "tokenizer.model"
    content, chosen, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(count):
        data = bytearray(content)
        at = chosen.randrange(len(data))
        data[at : at + chosen.choice([0, 1, 1, 9])] = chosen.randbytes(chosen.choice([0, 1, 1, 9]))
        path.write_bytes(data)
        refused += refused_by_name(source, tmp_path / "m.gguf", "tokenizer.model")
    assert refused > count // 4


@COUNT
def test_a_record_of_kept_blocks_of_any_content(count: int, tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "q8_0.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    content = path.read_bytes()
    for data in [*RAW, *spoilt(content, 2 * count, seed=2)]:
        path.write_bytes(data)
        refused_by_name(tmp_path / "hf", tmp_path / "m.gguf", "rosetta", str(tmp_path / "hf"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("u32", True), ("u32", "7"), ("u32", 1.5), ("u32", [7]), ("f32", "1"), ("f32", True), ("array:u32", [True]), ("array:i32", ["1"]),
        ("array:f32", [None]), ("array:u8", {"base64": "A"}), ("u32", {"base64": "AAAAAAAAAAA="}), ("string", "\ud800"), ("bool", 256),
    ],
)  # fmt: skip
def test_a_kept_value_is_of_its_type(kind: str, value: Any, tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "q8_0.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    record = json.loads(path.read_bytes())
    record["metadata"].append({"key": "my.key", "type": kind, "value": value})
    path.write_text(json.dumps(record))
    assert refused_by_name(tmp_path / "hf", tmp_path / "m.gguf", "my.key")


@COUNT
def test_a_memory_of_a_directory_of_any_content(count: int, tmp_path: Path) -> None:
    keys = memory({"config.json": b"{}"})
    record = json.loads(keys["rosetta.safetensors"])
    record["left_out"] = {"lm_head.weight": {"type": "F32", "shape": [1], "base64": "AAAAAA=="}}
    record["shards"][0]["tensors"]["lm_head.weight"] = "F32"
    record |= {"keys": ["a"], "encoding": {"general.alignment": {"type": "u32", "value": 1}}}
    refused = 0
    for data in [*RAW, *spoilt(json.dumps(record), count, seed=3)]:
        keys["rosetta.safetensors"] = data.decode("latin-1")
        refused += refused_by_name(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf", "rosetta.safetensors")
    assert refused > len(RAW)


def test_python_s_infinity_and_a_key_twice_stay_readable(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    text = (source / "config.json").read_text().rstrip().removesuffix("}")
    (source / "config.json").write_text(text + ', "time_step_limit": [0.0, Infinity], "x": NaN, "hidden_act": "silu"}')
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    # transformers reads with Python's json, and of equal keys the last one counts.
    (source / "config.json").write_text(text + ', "hidden_act": "gelu", "hidden_act": "silu"}')
    rosetta_ref.convert(source, tmp_path / "n.gguf")
    (source / "config.json").write_text(text + ', "hidden_act": "silu", "hidden_act": "gelu"}')
    assert refused_by_name(source, tmp_path / "o.gguf", "config.json")


def imatrix(path: Path, **keys: Any) -> Path:
    """A GGUF file without tensors, with these keys."""
    made = b"".join(entry(key.replace("__", "."), value) for key, value in keys.items())
    data = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + len(keys).to_bytes(8, "little") + made
    path.write_bytes(data + bytes(-len(data) % 32))
    return path


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"general__type": "model"}, {"general__type": 5}, {"general__type": ["imatrix"] * 1000}, {"general__type": "imatrix"},
        {"general__type": "imatrix", "imatrix__datasets": "x", "imatrix__chunk_count": 1, "imatrix__chunk_size": 1},
        {"general__type": "imatrix", "imatrix__datasets": ["x"], "imatrix__chunk_count": "1", "imatrix__chunk_size": 1},
        {"general__type": "imatrix", "imatrix__datasets": ["x"], "imatrix__chunk_count": 1, "imatrix__chunk_size": 1},
    ],
)  # fmt: skip
def test_an_importance_matrix_of_any_content(keys: dict[str, Any], tmp_path: Path) -> None:
    source = imatrix(tmp_path / "i.gguf", **keys)
    assert refused_by_name(SPM / "auto.gguf", tmp_path / "m.gguf", "i.gguf", type="q8_0", imatrix=source)


def test_an_importance_matrix_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(NotAFileError) as caught:
            read_imatrix(path)
        assert caught.value.file == path
