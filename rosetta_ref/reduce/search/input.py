"""An input in parts that can be taken away: tensors, metadata, companion files, shards. Read from any format, written to the same.

Everything is kept as stored: names, types, order of rows. Tensors of the first input are spans of its mapped files, so a large
model costs no memory.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetta_ref import limits
from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.beside import NOTHING, kind_of, read_beside, require_inside
from rosetta_ref.convert.companions import present
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import NotAFileError, json_object, open_file
from rosetta_ref.formats import detect, gguf, safetensors
from rosetta_ref.formats.gguf.cursor import Cursor
from rosetta_ref.formats.gguf.layout import SPLIT_COUNT, SPLIT_KINDS, SPLIT_NUMBER, SPLIT_TENSORS
from rosetta_ref.formats.gguf.reader import read_header
from rosetta_ref.formats.gguf.split import part_name
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.inputs.big_endian import big_endian

#: What the reference leaves beside the weights, to get back what they have no place for.
_KEPT = "rosetta"
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class Given:
    """An input. `parts` are its files, each with its tensors; a name may stand in several, and `index` says which one counts.

    metadata: `Value` in GGUF, JSON in APR, strings in SafeTensors. companions: the files beside Hugging Face weights.
    directory: whether SafeTensors weights are given as a directory. big_endian: whether a GGUF file is.
    """

    format: str
    parts: tuple[Mapping[str, Tensor], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    companions: Mapping[str, bytes] = field(default_factory=dict)
    index: Mapping[str, int] = field(default_factory=dict)
    directory: bool = False
    big_endian: bool = False

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that count, by stored name."""
        if len(self.parts) == 1:
            return dict(self.parts[0])
        return {name: self.parts[place][name] for name, place in self.index.items()}

    @property
    def weight(self) -> tuple[int, int, int]:
        """What is to become small: files and tensors, bytes of their data and words, distinct bytes."""
        tensors = [tensor for part in self.parts for tensor in part.values()]
        words = sum(map(len, self.companions.values())) + len(repr(self.metadata))
        return len(self.parts) + len(tensors), sum(tensor.nbytes for tensor in tensors) + words, 0

    def only(self, names: Iterable[str]) -> Given:
        """With those tensors alone; a file of which nothing is left is gone, and copies that do not count stay beside theirs."""
        wanted = set(names)
        parts = [{name: tensor for name, tensor in part.items() if name in wanted} for part in self.parts]
        kept = [place for place, part in enumerate(parts) if part]
        places = {place: new for new, place in enumerate(kept)}
        index = {name: places[place] for name, place in self.index.items() if name in wanted and place in places}
        made = tuple(parts[place] for place in kept) or ({},)
        return replace(self, parts=made, index=index if len(made) > 1 else {})

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Given:
        """Each tensor as `change` makes it; one that gets another name stands under that."""
        parts = tuple({made.name: made for made in map(change, part.values())} for part in self.parts)
        renamed = {name: change(self.parts[place][name]).name for name, place in self.index.items()}
        return replace(self, parts=parts, index={renamed[name]: place for name, place in self.index.items()})

    def with_metadata(self, metadata: Mapping[str, Any]) -> Given:
        """With other metadata."""
        return replace(self, metadata=metadata)

    def with_companions(self, companions: Mapping[str, bytes]) -> Given:
        """With other files beside the weights."""
        return replace(self, companions=companions)

    def with_json(self, name: str, value: Mapping[str, Any]) -> Given:
        """With another JSON object in a file beside the weights."""
        text = (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
        return self.with_companions({**self.companions, name: text})

    def in_one(self) -> Given:
        """As one file."""
        return replace(self, parts=(self.tensors,), index={})


def json_of_companion(given: Given, name: str) -> dict[str, Any]:
    """A JSON object beside the weights; an empty one where there is none, or none that is safely read."""
    try:
        return json_object(given.companions.get(name, b"{}"), twice=True)
    except RosettaError:
        return {}


def read(path: Path) -> Given:
    """The input in a file or directory. Raises what its reader raises."""
    return _READERS.get(detect.sniff(path), _read_one)(path)


def _read_one(path: Path) -> Given:
    """What is always one file."""
    archive = detect.open_archive(path, lenient=True, as_row_major=True)
    return Given(archive.format, (dict(archive.tensors),), archive.metadata)


def _read_gguf(path: Path) -> Given:
    archive = gguf.read(path, lenient=True)
    parts = tuple({name: archive.tensors[name] for name in part.names} for part in archive.parts)
    index = {name: place for place, part in enumerate(parts) for name in part} if len(parts) > 1 else {}
    return Given("gguf", parts, archive.metadata, index=index, big_endian=_is_big_endian(path))


def copied(source: Path, folder: Path) -> Path:
    """A copy of all its files in a folder, under the same names; the path to give to a converter."""
    source = source.absolute()
    for file in files(source):
        place = folder / file.relative_to(source.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return folder / source.name


def _is_big_endian(path: Path) -> bool:
    with open_file(path) as file:
        return read_header(Cursor(memoryview(file.read(64)), path, lenient=True)).order == ">"


def files(path: Path) -> list[Path]:
    """All files of an input: shards, parts, and what stands beside SafeTensors weights.

    All but the one that is named lie in its folder, or among the blobs of Hugging Face's cache. Raises OutsideLinkError,
    NotAFileError, UnreadableTextError.
    """
    folder = path if path.is_dir() else path.parent
    return [_own(file, folder) if file != path else _regular(file) for file in _named(path)]


def _named(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted({*_weights(path), *_companions(path), *_kept(path / _KEPT)})
    if path.suffix == ".safetensors":
        return [path, *_companions(path.parent)]
    if path.name.endswith(".index.json"):
        held = [path.parent / name for name in safetensors.read_index(path).files]
        return [path, *held, *_companions(path.parent)]
    if (part := _PART.fullmatch(path.name)) is not None:
        found = sorted(path.parent.glob(f"{glob.escape(part[1])}-*-of-{part[2]}.gguf"))
        limits.require("input-files", len(found), "the parts", file=path)
        return found
    return [path]


def _own(file: Path, folder: Path) -> Path:
    """The file, if it lies in that folder, and is one."""
    _regular(require_inside(file, folder), file)
    return file


def _regular(path: Path, named: Path | None = None) -> Path:
    if not path.is_file():
        raise NotAFileError("it is no regular file", file=named or path)
    return path


def _kept(folder: Path) -> Iterator[Path]:
    """What the reference left there. A link in the place of the folder is for `_own` to refuse."""
    if folder.is_symlink():
        yield folder
        return
    for count, (top, folders, names) in enumerate(os.walk(folder)):
        limits.require("input-files", count, "folders below", file=folder)
        yield from (Path(top) / name for name in names)
        yield from (Path(top) / name for name in folders if (Path(top) / name).is_symlink())


def size_of(path: Path) -> int:
    """The bytes of all its files."""
    return sum(file.stat().st_size for file in files(path))


def _weights(folder: Path) -> set[Path]:
    """Weights of a directory, indices, and what these name, which may lie deeper."""
    indices = [*folder.glob("*.safetensors.index.json")]
    found = {*folder.glob("*.safetensors"), *indices}
    for index in indices:
        with suppress(RosettaError):  # a broken one names nothing
            named = [folder / name for name in safetensors.read_index(index).files]
            found |= {path for path in named if kind_of(path) is not NOTHING}
    limits.require("input-files", len(found), "files of weights", file=folder)
    return found


def _companions(folder: Path) -> list[Path]:
    return sorted(folder / name for name in present(folder))


def _read_safetensors(path: Path) -> Given:
    archive = safetensors.read(path)
    parts = list(dict.fromkeys(part.map.path for part in archive.parts))
    home = path if path.is_dir() else path.parent
    names = [file.relative_to(home).as_posix() for file in _companions(home)]
    companions = {name: read_beside(home, name) for name in names}
    if len(parts) == 1:
        return Given("safetensors", (dict(archive.tensors),), archive.metadata, companions, directory=path.is_dir())
    held = [safetensors.read(file).tensors for file in parts]
    places = {file: place for place, file in enumerate(parts)}
    index = {name: places[tensor.file] for name, tensor in archive.tensors.items() if tensor.file in places}
    return Given("safetensors", tuple(held), archive.metadata, companions, index, directory=path.is_dir())


_READERS: dict[str, Callable[[Path], Given]] = {"gguf": _read_gguf, "safetensors": _read_safetensors}


def write(given: Given, folder: Path, stem: str = "input") -> Path:
    """Write it into a folder; the path to give to a converter. Raises what the format's writer raises."""
    folder.mkdir(parents=True, exist_ok=True)
    return _WRITERS.get(given.format, _write_one)(given, folder, stem)


def _write_one(given: Given, folder: Path, stem: str) -> Path:
    row = of(given.format)
    path = folder / f"{stem}{row.suffix}"
    row.write(Archive(given.format, dict(given.metadata), given.tensors), path)
    return path


def _write_gguf(given: Given, folder: Path, stem: str) -> Path:
    if given.big_endian:
        data = big_endian(Archive("gguf", dict(given.metadata), given.tensors))
        (folder / f"{stem}.gguf").write_bytes(data)
        return folder / f"{stem}.gguf"
    if len(given.parts) == 1:
        gguf.write(Archive("gguf", dict(given.metadata), given.tensors), folder / f"{stem}.gguf", lenient=True)
        return folder / f"{stem}.gguf"
    count, total = len(given.parts), len(given.index)
    paths = [folder / part_name(stem, number, count) for number in range(1, count + 1)]
    for number, (path, part) in enumerate(zip(paths, given.parts, strict=True)):
        keys = dict(given.metadata) if number == 0 else {}
        stated = {SPLIT_NUMBER: number, SPLIT_COUNT: count, SPLIT_TENSORS: total}
        keys |= {key: Value.scalar(SPLIT_KINDS[key], value) for key, value in stated.items()}
        gguf.write(Archive("gguf", keys, dict(part)), path, lenient=True, part=True)
    return paths[0]


def _write_safetensors(given: Given, folder: Path, stem: str) -> Path:
    if not given.directory and len(given.parts) == 1 and not given.companions:
        path = folder / f"{stem}.safetensors"
        safetensors.write(Archive("safetensors", dict(given.metadata), given.tensors), path)
        return path
    home = folder / stem if given.directory else folder
    home.mkdir(exist_ok=True)
    for name, data in given.companions.items():
        (home / name).parent.mkdir(exist_ok=True)  # templates have a folder of their own
        (home / name).write_bytes(data)
    count = len(given.parts)
    if count == 1:
        path = home / ("model.safetensors" if given.directory else f"{stem}.safetensors")
        safetensors.write(Archive("safetensors", dict(given.metadata), given.tensors), path)
        return home if given.directory else path
    files = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    for file, part in zip(files, given.parts, strict=True):
        safetensors.write(Archive("safetensors", dict(given.metadata), dict(part)), home / file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in given.tensors.values())},
        "weight_map": {name: files[place] for name, place in given.index.items()},
    }
    (home / safetensors.INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n")
    return home if given.directory else home / safetensors.INDEX_NAME


_WRITERS: dict[str, Callable[[Given, Path, str], Path]] = {"gguf": _write_gguf, "safetensors": _write_safetensors}
