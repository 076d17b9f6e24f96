"""Directories: which files are the model, and what an index says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rosetta_ref import limits
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.beside import require_inside
from rosetta_ref.foreign import naming, require_shallow
from rosetta_ref.foreign import read_file as read_bytes
from rosetta_ref.formats.safetensors.errors import (
    AmbiguousWeightsError,
    DuplicateIndexEntryError,
    DuplicateTensorError,
    IndexJsonError,
    MissingShardError,
    MissingTensorError,
    NoWeightsError,
    ShardPathError,
    UnlistedTensorError,
)
from rosetta_ref.formats.safetensors.reader import read_file

_INDEX_SUFFIX = ".safetensors.index.json"
_SINGLE = "model.safetensors"
_NUMBERED = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")


#: Half of a surrogate pair, which JSON can spell, and no name of a file has.
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Index:
    """An index: its own metadata, as JSON, and the file of every tensor."""

    path: Path
    metadata: Any
    weight_map: dict[str, str]

    @property
    def files(self) -> list[str]:
        """The names of the files, in order."""
        return sorted(set(self.weight_map.values()))


@naming
def read(path: str | Path) -> Archive:
    """Read a file, a model directory, or an index with the files that it names.

    Tensors are ordered by file, then by where they lie in it. Raises a SafetensorsError that names the rule.
    """
    path = Path(path)
    if path.is_dir():
        found = _weights_of(path)
        if isinstance(found, Archive):
            return found
        require_inside(found, path)
        return read(found)
    if path.name.endswith(".index.json"):
        return _read_indexed(read_index(path))
    archive = read_file(path)
    if (numbered := _NUMBERED.match(path.name)) and int(numbered["count"]) > 1:
        archive.notes.append(f"{path.name} is one of {int(numbered['count'])} files of a model")
    return archive


@naming
def read_index(path: str | Path) -> Index:
    """Read an index and check its form, not the files that it names."""
    path = Path(path)
    content = _index_json(read_bytes(path), path)
    fields = dict(content) if isinstance(content, _Object) else {}
    weight_map = fields.get("weight_map")
    if not isinstance(weight_map, _Object):
        raise IndexJsonError("there is no weight_map", file=path)
    if sum(key == "weight_map" for key, _ in content) > 1:
        raise IndexJsonError("a second weight_map", file=path)
    files: dict[str, str] = {}
    for name, file in weight_map:
        if name in files:
            raise DuplicateIndexEntryError(f"named twice, in {files[name]} and {file}", file=path, tensor=name)
        files[name] = _checked_file(file, name, path)
    return Index(path, plain_json(fields.get("metadata")), files)


def _index_json(data: bytes, path: Path) -> Any:
    limits.require("header-items", data.count(b",") + data.count(b"["), "the index", file=path)
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=list_pairs)
    except (ValueError, RecursionError) as error:
        raise IndexJsonError(str(error), file=path, offset=getattr(error, "pos", None)) from error
    require_shallow(content, "the index", path, _inside)
    return content


def _inside(value: Any) -> Iterable[Any]:
    return (item for _, item in value) if isinstance(value, _Object) else value if isinstance(value, list) else ()


class _Object(list[tuple[str, Any]]):
    """A JSON object with its keys in order, repeated ones included."""


def list_pairs(pairs: list[tuple[str, Any]]) -> _Object:
    """Keep the pairs of a JSON object."""
    return _Object(pairs)


def plain_json(value: Any) -> Any:
    """Objects that were kept as pairs as dictionaries."""
    if isinstance(value, _Object):
        return {key: plain_json(item) for key, item in value}
    return [plain_json(item) for item in value] if isinstance(value, list) else value


def _checked_file(file: Any, tensor: str, path: Path) -> str:
    if not isinstance(file, str):
        raise IndexJsonError("the file is not named by a string", file=path, tensor=tensor)
    pure = PurePosixPath(file)
    if _HALF.search(file) or not file or "\\" in file or "\0" in file or pure.is_absolute() or ".." in pure.parts:
        raise ShardPathError(f"the index names {file!r}", file=path, tensor=tensor)
    return file


def _read_indexed(index: Index) -> Archive:
    directory = index.path.parent
    limits.require("parts", len(index.files), "the files that it names", file=index.path)
    for file in index.files:
        if not (directory / file).is_file():
            missing = next(name for name, of in index.weight_map.items() if of == file)
            raise MissingShardError(f"{file} is missing", file=index.path, tensor=missing)
    with _Opened() as opened:
        archives = opened.open([directory / file for file in index.files], directory)
        tensors: dict[str, Tensor] = {}
        for file, archive in zip(index.files, archives, strict=True):
            tensors |= assigned(archive, file, index)
        for name, file in index.weight_map.items():
            if name not in tensors:
                raise MissingTensorError(f"not in {file}", file=index.path, tensor=name)
        return opened.joined(tensors, index.path, archives)


def assigned(archive: Archive, file: str, index: Index) -> dict[str, Tensor]:
    """The tensors of a file that the index takes from it; copies that belong to another file are noted and left."""
    for name, tensor in archive.tensors.items():
        if name not in index.weight_map:
            raise UnlistedTensorError(f"not in {index.path.name}", file=archive.path, tensor=name, offset=tensor.offset)
        if index.weight_map[name] != file:
            archive.notes.append(
                f"{file} has a copy of {name!r}, which {index.path.name} takes from {index.weight_map[name]}"
            )
    return {name: tensor for name, tensor in archive.tensors.items() if index.weight_map[name] == file}


class _Opened:
    """Several files, all closed again when the set turns out to be wrong."""

    def __init__(self) -> None:
        self.archives: list[Archive] = []

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for archive in self.archives if kind is not None else []:
            archive.close()

    def open(self, paths: list[Path], directory: Path) -> list[Archive]:
        for path in paths:
            require_inside(path, directory)
            self.archives.append(read_file(path))
        return self.archives

    def joined(self, tensors: dict[str, Tensor], path: Path, archives: list[Archive]) -> Archive:
        parts = tuple(
            replace(part, names=tuple(n for n in part.names if tensors[n].file == part.map.path))
            for archive in archives
            for part in archive.parts
        )
        metadata = next((dict(part.metadata) for part in parts if part.metadata), {})
        return Archive("safetensors", metadata, tensors, path, parts, [note for a in archives for note in a.notes])


def chosen(names: Iterable[str], named_by: Callable[[str], Iterable[str]], directory: Path) -> list[str]:
    """Which of the names in a directory its model is in: an index, a file, or a whole numbered set.

    `named_by` says which files an index names. Raises AmbiguousWeightsError, NoWeightsError, MissingShardError.
    """
    names = sorted(names)
    indexes = [name for name in names if name.endswith(_INDEX_SUFFIX)]
    files = [name for name in names if name.endswith(".safetensors") and not name.startswith(".")]
    if len(indexes) > 1:
        indexes = [index for index in indexes if index == "model" + _INDEX_SUFFIX] or indexes
    if len(indexes) > 1:
        raise AmbiguousWeightsError(f"{len(indexes)} indexes", file=directory, hint="Name the index to be read.")
    if indexes:
        if _SINGLE in files and _SINGLE not in named_by(indexes[0]):
            hint = "Name the file or the index to be read."
            raise AmbiguousWeightsError(f"both {_SINGLE} and {indexes[0]}", file=directory, hint=hint)
        return indexes
    if _SINGLE in files and not any(map(_NUMBERED.match, files)):
        return [_SINGLE]
    if len(files) > 1 or (files and _NUMBERED.match(files[0])):
        _require_set(files, directory)
    if not files:
        raise NoWeightsError("no .safetensors file", file=directory)
    return files


def _require_set(files: list[str], directory: Path) -> None:
    """Raise where files without an index are not one numbered set, and all of it."""
    numbered = [match for file in files if (match := _NUMBERED.match(file))]
    if len({(match["stem"], match["count"]) for match in numbered}) != 1 or len(numbered) != len(files):
        raise AmbiguousWeightsError(
            f"{len(files)} .safetensors files", file=directory, hint="Name the file to be read."
        )
    limits.require("parts", len(files), "a set of files", file=directory)
    stem, count = numbered[0]["stem"], int(numbered[0]["count"])
    have = {int(match["number"]) for match in numbered}
    if len(have) != count or have != set(range(1, count + 1)):
        number = next((n for n in range(1, len(have) + 2) if n not in have), 0)
        raise MissingShardError(
            f"{stem}-{number:05}-of-{count:05}.safetensors is missing or unexpected", file=directory
        )


def _weights_of(directory: Path) -> Path | Archive:
    """The index or the file that a directory's model is in, or the numbered set read whole."""

    def named_by(index: str) -> list[str]:
        require_inside(directory / index, directory)
        return read_index(directory / index).files

    there = [path.name for end in (_INDEX_SUFFIX, ".safetensors") for path in directory.glob("*" + end)]
    found = chosen(there, named_by, directory)
    if len(found) == 1 and not _NUMBERED.match(found[0]):
        return directory / found[0]
    return _numbered_set(directory, [directory / name for name in found])


def _numbered_set(directory: Path, files: list[Path]) -> Archive:
    """The files of a set without an index."""
    with _Opened() as opened:
        tensors: dict[str, Tensor] = {}
        for archive in opened.open(files, directory):
            for name, tensor in archive.tensors.items():
                if name in tensors:
                    first = tensors[name].file
                    problem = f"also in {first.name if first else None}"
                    raise DuplicateTensorError(problem, file=archive.path, tensor=name, offset=tensor.offset)
                tensors[name] = tensor
        return opened.joined(tensors, directory, opened.archives)
