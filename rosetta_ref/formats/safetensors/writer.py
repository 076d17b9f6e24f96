"""An archive to one file, or to shards with an index.

The order of the archive is the order of the header and of the data, and the header is written as the library writes it,
so a file of the library that is read and written again is the same file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats.gathered import gathered
from rosetta_ref.formats.output import Progress, write_file
from rosetta_ref.formats.safetensors.errors import (
    HeaderTooLargeError,
    LayoutError,
    MetadataError,
    TensorSizeError,
    UnwritableNameError,
    UnwritableTypeError,
)
from rosetta_ref.formats.safetensors.table import DTYPES, HEADER_ALIGNMENT, MAX_HEADER, METADATA_KEY

INDEX_NAME = "model.safetensors.index.json"
_NUMBERED = re.compile(r"(.+)-[0-9]{5}-of-[0-9]{5}\.safetensors", re.DOTALL)


@dataclass(frozen=True)
class Shard:
    """One file of a set: its name, the names of its tensors in order, and its `__metadata__`."""

    file_name: str
    names: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def write(archive: Archive, path: str | Path, *, progress: Progress | None = None) -> None:
    """Write one file. Raises a SafetensorsError for what the format cannot hold, or WriteError."""
    _write(archive.tensors.values(), archive.metadata, Path(path), progress)


def write_sharded(
    archive: Archive,
    directory: str | Path,
    layout: Sequence[Shard],
    *,
    index_metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the files of a layout into a directory, with an index where there are several or its metadata is given.

    Returns the files written, in order, the index last. On an error the files written so far are removed.
    """
    directory = Path(directory)
    _check_layout(archive, layout)
    done: list[Path] = []
    try:
        for shard in layout:
            path = directory / shard.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write([archive.tensors[name] for name in shard.names], shard.metadata, path, progress)
            done.append(path)
        if len(layout) > 1 or index_metadata is not None:
            index = directory / index_name(shard.file_name for shard in layout)
            write_file(index, [index_json(archive, layout, index_metadata)])
            done.append(index)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise
    return done


def index_name(file_names: Iterable[str]) -> str:
    """The name of the index of a set of files: after their common stem, or `model.safetensors.index.json`.

    >>> index_name(["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"]), index_name(["a.safetensors"])
    ('a.safetensors.index.json', 'model.safetensors.index.json')
    """
    numbered = [_NUMBERED.fullmatch(name) for name in file_names]
    stems = {match[1] if match is not None else None for match in numbered}
    stem = stems.pop() if len(stems) == 1 else None
    return INDEX_NAME if stem is None else f"{stem}.safetensors.index.json"


def plan_shards(archive: Archive, max_shard_size: int) -> list[Shard]:
    """Cut an archive into files of at most that many bytes of tensors, in order; a larger tensor is alone."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, tensor in archive.tensors.items():
        if groups[-1] and size + tensor.nbytes > max_shard_size:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += tensor.nbytes
    if len(groups) == 1:
        return [Shard("model.safetensors", tuple(groups[0]), archive.metadata)]
    names = (f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1))
    return [Shard(file, tuple(group), archive.metadata) for file, group in zip(names, groups, strict=True)]


def index_json(archive: Archive, layout: Sequence[Shard], metadata: Mapping[str, Any] | None = None) -> bytes:
    """The index of a layout, formatted as transformers formats it."""
    total = {"total_size": sum(tensor.nbytes for tensor in archive.tensors.values())}
    weight_map = {name: shard.file_name for shard in layout for name in shard.names}
    index = {"metadata": total if metadata is None else dict(metadata), "weight_map": dict(sorted(weight_map.items()))}
    return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()


def _check_layout(archive: Archive, layout: Sequence[Shard]) -> None:
    named = Counter(name for shard in layout for name in shard.names)
    for name in {**archive.tensors, **named}:
        if name not in archive.tensors:
            raise LayoutError("not in the archive", tensor=name)
        if named[name] != 1:
            raise LayoutError(f"named {named[name]} times", tensor=name)
    if len({shard.file_name for shard in layout}) != len(layout):
        raise LayoutError("a file is named twice")


def _write(tensors: Iterable[Tensor], metadata: Mapping[str, Any], path: Path, progress: Progress | None) -> None:
    tensors = list(tensors)
    header = header_of(tensors, metadata, path)
    write_file(path, gathered([len(header).to_bytes(8, "little") + header, *tensors]), progress=progress)


def header_of(tensors: list[Tensor], metadata: Mapping[str, Any], path: Path) -> bytes:
    """The header, padded."""
    content: dict[str, Any] = {METADATA_KEY: _checked_metadata(metadata, path)} if metadata else {}
    offset = 0
    for tensor in tensors:
        _check(tensor, path)
        stop = offset + tensor.nbytes
        content[tensor.name] = {"dtype": tensor.type.name, "shape": list(tensor.shape), "data_offsets": [offset, stop]}
        offset = stop
    header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % HEADER_ALIGNMENT)
    if len(header) > MAX_HEADER:
        raise HeaderTooLargeError(f"{len(tensors)} tensors need {len(header):,} bytes", file=path)
    return header


def _checked_metadata(metadata: Mapping[str, Any], path: Path) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(value, str) or not _is_text(key) or not _is_text(value):
            raise MetadataError(f"__metadata__ key {key!r} is not text", file=path)
    return dict(metadata)


def _check(tensor: Tensor, path: Path) -> None:
    if tensor.type.name not in DTYPES:
        raise UnwritableTypeError(f"type {tensor.type.name} has no place in SafeTensors", file=path, tensor=tensor.name)
    if tensor.name == METADATA_KEY or not _is_text(tensor.name):
        raise UnwritableNameError("the name cannot be written", file=path, tensor=tensor.name)
    if (needed := DTYPES[tensor.type.name].nbytes(tensor.shape)) != tensor.nbytes:
        problem = f"{tensor.type.name} {list(tensor.shape)} needs {needed} bytes, has {tensor.nbytes}"
        raise TensorSizeError(problem, file=path, tensor=tensor.name)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
