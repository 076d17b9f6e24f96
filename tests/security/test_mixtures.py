"""What stands in the folder of a target is never read together with the new model, nor replaced for being called like a part of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref.convert import staging
from rosetta_ref.convert.extras import strip
from rosetta_ref.convert.publish import disk, place
from rosetta_ref.convert.publish.mixture import MixedModelError
from rosetta_ref.convert.publish.rules import TargetKindError
from rosetta_ref.convert.source import read_source
from rosetta_ref.formats.unfinished import JOURNAL, HalfPublishedError, JournalError, require_published
from tests.support.hostile import GOLDEN, SPM, companions, digests, memory, remembering
from tests.support.kill_points import DEMO

SHARDED = GOLDEN / "qwen2-tied-sharded" / "hf"
YARN = GOLDEN / "llama-yarn"
Change = Callable[[], Any]


@pytest.fixture(params=["exchange", "here", "no exchange"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a directory is replaced: at once, or one by one for being the current one, or for want of a system call."""
    if request.param == "no exchange":
        monkeypatch.setattr(disk, "exchange", lambda *_: False)
    elif request.param == "here":
        monkeypatch.setattr(place, "_is_here", lambda _: True)
    return str(request.param)


def renamed(target: Path, *, numbered: bool = True) -> Path:
    """A model whose shards and index are called otherwise than loaders look for."""
    shutil.copytree(SHARDED, target)
    index = json.loads((target / "model.safetensors.index.json").read_text())
    names = sorted(set(index["weight_map"].values()))
    new = {name: name.replace("model", "w") if numbered else f"part{i}.safetensors" for i, name in enumerate(names)}
    index["weight_map"] = {tensor: new[name] for tensor, name in index["weight_map"].items()}
    for name in names:
        (target / name).rename(target / new[name])
    (target / "model.safetensors.index.json").unlink()
    (target / "w.safetensors.index.json").write_text(json.dumps(index))
    return target


def says(source: Path) -> dict[str, Any]:
    """What a model says of itself, but for its name."""
    with read_source(source, "gguf" if source.suffix == ".gguf" else "safetensors") as found:
        return {key: value for key, value in strip(found.model.metadata).items() if key != "general.name"}


@pytest.mark.parametrize("numbered", [True, False])
def test_old_weights_of_other_names_are_gone(tmp_path: Path, way: str, numbered: bool) -> None:
    target = renamed(tmp_path / "hf", numbered=numbered)
    (target / "other.safetensors").write_bytes(b"mine")
    rosetta_ref.convert(SPM / "auto.gguf", target, force=True)
    assert says(target) == says(SPM / "auto.gguf")
    left = [name for name in os.listdir(target) if name.endswith((".safetensors", ".index.json"))]
    assert sorted(left) == ["model.safetensors", "other.safetensors"]
    assert (target / "other.safetensors").read_bytes() == b"mine"


def called(path: Path, name: str) -> Path:
    """A model that remembers one file of that name."""
    record = json.loads(memory({})["rosetta.safetensors"])
    record["shards"][0]["file"] = name
    return remembering(path, memory(companions(), shards=record["shards"]))


def test_one_odd_name_after_another(tmp_path: Path, way: str) -> None:
    first, second = called(tmp_path / "a.gguf", "zzz.safetensors"), called(tmp_path / "b.gguf", "yyy.safetensors")
    rosetta_ref.convert(first, tmp_path / "hf")
    assert (tmp_path / "hf" / "zzz.safetensors").exists()
    for source, name in ((first, "zzz"), (second, "yyy"), (YARN / "auto.gguf", "model"), (first, "zzz")):
        rosetta_ref.convert(source, tmp_path / "hf", force=True)
        assert [one.stem for one in (tmp_path / "hf").glob("*.safetensors")] == [name]


@pytest.mark.parametrize("stranger", ["w.safetensors.index.json", ".a.safetensors.index.json"])
def test_an_index_that_cannot_be_followed_is_refused(tmp_path: Path, way: str, stranger: str) -> None:
    target = renamed(tmp_path / "hf")
    (target / "w.safetensors.index.json").write_text("{}")
    (target / "w.safetensors.index.json").rename(target / stranger)
    before = digests(target)
    with pytest.raises(MixedModelError, match=stranger.replace(".", r"\.")):
        rosetta_ref.convert(SPM / "auto.gguf", target, force=True)
    assert digests(target) == before
    assert not list(tmp_path.glob(".*.partial"))


