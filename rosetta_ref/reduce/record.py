"""expected.json: what a folder is about, so that it can be replayed: the failure, the conversion, and what right would be."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import evidence
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter import FORMATS
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.reduce.fingerprint import Fingerprint
from rosetta_ref.version import __version__

NAME = "expected.json"
#: Grows when a field changes its meaning or goes away.
FORMAT = 1
#: Elements and bytes of a tensor that are written down.
_MOST = 512
#: Fields that are in JSON as they are here.
_PLAIN = (
    "source_format", "target_format", "input", "files", "asked", "safetensors_as", "converter", "expected", "versions",
)  # fmt: skip


class FolderError(RosettaError):
    """A folder to replay holds an expected.json of this program, and the input that it names, unchanged."""


@dataclass(frozen=True)
class Expected:
    """What a folder says. Paths are relative to it.

    converter: the name, command and function of the one that failed, as they were called. expected: the tensors and facts of a
    right output; empty where the input must be refused.
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
    versions: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write expected.json."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "fingerprint"}
        evidence.write_json(
            folder / NAME, evidence.plain({"format": FORMAT, "fingerprint": self.fingerprint.as_json(), **fields})
        )


def load(folder: Path) -> Expected:
    """What a folder says. Raises FolderError, which names the rule, and OSError."""
    path = folder / NAME
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != FORMAT:
            raise FolderError(f"it is of format {values['format']}, and {FORMAT} is read here", file=path)
        fields = {name: values[name] for name in _PLAIN}
        fields |= {"fingerprint": Fingerprint.of_json(values["fingerprint"]), "loses": tuple(values["loses"])}
        made = Expected(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FolderError(f"it cannot be understood: {type(error).__name__}: {error}", file=path) from None
    if {made.source_format, made.target_format} - {*FORMATS} or not made.files:
        raise FolderError("it names no known formats, or no files", file=path)
    for name, digest in made.files.items():
        there = folder / name
        if not there.resolve().is_relative_to(folder.resolve()) or not there.is_file():
            raise FolderError(f"the input {name!r} is not there", file=path)
        if sha256(there.read_bytes()) != digest:
            raise FolderError(f"the input {name!r} has other bytes than when it was written", file=path)
    if not (folder / made.input).exists() or Path(made.input).is_absolute() or ".." in Path(made.input).parts:
        raise FolderError(f"the input {made.input!r} is not there", file=path)
    return made


def sha256(data: bytes) -> str:
    """In hex digits."""
    return hashlib.sha256(data).hexdigest()


def versions() -> dict[str, str]:
    """Of what wrote the folder."""
    return {"rosetta-ref": __version__, "python": platform.python_version(), "numpy": np.__version__}


def right(output: Path | None) -> dict[str, Any]:
    """What a right output holds: each tensor by canonical name, its first elements and bytes; nothing where there is none."""
    if output is None:
        return {}
    try:
        with look(output) as view:
            return {name: _tensor(view, name) for name in view.tensors}
    except UnreadableError:
        return {}


def _tensor(view: View, name: str) -> dict[str, Any]:
    tensor = view.tensors[name].tensor
    values: Any = (
        tensor.values().reshape(-1)[:_MOST] if tensor.type.decode is not None and tensor.count <= 1 << 20 else []
    )
    return {
        "name": tensor.name,
        "type": tensor.type.name,
        "shape": list(tensor.shape),
        "bytes": tensor.data[:_MOST].tobytes().hex(),
        "values": [f"{value:g}" for value in values],
    }
