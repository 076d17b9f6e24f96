"""A model in one file, or in a set NAME-00001-of-0000N.gguf as llama.cpp's gguf-split makes them.

The first part has the model's metadata; each has `split.no` (from 0) and `split.count`, the first one also the number of tensors of
the whole. A count of 0 or 1 is no split: such a file is read as it stands, those keys included.
"""

from __future__ import annotations

import re
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.beside import require_inside
from rosetta_ref.foreign import naming
from rosetta_ref.formats.gguf import errors, layout
from rosetta_ref.formats.gguf.reader import OneFile, read_one

PART_NAME = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)


def part_name(stem: str, number: int, count: int) -> str:
    """The name of a part; `number` counts from 1."""
    return f"{stem}-{number:05d}-of-{count:05d}.gguf"


@naming
def read(path: str | Path, *, lenient: bool = False) -> Archive:
    """A GGUF file, or the whole set that it is a part of.

    `lenient` takes what ggml or gguf-py take although the rules forbid it; what was let pass stands in the archive's notes.
    Raises the error of the rule that is broken (`errors`).
    """
    path = Path(path)
    first = read_one(path, lenient=lenient)
    files = [first]
    try:
        count = _split_count(first.metadata, path)
        if count <= 1:
            _not_only_named_a_part(path, lenient)
            return Archive("gguf", dict(first.metadata), first.tensors, path, (first.part,), first.notes)
        return merged(path, _gather(path, count, first, files, lenient))
    except BaseException:
        for file in files:
            file.part.map.close()
        raise


def _gather(path: Path, count: int, given: OneFile, opened: list[OneFile], lenient: bool) -> list[OneFile]:
    """All parts in order; each one that is opened is added to `opened` at once."""
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count or not 1 <= int(match["number"]) <= count:
        raise errors.SplitNameError(f"the file is one of {count} parts by its metadata, not by its name", file=path)
    limits.require("parts", count, "a set of files", file=path)
    paths = [path.with_name(part_name(match["stem"], number, count)) for number in range(1, count + 1)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        named = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise errors.MissingPartError(f"{len(missing)} of {count} parts are missing: {named}", file=path)
    parts = []
    for index, part in enumerate(paths):
        file = given
        if index != int(match["number"]) - 1:  # the file that was named may be a link
            require_inside(part, path.parent)
            file = read_one(part, lenient=lenient)
            opened.append(file)
        _check_place(file, index, count, part)
        parts.append(file)
    return parts


def _check_place(file: OneFile, index: int, count: int, path: Path) -> None:
    """Raise unless a part's metadata say that it is what its name says."""
    number = _split_value(file.metadata, layout.SPLIT_NUMBER, path)
    found = _split_count(file.metadata, path)
    if (number, found) != (index, count):
        raise errors.SplitNameError(
            f"part {index + 1} of {count} by its name, {layout.SPLIT_NUMBER} is {number} and {layout.SPLIT_COUNT} {found}",
            file=path,
        )


def merged(path: Path, files: list[OneFile]) -> Archive:
    """One archive of all parts, with the metadata of the first but for the split keys."""
    tensors: dict[str, Tensor] = {}
    notes: list[str] = []
    for file in files:
        again = file.tensors.keys() & tensors.keys()
        if again:
            tensor = file.tensors[min(again)]
            first = tensors[tensor.name].file
            raise errors.DuplicateTensorError(
                f"it is also in {first.name if first else None}",
                file=tensor.file,
                tensor=tensor.name,
                offset=tensor.offset,
            )
        tensors |= file.tensors
        notes += file.notes
    expected = _split_value(files[0].metadata, layout.SPLIT_TENSORS, files[0].part.map.path)
    if expected != len(tensors):
        raise errors.SplitTensorCountError(
            f"{len(tensors)} tensors in {len(files)} parts, {expected} announced", file=path
        )
    metadata = {key: value for key, value in files[0].metadata.items() if key not in layout.SPLIT_KINDS}
    extra = sorted({key for file in files[1:] for key in file.metadata} - files[0].metadata.keys())
    notes += [f"metadata of later parts is left out: {', '.join(extra)}"] if extra else []
    return Archive("gguf", metadata, tensors, path, tuple(file.part for file in files), notes)


def _split_count(metadata: dict[str, Value], path: Path) -> int:
    return _split_value(metadata, layout.SPLIT_COUNT, path) if layout.SPLIT_COUNT in metadata else 0


def _split_value(metadata: dict[str, Value], key: str, path: Path) -> int:
    value = metadata.get(key)
    if value is None:
        raise errors.SplitKeyError(f"{key} is missing", file=path)
    if value.kind is not layout.SPLIT_KINDS[key]:
        raise errors.SplitKeyError(f"{key} is of kind {value.kind.name}", file=path)
    return int(value.data)


def _not_only_named_a_part(path: Path, lenient: bool) -> None:
    """Refuse a file that its name alone calls a part: taken for the whole, it would lose the rest."""
    match = PART_NAME.fullmatch(path.name)
    if match is not None and int(match["count"]) > 1 and not lenient:
        raise errors.SplitNameError("the file is a part by its name, not by its metadata", file=path)
