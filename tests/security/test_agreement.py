"""The Hugging Face files that a GGUF or APR file remembers are those it was made of, and say what the model says."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError, limits
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.convert.extras import recall
from rosetta_ref.formats import gguf
from tests.support.damage import edit_json
from tests.support.hostile import GOLDEN, SPM, companions, digests, directory, memory, remembering, snapshot

YARN = GOLDEN / "llama-yarn"
OTHER = b"{{ 'another template' }}"


def made(tmp_path: Path, source: Path = YARN) -> Path:
    """A model that remembers its golden directory."""
    rosetta_ref.convert(source / "hf", tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


def replaced(path: Path, files: dict[str, bytes], *, anew: bool) -> Path:
    """The same with other files; `anew`: without the digest that tells of it, which anybody can leave out, or make anew."""
    with gguf.read(path) as model:
        metadata = dict(model.metadata)
        for name, data in files.items():
            assert f"rosetta.file.{name}" in metadata
            metadata[f"rosetta.file.{name}"] = Value.array(Kind.U8, list(zlib.compress(data)))
        if anew:
            record = json.loads(metadata["rosetta.safetensors"].data)
            record.pop("files_sha256", None)
            metadata["rosetta.safetensors"] = Value.scalar(Kind.STRING, json.dumps(record))
        gguf.write(Archive("gguf", metadata, model.tensors), path.with_name("edited.gguf"))
    return path.with_name("edited.gguf")


def back(source: Path, target: Path, **options: Any) -> str:
    return "\n".join(rosetta_ref.convert(source, target, **options).notes)


def test_what_was_remembered_comes_back(tmp_path: Path) -> None:
    back(made(tmp_path), tmp_path / "hf")
    assert digests(tmp_path / "hf") == digests(YARN / "hf")
    back(replaced(tmp_path / "m.gguf", {}, anew=True), tmp_path / "older")  # as versions without the digest wrote it
    assert digests(tmp_path / "older") == digests(YARN / "hf")


@pytest.mark.parametrize("golden", ["llama-spm", "qwen2-tied-sharded"])
def test_names_as_stored_are_no_contradiction(golden: str, tmp_path: Path) -> None:
    rosetta_ref.convert(made(tmp_path, GOLDEN / golden), tmp_path / "m.apr")
    for i, source in enumerate((tmp_path / "m.gguf", tmp_path / "m.apr")):
        assert "say" not in back(source, tmp_path / str(i), keep_names=True)
        assert (
            companions(GOLDEN / golden).items()
            >= {
                name: data
                for name, data in snapshot(tmp_path / str(i)).items()
                if name in ("config.json", "tokenizer.json")
            }.items()
        )
        assert (tmp_path / str(i) / "config.json").exists()


@pytest.mark.parametrize("name", ["chat_template.jinja", "config.json", "tokenizer.json", "special_tokens_map.json"])
def test_other_files_than_were_stored_are_a_note(name: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "from", YARN)
    (source / "special_tokens_map.json").write_text("{}")
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    notes = back(replaced(tmp_path / "m.gguf", {name: OTHER}, anew=False), tmp_path / "hf")
    assert "the files themselves changed since" in notes
    assert name in notes
    assert OTHER not in snapshot(tmp_path / "hf").values()
    back(tmp_path / "hf", tmp_path / "again.gguf")  # our own reader takes it


def edit(name: str, **values: Any) -> bytes:
    return json.dumps(json.loads((YARN / "hf" / name).read_bytes()) | values).encode()


HOSTILE = [
    ("chat_template.jinja", OTHER, "tokenizer.chat_template"),
    ("config.json", b"not json", "config.json"),
    ("config.json", b"[]", "config.json"),
    ("config.json", edit("config.json", rms_norm_eps=0.5), "llama.attention.layer_norm_rms_epsilon"),
    ("tokenizer.json", b'{"version":1}', ""),
    ("tokenizer.json", edit("tokenizer.json", pre_tokenizer=None), ""),
    ("tokenizer.json", edit("tokenizer.json", decoder={"type": "Nonsense"}), ""),
    ("tokenizer_config.json", edit("tokenizer_config.json", add_bos_token=True, bos_token="<s>"), ""),
]


@pytest.mark.parametrize(
    ("how", "name", "data", "said"),
    [("directory", *one) for one in HOSTILE] + [(how, *HOSTILE[0]) for how in ("file", "as stored", "apr")],
    ids=range(len(HOSTILE) + 3),
)
def test_files_that_say_something_else_are_a_note(how: str, name: str, data: bytes, said: str, tmp_path: Path) -> None:
    source = replaced(made(tmp_path), {name: data}, anew=True)
    if how == "apr":
        rosetta_ref.convert(source, tmp_path / "m.apr")
        source = tmp_path / "m.apr"
    target = tmp_path / "V" / ("m.safetensors" if how == "file" else "hf")
    target.parent.mkdir()
    notes = back(source, target, keep_names=how == "as stored")
    assert "do not say what the model says" in notes
    assert said in notes
    assert data not in snapshot(target.parent).values()
    if how != "as stored":
        back(target, tmp_path / "again.gguf")
        with gguf.read(tmp_path / "m.gguf") as a, gguf.read(tmp_path / "again.gguf") as b:
            for key, value in a.metadata.items():
                assert key.startswith("rosetta.") or b.metadata[key] == value, key


def test_a_companion_that_changes_nothing_else_is_no_other_tokenizer(tmp_path: Path) -> None:
    """A model that remembers tokenizer.model: what is made anew of its metadata is none to compare with."""
    rosetta_ref.convert(SPM / "hf", tmp_path / "a.gguf", type="q8_0")
    rosetta_ref.convert(tmp_path / "a.gguf", tmp_path / "hf")
    (tmp_path / "hf" / "processor_config.json").write_text("{}")
    assert "nothing that matters" in back(tmp_path / "hf", tmp_path / "b.gguf")
    edit_json(tmp_path / "hf" / "config.json", lambda config: config.update(rms_norm_eps=0.5))
    said = back(tmp_path / "hf", tmp_path / "c.gguf")
    assert "taken from the files: llama.attention.layer_norm_rms_epsilon" in said
    assert "scores" not in said
    assert "do not say" not in back(tmp_path / "c.gguf", tmp_path / "hf2")
    assert json.loads((tmp_path / "hf2" / "config.json").read_bytes())["rms_norm_eps"] == 0.5


# --- what is remembered can be recalled


@pytest.mark.parametrize("size", [3 << 20])
def test_blanks_come_back(size: int, tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    for name in ("special_tokens_map.json", "processor_config.json"):
        (source / name).write_bytes(b"{" + b" " * size + b"}")
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    assert digests(tmp_path / "hf") == digests(source)


def test_too_many_companions_are_refused_at_once(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    (source / "additional_chat_templates").mkdir()
    for i in range(300):
        (source / "additional_chat_templates" / f"t{i}.jinja").write_text("x")
    with pytest.raises(limits.LimitExceededError, match="companions") as caught:
        rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert caught.value.file is not None
    assert not (tmp_path / "m.gguf").exists()


def test_names_that_differ_in_case_are_refused_at_once(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    (source / "additional_chat_templates").mkdir()
    for name in ("Tool", "tool"):
        (source / "additional_chat_templates" / f"{name}.jinja").write_text(name)
    if len(list((source / "additional_chat_templates").iterdir())) == 1:
        pytest.skip("a file system for which they are one")
    with pytest.raises(RosettaError, match=r"tool\.jinja"):
        rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_a_record_with_another_kind_of_digest_is_refused(tmp_path: Path) -> None:
    source = remembering(tmp_path / "m.gguf", memory(companions(), files_sha256=7))
    with gguf.read(source) as model, pytest.raises(RosettaError, match="files_sha256"):
        recall(model, [])
    shutil.rmtree(tmp_path / "hf", ignore_errors=True)
    with pytest.raises(RosettaError, match="files_sha256"):
        rosetta_ref.convert(source, tmp_path / "hf")
