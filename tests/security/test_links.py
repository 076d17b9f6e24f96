"""A file beside the weights that is a link out of the model's folder is refused by name, Hugging Face's cache aside."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.beside import OutsideLinkError
from rosetta_ref.cli import main
from rosetta_ref.formats import gguf, safetensors
from tests.support.hostile import GOLDEN, SPM, directory, entry, text

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"
SHARDED = GOLDEN / "qwen2-tied-sharded"


def elsewhere(path: Path, at: Path) -> None:
    """Put a file somewhere else, and a link in its place."""
    at.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, at)
    path.symlink_to(at)


def refuses(source: Path, name: str) -> None:
    """Nothing is made of the model, and the message names the link."""
    for target in ("out.gguf", "out.apr"):
        with pytest.raises(OutsideLinkError) as caught:
            rosetta_ref.convert(source, source.parent / target)
        assert name in str(caught.value.file)
        assert not (source.parent / target).exists()


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer_config.json", "vocab.txt", "chat_template.jinja", "additional_chat_templates/x.jinja"],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_companion_carries_no_secret(name: str, absolute: bool, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    (tmp_path / "id_ed25519").write_bytes(SECRET)
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to(
        tmp_path / "id_ed25519" if absolute else os.path.relpath(tmp_path / "id_ed25519", (source / name).parent)
    )
    refuses(source, name)
    with pytest.raises(OutsideLinkError):
        rosetta_ref.convert(source / "model.safetensors", tmp_path / "out.gguf")
    with pytest.raises(OutsideLinkError):
        rosetta_ref.convert(source, tmp_path / "out.gguf", keep_names=True)
    assert main(["diff", str(source), str(source), "--quiet"]) == 1


def test_nor_by_way_of_a_folder_or_a_second_link(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x.jinja").write_bytes(SECRET)
    (source / "additional_chat_templates").symlink_to(tmp_path / "away")
    refuses(source, "additional_chat_templates/x.jinja")
    (source / "additional_chat_templates").unlink()
    (source / "inside").symlink_to(tmp_path / "away" / "x.jinja")
    (source / "vocab.txt").symlink_to("inside")
    refuses(source, "vocab.txt")


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "model.safetensors.index.json"])
def test_shards_and_the_index_are_in_the_folder(name: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", SHARDED)
    elsewhere(source / name, tmp_path / "away" / name)
    refuses(source, name)
    for reader in (["inspect"], ["validate"]):
        assert main([*reader, str(source)]) != 0


def test_shards_without_an_index_are_in_the_folder(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", SHARDED)
    (source / "model.safetensors.index.json").unlink()
    elsewhere(source / "model-00001-of-00003.safetensors", tmp_path / "away.safetensors")
    refuses(source, "model-00001-of-00003.safetensors")


def test_the_weights_of_a_directory_are_in_it(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    elsewhere(source / "model.safetensors", tmp_path / "away.safetensors")
    refuses(source, "model.safetensors")
    # The file that is named may be a link: whoever names it knows.
    rosetta_ref.convert(source / "model.safetensors", tmp_path / "out.gguf")


@pytest.mark.parametrize("name", ["rosetta", "rosetta/source.json", "rosetta/blocks.safetensors"])
def test_what_was_kept_is_in_the_folder(name: str, tmp_path: Path) -> None:
    source = tmp_path / "hf"
    rosetta_ref.convert(SPM / "q8_0.gguf", source)
    elsewhere(source / name, tmp_path / "away" / "x")
    refuses(source, name)


def part(path: Path, number: int, count: int) -> None:
    """A part of a split GGUF file, without tensors."""
    keys = {"general.architecture": "llama"}
    body = b"".join(entry(key, value) for key, value in keys.items())
    for key, kind, value in (("split.no", 2, number), ("split.count", 2, count), ("split.tensors.count", 5, 0)):
        body += text(key) + struct.pack("<I", kind) + struct.pack("<H" if kind == 2 else "<i", value)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 4) + body + bytes(-(24 + len(body)) % 32))


def test_parts_of_a_gguf_file_are_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(2):
        part(folder / f"m-{number + 1:05}-of-00002.gguf", number, 2)
    gguf.read(folder / "m-00001-of-00002.gguf").close()
    elsewhere(folder / "m-00002-of-00002.gguf", tmp_path / "away.gguf")
    with pytest.raises(OutsideLinkError) as caught:
        gguf.read(folder / "m-00001-of-00002.gguf")
    assert "m-00002-of-00002.gguf" in str(caught.value.file)
    gguf.read(folder / "m-00002-of-00002.gguf").close()  # this one was named; the other is where it belongs


def cached(root: Path, *, blobs: str = "blobs", model: str = "models--org--name") -> Path:
    """Hugging Face's cache with the sharded model: each file of the snapshot a link to a blob."""
    snapshot, store = root / model / "snapshots" / "0123abcd", root / model / blobs
    snapshot.mkdir(parents=True)
    store.mkdir()
    for i, path in enumerate(sorted((SHARDED / "hf").iterdir())):
        shutil.copy(path, store / f"{i:040x}")
        (snapshot / path.name).symlink_to(Path("..", "..", blobs, f"{i:040x}"))
    return snapshot


def test_a_snapshot_of_the_cache_is_a_model(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    rosetta_ref.convert(snapshot, tmp_path / "a.gguf")
    rosetta_ref.convert(snapshot / "model.safetensors.index.json", tmp_path / "b.gguf")
    (tmp_path / "link").symlink_to(snapshot)
    rosetta_ref.convert(tmp_path / "link", tmp_path / "c.gguf")
    rosetta_ref.convert(tmp_path / "a.gguf", tmp_path / "hf")
    with safetensors.read(tmp_path / "hf") as back, safetensors.read(SHARDED / "hf") as right:
        assert back.tensors.keys() == right.tensors.keys()


@pytest.mark.parametrize(
    "how", ["another model", "another folder", "deeper", "blobs elsewhere", "blob elsewhere", "no model"]
)
def test_but_only_blobs_of_the_same_model(how: str, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, model="name" if how == "no model" else "models--org--name")
    blobs, link = snapshot.parents[1] / "blobs", snapshot / "generation_config.json"
    away = tmp_path / "away"
    away.mkdir()
    (away / "x").write_bytes(b"{}")
    places = {
        "another model": tmp_path / "models--a--b" / "blobs" / "x", "another folder": snapshot.parents[1] / "refs" / "x",
        "deeper": blobs / "deeper" / "x",
    }  # fmt: skip
    if how in places:
        places[how].parent.mkdir(parents=True)
        places[how].write_bytes(b"{}")
        link.unlink()
        link.symlink_to(places[how])
    elif how == "blobs elsewhere":
        blobs.rename(away / "blobs")
        blobs.symlink_to(away / "blobs")
    elif how == "blob elsewhere":
        link.unlink()
        (blobs / "x").symlink_to(away / "x")
        link.symlink_to(blobs / "x")
    with pytest.raises(OutsideLinkError):
        rosetta_ref.convert(snapshot, tmp_path / "a.gguf")


def test_links_within_the_folder_are_files(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    (source / "store").mkdir()
    for name in ("config.json", "tokenizer.model", "model.safetensors"):
        elsewhere(source / name, source / "store" / name)
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "back")
    assert (tmp_path / "back" / "config.json").read_bytes() == (SPM / "hf" / "config.json").read_bytes()


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    path = source / "generation_config.json"
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path), lambda: path.symlink_to("gone")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make()
        with pytest.raises(RosettaError) as caught:
            rosetta_ref.convert(source, tmp_path / "m.gguf")
        assert caught.value.file == path
