"""What stands beside the weights: only names that a Hugging Face model has are read or written, whatever a file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.archive import Tensor
from rosetta_ref.convert.companions import NAMES, is_companion
from rosetta_ref.convert.record import LeftOutTensorError, left_out_tensor
from rosetta_ref.quant import TYPES
from tests.support.hostile import (
    GOLDEN,
    SPM,
    companions,
    digests,
    directory,
    memory,
    remembering,
    safetensors_header,
    snapshot,
    write_header,
)

CODE = b"import os; os.system('true')\n"
BAD_NAMES = [
    "conftest.py", ".bash_profile", "numpy.py", "pytest.ini", "setup.cfg", "Makefile", "model.safetensors", "MODEL.safetensors",
    "model-00001-of-00002.safetensors", "other.safetensors.index.json", "rosetta/source.json", "rosetta/blocks.safetensors",
    "rosetta", "config.json\0.py", "../config.json", "..\\config.json", "/tmp/config.json", "./config.json", "config.json/",
    "config.json.", "config.json ", " config.json", "CONFIG.JSON", "Config.json", "con", "NUL.json", "config.json:stream", "", ".",
    "..", "additional_chat_templates", "additional_chat_templates/../x.jinja", "additional_chat_templates/x.py",
    "additional_chat_templates/.jinja", "additional_chat_templates/" + "a" * 65 + ".jinja", "additional_chat_templates/a.b.jinja",
    "additional_chat_templates/CON.jinja", "additional_chat_templates/lpt1.jinja", "additional_chat_templates/a/b.jinja",
    "Additional_chat_templates/x.jinja", "additional_chat_templates\\x.jinja", "config\u202e.json", "config.json\n",
    "additional_chat_templates/x.jinja\n", "tokenizer\u00ad.json", "\u0441onfig.json", "c\u043enfig.json",
]  # fmt: skip


def refused(source: Path, target: Path, **options: Any) -> str:
    """What is said of a conversion that is refused; it leaves nothing."""
    before = digests(target.parent)
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(source, target, **options)
    assert digests(target.parent) == before
    return str(caught.value)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_other_name_is_restored(name: str, tmp_path: Path) -> None:
    source = remembering(tmp_path / "m.gguf", memory({name: CODE}))
    for target in ("hf", "m.safetensors"):
        said = refused(source, tmp_path / target)
        assert "rosetta.files" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["conftest.py", "../x", "model.safetensors", "CONFIG.JSON", "rosetta/source.json"])
def test_nor_from_apr(name: str, tmp_path: Path) -> None:
    source = remembering(tmp_path / "m.gguf", memory({name: CODE}))
    rosetta_ref.convert(source, tmp_path / "m.apr")
    assert "rosetta.files" in refused(tmp_path / "m.apr", tmp_path / "hf")


def test_the_checked_weights_are_not_replaced(tmp_path: Path) -> None:
    source = remembering(tmp_path / "m.gguf", memory({"model.safetensors": b"\0" * 100}))
    target = directory(tmp_path / "hf")
    before = digests(target)
    with pytest.raises(RosettaError, match=r"rosetta\.files"):
        rosetta_ref.convert(source, target, force=True)
    assert digests(target) == before


def test_a_key_beside_the_list_is_refused(tmp_path: Path) -> None:
    for name in ("conftest.py", "vocab.json"):
        keys = memory({"config.json": b"{}", name: CODE}, names=["config.json"])
        assert f"rosetta.file.{name}" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


@pytest.mark.parametrize(
    "names",
    [["config.json", "config.json"], ["vocab.json"], [f"additional_chat_templates/{i}.jinja" for i in range(300)]],
)
def test_the_list_names_what_is_there_once(names: list[str], tmp_path: Path) -> None:
    files = {name: b"{}" for name in names if name != "vocab.json"}
    keys = memory(files, names=names)
    assert "rosetta.file" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


def test_two_templates_are_not_one_where_case_does_not_count(tmp_path: Path) -> None:
    keys = memory({f"additional_chat_templates/{name}.jinja": b"x" for name in ("tool", "TOOL")})
    assert "rosetta.files" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.safetensors", "../m.safetensors", "a/b.safetensors", "a\\b.safetensors", "config.json", "conftest.py",
        "model.safetensors.", "model.safetensors ", "model.safetensors\0", "nul.safetensors", "CON.safetensors", ".safetensors",
        "model.safetensors\n", "~.safetensors", "-.safetensors", "$(x).safetensors", "model.safetensors.index.json", "", 5, None,
        "rosetta/blocks.safetensors", "a" * 300 + ".safetensors",
    ],
)  # fmt: skip
def test_no_other_name_of_weights_is_restored(name: Any, tmp_path: Path) -> None:
    keys = memory({"config.json": b"{}"})
    record = json.loads(keys["rosetta.safetensors"])
    record["shards"][0]["file"] = name
    keys["rosetta.safetensors"] = json.dumps(record)
    assert "rosetta.safetensors" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


def halves(*names: str) -> dict[str, Any]:
    """The record of a directory with its tensors in two files of these names."""
    shard = json.loads(memory({})["rosetta.safetensors"])["shards"][0]
    tensors = list(shard["tensors"].items())
    return {
        "shards": [
            {"file": name, "metadata": shard["metadata"], "tensors": dict(tensors[i::2])}
            for i, name in enumerate(names)
        ]
    }


def test_shards_are_told_apart_where_case_does_not_count(tmp_path: Path) -> None:
    for names in (("a.safetensors", "A.safetensors"), ("a.safetensors", "a.safetensors")):
        keys = memory({}, **halves(*names))
        assert "rosetta.safetensors" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.mark.parametrize("wrong", ["file", "missing", "more", "text", "deep", "twice"])
def test_a_remembered_index_speaks_of_these_very_files(wrong: str, tmp_path: Path) -> None:
    record = halves(*SHARDS)
    right = {name: shard["file"] for shard in record["shards"] for name in shard["tensors"]}
    first = next(iter(right))
    maps = {
        "file": right | {first: "../../secret.safetensors"},
        "missing": {name: file for name, file in right.items() if name != first},
        "more": right | {"another": SHARDS[0]},
    }
    texts = {"text": b"not JSON", "deep": b"[" * 100_000, "twice": b'{"weight_map": {}, "weight_map": {}}'}
    data = texts.get(wrong) or json.dumps({"metadata": {"mine": 1}, "weight_map": maps[wrong]}).encode()
    keys = memory(companions() | {INDEX: data}, **record)
    report = rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")
    written = json.loads((tmp_path / "hf" / INDEX).read_bytes())
    assert written["weight_map"] == right
    assert any(INDEX in note and "not that of these files" in note for note in report.notes)


def test_the_right_index_comes_back_to_the_byte(tmp_path: Path) -> None:
    record = halves(*SHARDS)
    right = {name: shard["file"] for shard in record["shards"] for name in shard["tensors"]}
    data = json.dumps({"weight_map": right, "metadata": {"mine": 1}}, indent=5).encode()
    keys = memory(companions() | {INDEX: data}, **record)
    rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")
    assert (tmp_path / "hf" / INDEX).read_bytes() == data


def test_an_index_stands_under_the_name_of_its_shards_alone(tmp_path: Path) -> None:
    keys = memory({"other.safetensors.index.json": b"{}"}, **halves(*SHARDS))
    assert "rosetta.files" in refused(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


@pytest.mark.parametrize("stem", ["model", "pytorch.v2"])
def test_shards_with_an_index_come_back_to_the_byte(stem: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "from", GOLDEN / "qwen2-tied-sharded")
    for path in sorted(source.glob("model*")):
        text = path.read_bytes()
        if path.suffix == ".json":
            text = text.replace(b"model-0", stem.encode() + b"-0")
        path.unlink()
        (source / (stem + path.name.removeprefix("model"))).write_bytes(text)
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    assert digests(tmp_path / "hf") == digests(source)


# --- what is read is what is restored


def full_directory(path: Path) -> Path:
    """A directory with every companion there is, and other things."""
    made = directory(path, GOLDEN / "llama3-rope-bias")
    (made / "additional_chat_templates").mkdir()
    for name in (*NAMES, "additional_chat_templates/tool_use.jinja", "additional_chat_templates/A-1_b.jinja"):
        assert is_companion(name)
        if not (made / name).exists() and name not in ("tokenizer.model", "chat_template.json", "added_tokens.json"):
            read = name == "special_tokens_map.json" or name.endswith(".jinja")  # as texts
            (made / name).write_bytes(b"{}" if read else b"any bytes \xff of " + name.encode())
    return made


def test_every_companion_comes_back_and_nothing_else(tmp_path: Path) -> None:
    source = full_directory(tmp_path / "from")
    before = digests(source)
    strangers = [
        "README.md",
        "LICENSE",
        "conftest.py",
        "modeling.py",
        ".gitattributes",
        "additional_chat_templates/x.py",
    ]
    for name in strangers:
        (source / name).write_bytes(CODE)
    (source / "original").mkdir()
    for middle in ("m.gguf", "m.apr"):
        report = rosetta_ref.convert(source, tmp_path / middle)
        (note,) = [note for note in report.notes if "left behind" in note]
        assert all(name in note for name in ["LICENSE", "README.md", "conftest.py", "original/", strangers[-1]])
        assert not any(name in note for name in NAMES)
        back = tmp_path / f"{middle}.hf"
        back.mkdir()
        report = rosetta_ref.convert(tmp_path / middle, back)
        assert digests(back) == before
        (note,) = [note for note in report.notes if "written beside" in note]
        assert all(name in note for name in before if is_companion(name))
        assert note in report.to_json()["notes"]


def test_many_strangers_are_told_in_one_short_note(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    for i in range(500):
        (source / f"{i:03}{'n' * 200}").write_bytes(b"")
    report = rosetta_ref.convert(source, tmp_path / "m.gguf")
    (note,) = [note for note in report.notes if "left behind" in note]
    assert len(note) < 1500
    assert "492 more" in note


def test_a_directory_of_odd_weights_comes_back_under_the_usual_name(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    (source / "model.safetensors").rename(source / "my model (1).safetensors")
    report = rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert any("will come back as model.safetensors" in note for note in report.notes)
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    assert (tmp_path / "hf" / "model.safetensors").read_bytes() == (SPM / "hf" / "model.safetensors").read_bytes()


# --- rosetta/source.json


@pytest.mark.parametrize("name", ["conftest.py", "../config.json", "CONFIG.JSON", "a\0", "model.safetensors"])
def test_a_record_names_companions_alone(name: str, tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "q8_0.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"companions": {name: "00"}}))
    assert "source.json" in refused(tmp_path / "hf", tmp_path / "m.gguf")
    for odd in ("../model.safetensors", "a/b", "..", "", "a\\b", "\0"):
        path.write_text(json.dumps(record | {"weights": ["model.safetensors", odd]}))
        assert "source.json" in refused(tmp_path / "hf", tmp_path / "m.gguf")


# --- tensors that GGUF leaves out


BUFFER, BYTES = "m.rotary_emb.inv_freq", "AAAAAA=="
EMBEDDING = "model.embed_tokens.weight"
LEFT_OUT: list[tuple[dict[str, Any], str]] = [
    ({"lm_head.weight": {"type": "F32", "shape": [1], "copy_of": "lm_head.weight"}}, "what it cannot be"),
    ({"lm_head.weight": {"type": "F32", "shape": [1], "copy_of": "no.embed_tokens.weight"}}, "copy of nothing"),
    ({"lm_head.weight": {"type": "F32", "shape": [1], "copy_of": [EMBEDDING]}}, "what it cannot be"),
    ({BUFFER: {"type": "F32", "shape": [1], "copy_of": EMBEDDING}}, "what it cannot be"),
    ({BUFFER: {"type": "F32", "shape": [2], "base64": BYTES}}, "another size"),
    ({BUFFER: {"type": "F32", "shape": [True], "base64": BYTES}}, "no int"),
    ({BUFFER: {"type": "F32", "shape": [-1, -1], "base64": BYTES}}, "shape"),
    ({BUFFER: {"type": "F32", "shape": [0, 10**400], "base64": ""}}, "shape"),
    ({BUFFER: {"type": "F32", "shape": [1] * 100_000, "base64": BYTES}}, "shape"),
    ({BUFFER: {"type": "Q4_K", "shape": [1], "base64": BYTES}}, "rosetta.safetensors"),
    ({BUFFER: {"type": "F99", "shape": [1], "base64": BYTES}}, "type"),
    ({BUFFER: {"type": "F32", "shape": [1], "base64": 5}}, "no bytes"),
    ({BUFFER: {"type": "F32", "shape": [1], "base64": "AAAAAA"}}, "rosetta.safetensors"),
    ({BUFFER: {"type": "F32", "shape": [1]}}, "no bytes"),
    ({"conftest.py": {"type": "F32", "shape": [1], "base64": BYTES}}, "has a place"),
    ({f"{i}{BUFFER}": {"type": "F32", "shape": [1], "copy_of": EMBEDDING} for i in range(2000)}, "what it cannot be"),
]


def leaving_out(path: Path, left_out: dict[str, Any], types: dict[str, str]) -> Path:
    keys = memory(companions())
    record = json.loads(keys["rosetta.safetensors"])
    record["shards"][0]["tensors"] |= types
    keys["rosetta.safetensors"] = json.dumps(record | {"left_out": left_out})
    return remembering(path, keys)


@pytest.mark.parametrize(("left_out", "why"), LEFT_OUT, ids=range(len(LEFT_OUT)))
def test_a_tensor_that_was_left_out_is_made_once_and_as_large_as_it_says(
    left_out: Any, why: str, tmp_path: Path
) -> None:
    source = leaving_out(
        tmp_path / "m.gguf", left_out, {EMBEDDING: "F32"} | {name: said["type"] for name, said in left_out.items()}
    )
    said = refused(source, tmp_path / "hf")
    assert "rosetta.safetensors" in said
    assert why in said


def test_it_stands_in_a_file_with_its_type(tmp_path: Path) -> None:
    right = {BUFFER: {"type": "F32", "shape": [1], "base64": BYTES}}
    for types in ({}, {BUFFER: "F16"}):
        assert "in no file" in refused(leaving_out(tmp_path / "m.gguf", right, types), tmp_path / "hf")
    rosetta_ref.convert(leaving_out(tmp_path / "m.gguf", right, {BUFFER: "F32"}), tmp_path / "hf")
    assert BUFFER in safetensors_header(tmp_path / "hf" / "model.safetensors")


def test_a_copy_has_the_shape_of_what_it_is_a_copy_of() -> None:
    whole = Tensor.of(EMBEDDING, TYPES["F32"], (2, 3), bytes(24))
    record = {"type": "F32", "shape": [2, 3], "copy_of": EMBEDDING}
    assert left_out_tensor("lm_head.weight", record, {EMBEDDING: whole}).shape == (2, 3)
    with pytest.raises(LeftOutTensorError):
        left_out_tensor("lm_head.weight", record | {"shape": [3, 2]}, {EMBEDDING: whole})


def test_buffers_and_a_second_head_come_back(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    path = source / "model.safetensors"
    header = safetensors_header(path)
    end = max(one["data_offsets"][1] for name, one in header.items() if name != "__metadata__")
    names = [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(2)]
    for i, name in enumerate(names):
        header[name] = {"dtype": "F32", "shape": [1], "data_offsets": [end + 4 * i, end + 4 * i + 4]}
    write_header(path, header)
    path.write_bytes(path.read_bytes() + b"\1\2\3\4" * len(names))
    before = snapshot(source)
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    back = safetensors_header(tmp_path / "hf" / "model.safetensors")
    assert back == header
    assert (tmp_path / "hf" / "config.json").read_bytes() == before["config.json"]
