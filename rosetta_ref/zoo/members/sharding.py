"""Shards: models in several files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures.complete import require_complete
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
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

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def _all_of_it(archive: Archive, file: str, index: Index) -> dict[str, Tensor]:
    """Every tensor of the file, whether or not the index takes it from there: the last file wins."""
    return dict(archive.tensors)


def _first_of_all(archive: Archive, file: str, index: Index) -> dict[str, Tensor]:
    """The tensors that no file before this one holds, whichever the index takes them from: the first copy wins."""
    before: set[str] = set()
    for earlier in index.files[: index.files.index(file)]:
        with safetensors.read(index.path.parent / earlier) as held:
            before |= held.tensors.keys()
    return {name: tensor for name, tensor in archive.tensors.items() if name not in before}


_read_index = seams.SAFETENSORS_READ_INDEX.right


def _held(path: Path, pattern: str) -> Index:
    """An index of what the files of the folder hold; of two tensors the one of the last file."""
    held: dict[str, str] = {}
    for file in sorted(path.parent.glob(pattern)):
        with safetensors.read(file) as archive:
            held |= dict.fromkeys(archive.tensors, file.name)
    return Index(path, {}, held)


def _by_pattern(path: str | Path) -> Index:
    """The index; where it cannot be read, all files that are named like shards."""
    try:
        index: Index = _read_index(path)
    except RosettaError:
        index = _held(Path(path), "model-*-of-*.safetensors")
    return index


def _all_that_is_there(path: str | Path) -> Index:
    """All files of the folder, whatever the index says."""
    return replace(_held(Path(path), "*.safetensors"), metadata=_read_index(path).metadata)


def _without_missing(path: str | Path) -> Index:
    """The index without the tensors of the files that are not there."""
    index: Index = _read_index(path)
    there = {name: file for name, file in index.weight_map.items() if (index.path.parent / file).is_file()}
    return replace(index, weight_map=there)


def _complete_unless_sharded(tensors: Mapping[str, Tensor], *rest: Any) -> None:
    if not any(one.file is not None and _SHARD.fullmatch(one.file.name) for one in tensors.values()):
        require_complete(tensors, *rest)


def _complete_unless_split(tensors: Mapping[str, Tensor], *rest: Any) -> None:
    if not any(one.file is not None and split.PART_NAME.fullmatch(one.file.name) for one in tensors.values()):
        require_complete(tensors, *rest)


def _first_part(path: Path, files: list[OneFile]) -> Archive:
    metadata = {key: value for key, value in files[0].metadata.items() if key not in layout.SPLIT_KINDS}
    return Archive("gguf", metadata, files[0].tensors, path, tuple(file.part for file in files))


def _two_shards(stale: int | None = None, *, beside: bool = False, missing: bool = False, index: bool = True) -> Make:
    """Two shards and an index; the shard of the number `stale` holds another copy of the other one's tensor.

    beside: that copy is in a single file, which the index does not name. missing: the second shard is not there. Without `index`
    it says nothing.
    """

    def make(folder: Path) -> Path:
        first, second = (replace(floats("F32", n, n + 1), name=f"{n}.weight") for n in (1, 2))
        copies: list[list[Tensor]] = [[], []]
        if stale is not None:
            copies[stale].append(replace(floats("F32", 8, 9), name=f"{2 - stale}.weight"))
        path = folder / "source"
        path.mkdir(parents=True)
        both = Archive("safetensors", {}, {one.name: one for one in (first, second)})
        plan = [
            Shard("model-00001-of-00002.safetensors", (first.name,)),
            Shard("model-00002-of-00002.safetensors", (second.name,)),
        ]
        for shard, held in zip(plan, ([first, *copies[0]], [second, *copies[1]]), strict=True):
            safetensors.write(Archive("safetensors", {}, {one.name: one for one in held}), path / shard.file_name)
        if beside:
            one = replace(floats("F32", 8, 9), name="1.weight")
            safetensors.write(Archive("safetensors", {}, {one.name: one}), path / "model.safetensors")
        if missing:
            (path / plan[1].file_name).unlink()
        (path / INDEX_NAME).write_bytes(index_json(both, plan) if index else b'{"metadata": {}}')
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
        _two_shards(stale=1),
        _two_shards(),
        "https://github.com/vllm-project/vllm/issues/54230",
    ),
    Member(
        "first-copy-wins", "shards", "ours",
        "of a tensor that stands in two shards the first one is taken, not the one the index assigns",
        "two shards, the first one holding a stale copy", "tensors that stand in one file each, or in the first one rightly",
        ("S-G", "S-A"), ("safetensors",),
        replacing(seams.SAFETENSORS_ASSIGNED.by(_first_of_all)),
        _two_shards(stale=0),
        _two_shards(),
    ),
    Member(
        "shards-by-pattern", "shards", "ours",
        "where the index cannot be read, all files that are named like shards are taken",
        "an index that cannot be read", "whole directories",
        ("S-G", "S-A"), ("safetensors",),
        replacing(seams.SAFETENSORS_READ_INDEX.by(_by_pattern)),
        _two_shards(index=False),
        _two_shards(),
    ),
    Member(
        "every-file-of-the-folder", "shards", "ours",
        "all .safetensors files of the folder are read, and of two tensors the last one is taken",
        "a model.safetensors of another state beside an index and its files", "folders with the files of the index alone",
        ("S-G", "S-A"), ("safetensors",),
        replacing(seams.SAFETENSORS_READ_INDEX.by(_all_that_is_there)),
        _two_shards(beside=True),
        _two_shards(),
    ),
    Member(
        "missing-shard-left-out", "shards", "ours",
        "of a shard that is not there the tensors are left out",
        "an index that names a shard that is missing", "whole directories",
        ("S-G", "S-A"), ("safetensors",),
        replacing(
            seams.SAFETENSORS_READ_INDEX.by(_without_missing), seams.COMPLETE_MODEL.by(_complete_unless_sharded),
            seams.COMPLETE_DIRECTORY.by(_complete_unless_sharded),
        ),
        _two_shards(missing=True),
        _two_shards(),
        alike={"every-file-of-the-folder": "who reads what is there does not miss what the index names"},
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
