"""expected.json: what a folder is about, so that it can be replayed: the failure, the conversion, and what right would be."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rosetta_ref import evidence, limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import ForeignTextError, LinkedFileError, json_object, open_file, read_file
from rosetta_ref.gate import names
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge.view import UnreadableError, View
from rosetta_ref.gate.kinds import UnknownKindError
from rosetta_ref.gate.pairs import FORMATS
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.search.candidate import looked
from rosetta_ref.reduce.search.failure import LONGEST_SUBJECT, Fingerprint
from rosetta_ref.version import __version__

NAME = "expected.json"
#: Grows when a field changes its meaning or goes away.
FORMAT = 1
#: Elements and bytes of a tensor that are written down, of all tensors together, and tensors: far below the limit of the file.
_MOST, _MOST_OF_ALL, _MOST_TENSORS = 512, 1 << 17, 4096
#: Fields that are in JSON as they are here.
_PLAIN = (
    "source_format", "target_format", "input", "files", "asked", "safetensors_as", "converter", "expected", "wrong", "versions",
)  # fmt: skip


class FolderError(RosettaError):
    """A folder to replay holds an expected.json of this program, and the input that it names, unchanged."""


@dataclass(frozen=True)
class Expected:
    """What a folder says. Paths are relative to it.

    converter: the name, command and function of the one that failed, as they were called. expected: the tensors and facts of a
    right output; empty where the input must be refused. wrong: how many elements are, and the first of them: "count", "first".
    """

    fingerprint: Fingerprint
    source_format: str
    target_format: str
    input: str
    files: Mapping[str, str]
    asked: str | None = None
    safetensors_as: str = "directory"
    loses: tuple[str, ...] = ()
    converter: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    wrong: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write expected.json."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "fingerprint"}
        evidence.write_json(
            folder / NAME, evidence.plain({"format": FORMAT, "fingerprint": self.fingerprint.as_json(), **fields})
        )


def load(folder: Path) -> Expected:
    """What a folder says. Raises FolderError, which names the rule, NotAFileError and its kin, LimitExceededError."""
    path = folder / NAME
    if not os.path.lexists(path):
        raise FolderError(f"there is no {NAME} in it", file=folder)
    data = read_file(path, "expected-bytes", follow=False)
    try:
        values = json_object(data, file=path)
    except ForeignTextError as error:
        raise FolderError(error.problem, file=path, offset=error.offset) from error
    try:
        if values["format"] != FORMAT or values["format"] is True:
            raise FolderError(f"it is not of format {FORMAT}, which is read here", file=path)
        for name, is_right in _RIGHT.items():
            if not is_right(values[name]):
                raise FolderError(f"{name} is not what it has to be: {str(values[name])[:80]!r}", file=path)
        fields = {name: values[name] for name in _PLAIN}
        fields |= {
            "fingerprint": Fingerprint.of_json(values["fingerprint"]),
            "loses": tuple(map(names.kind, values["loses"])),
        }
        made = Expected(**fields)
    except UnknownKindError as error:
        raise FolderError(error.problem, file=path, hint=error.hint) from None
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(f"it cannot be understood: {type(error).__name__}: {error}", file=path) from None
    _check_files(folder, made)
    return made


def _check_files(folder: Path, made: Expected) -> None:
    """The input is there, in the folder, unchanged."""
    path = folder / NAME
    if made.input not in {*made.files, *(name.partition("/")[0] for name in made.files if "/" in name)}:
        raise FolderError(f"the input {made.input!r} is none of its files", file=path)
    size = 0
    for name in made.files:
        try:
            size += os.lstat(folder / name).st_size
        except (OSError, ValueError):
            raise FolderError(f"the input {name!r} is not there", file=path) from None
        limits.require("folder-bytes", size, "the input", file=path)
    for name, digest in made.files.items():
        if _copied(folder, name) != digest:
            raise FolderError(f"the input {name!r} has other bytes than when it was written", file=path)


def copy(folder: Path, made: Expected, to: Path) -> Path:
    """A copy of the input, in another folder; what a converter is given. Raises FolderError where it is not as it was."""
    for name, digest in made.files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if _copied(folder, name, to / name) != digest:
            raise FolderError(f"the input {name!r} has other bytes than when it was written", file=folder / NAME)
    return to / made.input


def _copied(folder: Path, name: str, to: Path | None = None) -> str:
    """The digest of a regular file in a folder, no part of whose name is a link; it is copied, where a place is given."""
    for parent in PurePosixPath(name).parents[:-1]:
        if (folder / parent).is_symlink():
            raise LinkedFileError("it is a symbolic link", file=folder / parent)
    found = hashlib.sha256()
    with open_file(folder / name, follow=False) as file, open(to or os.devnull, "wb" if to is None else "xb") as copied:
        left = limits.of("folder-bytes")
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            left -= len(data)
            found.update(data)
            copied.write(data)
    return found.hexdigest()


def is_name(value: Any) -> bool:
    """Whether that is a path of a file in the folder."""
    if not _is_text(value) or len(value) > _LONGEST or not value.isprintable() or "\\" in value:
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


def _are_files(value: Any) -> bool:
    if not isinstance(value, dict) or not 0 < len(value) <= _MOST_FILES or not all(map(is_name, value)):
        return False
    return all(_is_text(digest) and _DIGEST.fullmatch(digest) for digest in value.values())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_known(value: Any) -> bool:
    return value in FORMATS if _is_text(value) else False


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(map(_is_text, (value.get("name"), value.get("type"), value.get("bytes"))))
        and _HEX.fullmatch(value["bytes"]) is not None
        and isinstance(value.get("shape"), list)
        and len(value["shape"]) <= _MOST_DIMENSIONS
        and all(type(size) is int and 0 <= size < 1 << 63 for size in value["shape"])
        and _is_texts(value.get("values"))
    )


def _is_fingerprint(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_texts(value.get("cause")):
        return False
    cause = value["cause"]
    words = (value.get("gate"), value.get("kind"), value.get("subject"), *cause)
    return (
        all(_is_text(word) and len(word) <= LONGEST_SUBJECT for word in words)
        and len({*cause}) == len(cause) <= _MOST_CAUSES
        and (value.get("type") is None or _is_text(value["type"]))
    )


def _is_wrong(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("first") is None or isinstance(value["first"], dict))


_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Characters of a path, files of an input, dimensions of a tensor, and causes of one failure.
_LONGEST, _MOST_FILES, _MOST_DIMENSIONS, _MOST_CAUSES = 1024, 4096, 256, 8
#: What each field has to be.
_RIGHT: Mapping[str, Callable[[Any], bool]] = {
    "fingerprint": _is_fingerprint,
    "source_format": _is_known,
    "target_format": _is_known,
    "input": _is_text,
    "files": _are_files,
    "asked": lambda value: value is None or (_is_text(value) and value in TYPES),
    "safetensors_as": lambda value: value in ("file", "directory"),
    "loses": _is_texts,
    "converter": lambda value: isinstance(value, dict),
    "expected": lambda value: isinstance(value, dict) and all(map(_is_tensor, value.values())),
    "wrong": _is_wrong,
    "versions": lambda value: isinstance(value, dict),
}


def sha256(path: Path) -> str:
    """Of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong(finding: Finding) -> dict[str, Any]:
    """What of a finding tells one failure of a kind from another: how many elements are wrong, and the first of them."""
    return {"count": finding.count, "first": dict(finding.first or {})}


def versions() -> dict[str, str]:
    """Of what wrote the folder."""
    return {"rosetta-ref": __version__, "python": platform.python_version(), "numpy": np.__version__}


def right(output: Path | None) -> dict[str, Any]:
    """What a right output holds: each tensor by canonical name, its first elements and bytes; nothing where there is none."""
    if output is None:
        return {}
    try:
        with looked(output) as view:
            most = min(_MOST, _MOST_OF_ALL // max(len(view.tensors), 1))
            return {name: _tensor(view, name, most) for name in islice(view.tensors, _MOST_TENSORS)}
    except UnreadableError:
        return {}


def _tensor(view: View, name: str, most: int) -> dict[str, Any]:
    tensor = view.tensors[name].tensor
    values: Any = (
        tensor.values().reshape(-1)[:most] if tensor.type.decode is not None and tensor.count <= 1 << 20 else []
    )
    return {
        "name": tensor.name,
        "type": tensor.type.name,
        "shape": list(tensor.shape),
        "bytes": tensor.data[:most].tobytes().hex(),
        "values": [f"{value:g}" for value in values],
    }
