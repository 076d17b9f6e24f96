"""Shards: models in several files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures.complete import require_complete
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.formats.apr.tables import HEADER, REFUSED
from rosetta_ref.formats.gguf import layout, split
from rosetta_ref.formats.gguf.reader import OneFile
from rosetta_ref.formats.safetensors.shards import Index
from rosetta_ref.formats.safetensors.writer import INDEX_NAME, Shard, index_json
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import floats, in_apr, in_gguf
from rosetta_ref.zoo.member import Make, Member
from rosetta_ref.zoo.seams import replacing


def _all_of_it(archive: Archive, file: str, index: Index) -> dict[str, Tensor]:
    """Every tensor of the file, whether or not the index takes it from there: the last file wins."""
    return dict(archive.tensors)


def _complete_unless_split(tensors: Mapping[str, Tensor], *rest: Any) -> None:
    if not any(one.file is not None and split.PART_NAME.fullmatch(one.file.name) for one in tensors.values()):
        require_complete(tensors, *rest)


def _first_part(path: Path, files: list[OneFile]) -> Archive:
    metadata = {key: value for key, value in files[0].metadata.items() if key not in layout.SPLIT_KINDS}
    return Archive("gguf", metadata, files[0].tensors, path, tuple(file.part for file in files))


def _two_shards(stale: bool) -> Make:
    """Two shards and an index; with `stale` the second holds another copy of the first one's tensor."""

    def make(folder: Path) -> Path:
        first, second = (replace(floats("F32", n, n + 1), name=f"{n}.weight") for n in (1, 2))
        copy = [replace(floats("F32", 8, 9), name="1.weight")] if stale else []
        path = folder / "source"
        path.mkdir(parents=True)
        both = Archive("safetensors", {}, {one.name: one for one in (first, second)})
        plan = [
            Shard("model-00001-of-00002.safetensors", (first.name,)),
            Shard("model-00002-of-00002.safetensors", (second.name,)),
        ]
        for shard, held in zip(plan, ([first], [second, *copy]), strict=True):
            safetensors.write(Archive("safetensors", {}, {one.name: one for one in held}), path / shard.file_name)
        (path / INDEX_NAME).write_bytes(index_json(both, plan))
        return path

    return make


def _two_parts(folder: Path) -> Path:
    """A set of two GGUF files. The writer writes no sets, so it writes a key of another name and the same length."""
    paths = [folder / split.part_name("source", number, 2) for number in (1, 2)]
    for number, path in enumerate(paths):
        metadata = {
            "general.architecture": Value.scalar(Kind.STRING, "none"),
            "split.no": Value.scalar(Kind.U16, np.uint16(number)),
            "split.xxxxx": Value.scalar(Kind.U16, np.uint16(2)),
            "split.tensors.count": Value.scalar(Kind.I32, np.int32(2)),
        }
        name = f"{number}.weight"
        gguf.write(Archive("gguf", metadata, {name: replace(floats("F32", 1, 2), name=name)}), path)
        path.write_bytes(path.read_bytes().replace(b"split.xxxxx", layout.SPLIT_COUNT.encode()))
    return paths[0]


def _one_shard_of_several(folder: Path) -> Path:
    """An APR file with the flag of a shard."""
    path = in_apr(floats("F32", 1, 2))(folder)
    data = bytearray(path.read_bytes())
    data[6] |= 0x10
    data[40:44] = zlib.crc32(data[44 : HEADER.size], zlib.crc32(data[:40])).to_bytes(4, "little")
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    path.write_bytes(data)
    return path


MEMBERS = (
    Member(
        "stale-shard-wins", "shards", "vllm #54230",
        "every tensor of every listed file is loaded, not the one the index assigns",
        "two shards, one holding a stale copy", "one file",
        ("S-G", "S-A"), ("safetensors",),
        replacing(seams.SAFETENSORS_ASSIGNED.by(_all_of_it)),
        _two_shards(stale=True),
        _two_shards(stale=False),
        "https://github.com/vllm-project/vllm/issues/54230",
    ),
    Member(
        "first-part-only", "shards", "ours",
        "of a GGUF file in parts the first one is taken for all",
        "two parts", "one file",
        ("G-S", "G-A"), ("gguf",),
        replacing(
            seams.GGUF_MERGED.by(_first_part), seams.COMPLETE_MODEL.by(_complete_unless_split),
            seams.COMPLETE_DIRECTORY.by(_complete_unless_split),
        ),
        _two_parts,
        in_gguf(floats("F32", 1, 2)),
    ),
    Member(
        "shard-taken-for-whole", "shards", "ours",
        "the flag that says that an APR file is one shard of several is not looked at",
        "a file with that flag", "files without it",
        ("A-S", "A-G"), ("apr",),
        replacing(seams.APR_REFUSED.by({bit: why for bit, why in REFUSED.items() if bit != 0x10})),
        _one_shard_of_several,
        in_apr(floats("F32", 1, 2)),
    ),
)  # fmt: skip