def test_numbered_files_without_an_index_are_refused(tmp_path: Path, way: str) -> None:
    target = tmp_path / "hf"
    target.mkdir()
    (target / "v-00001-of-00002.safetensors").write_bytes(b"mine")
    with pytest.raises(MixedModelError, match="v-00001-of-00002"):
        rosetta_ref.convert(SPM / "auto.gguf", target, force=True)
    assert os.listdir(target) == ["v-00001-of-00002.safetensors"]


@pytest.mark.parametrize("config", [True, False])
def test_a_model_does_not_choose_which_files_are_replaced(tmp_path: Path, way: str, config: bool) -> None:
    source = called(tmp_path / "a.gguf", "adapter_model.safetensors")
    rosetta_ref.convert(source, tmp_path / "new")  # where nothing is replaced, it is called so
    target = tmp_path / "hf"
    target.mkdir()
    (target / "adapter_model.safetensors").write_bytes(b"mine")
    if config:
        shutil.copy(SPM / "hf" / "config.json", target)
    before = digests(target)
    with pytest.raises(MixedModelError, match="adapter_model"):
        rosetta_ref.convert(source, target, force=True)
    assert digests(target) == before


# --- companions beside a file


def test_companions_beside_a_file_that_are_nobody_s_are_refused(tmp_path: Path) -> None:
    shutil.copytree(YARN / "hf", tmp_path / "V")
    (tmp_path / "V" / "model.safetensors").rename(tmp_path / "V" / "m.safetensors")
    before = digests(tmp_path)
    with pytest.raises(MixedModelError, match=r"chat_template\.jinja"):
        rosetta_ref.convert(SPM / "auto.gguf", tmp_path / "V" / "m.safetensors", force=True)
    assert digests(tmp_path) == before


def test_companions_beside_a_file_that_are_its_own_go_with_it(tmp_path: Path) -> None:
    target = tmp_path / "V" / "m.safetensors"
    target.parent.mkdir()
    rosetta_ref.convert(YARN / "auto.gguf", target)
    assert (target.parent / "chat_template.jinja").exists()
    (target.parent / "notes.txt").write_text("mine")
    rosetta_ref.convert(SPM / "auto.gguf", target, force=True)
    assert not (target.parent / "chat_template.jinja").exists()
    assert (target.parent / "notes.txt").read_text() == "mine"
    rosetta_ref.convert(target, tmp_path / "n.gguf")
    assert says(tmp_path / "n.gguf") == says(SPM / "auto.gguf")


@pytest.mark.parametrize("index", [b'{"weight_map": {"a": "m.safetensors", "b": "n.safetensors"}}', b"not JSON"])
def test_a_file_is_no_part_of_another_model(index: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors.index.json").write_bytes(index)
    with pytest.raises(MixedModelError, match=r"w\.safetensors\.index\.json"):
        rosetta_ref.convert(DEMO, tmp_path / "m.safetensors", force=True)
    assert os.listdir(tmp_path) == ["w.safetensors.index.json"]


def test_an_index_of_other_files_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors.index.json").write_text('{"weight_map": {"a": "n.safetensors"}}')
    rosetta_ref.convert(DEMO, tmp_path / "m.safetensors")
    assert says(tmp_path / "m.safetensors") == says(DEMO)


def test_a_link_that_has_no_part_in_it_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "V").mkdir()
    (tmp_path / "V" / "rosetta").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetKindError):
        rosetta_ref.convert(DEMO, tmp_path / "V" / "m.safetensors")
    rosetta_ref.convert(DEMO, tmp_path / "V" / "m.safetensors", keep_blocks=False)
    assert os.listdir(tmp_path / "elsewhere") == []


# --- a folder that two targets are prepared in


def test_a_journal_is_that_of_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`foo` from within, and `foo/foo`, are both prepared in `foo/.foo.partial`."""
    outer, inner = tmp_path / "foo", tmp_path / "foo" / "foo"
    rosetta_ref.convert(DEMO, outer)
    shutil.copytree(outer, inner)
    before = digests(inner)
    monkeypatch.setattr(place, "_can_be_exchanged", lambda _: False)
    monkeypatch.setattr(place.steps, "carry_out", _raise)
    monkeypatch.setattr(staging, "_leave", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        rosetta_ref.convert(DEMO, outer, force=True)
    monkeypatch.undo()
    assert (outer / ".foo.partial" / JOURNAL).exists()
    with pytest.raises(JournalError, match="another directory"):
        rosetta_ref.convert(SPM / "auto.gguf", inner, force=True)
    assert digests(inner) == before
    require_published(inner)
    with pytest.raises(HalfPublishedError):
        require_published(outer)


def _raise(*_: object) -> None:
    raise KeyboardInterrupt
