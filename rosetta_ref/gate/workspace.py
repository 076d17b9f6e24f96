"""A folder of its own for each conversion, and what must be true of the files around it: an untouched input, an output that is new.

Converters drop configuration and tokenizer files beside their target, take an old file for their own, or give back the input.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rosetta_ref.gate.converter import FORMATS

_CLOCK = ".began"


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the files of a conversion: missing, empty, stale, copied, linked or touched; and which file."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Stamp:
    """One file as it was: a write that changes nothing but the time is a write."""

    size: int
    mtime: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file."""
        about = path.stat()
        return cls(about.st_size, about.st_mtime_ns, _sha256(path))


class Snapshot:
    """An input, file or directory, as it was before a converter saw it. One serves for any number of conversions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps = {file: Stamp.of(file) for file in _files(path)}

    def flaw(self) -> Flaw | None:
        """What happened to the input since, if anything: a file changed, removed or added."""
        there = set(_files(self.path))
        for file in self.stamps.keys() - there:
            return Flaw("touched", f"the input {file.name} was removed")
        for file in there - self.stamps.keys():
            return Flaw("touched", f"{file.name} was added to the input")
        for file, before in self.stamps.items():
            now = Stamp.of(file)
            if now != before:
                changed = "its bytes" if now.sha256 != before.sha256 else "its time"
                return Flaw("touched", f"{changed} changed: the input {file.name}")
        return None


@dataclass(frozen=True)
class Place:
    """Where one conversion happens: nothing is in the folder but what the converter writes."""

    folder: Path
    dst: Path

    def flaw(self, source: Snapshot, *, may_be_equal: bool = False) -> Flaw | None:
        """What is wrong with the output: nothing is taken for one that is missing, empty, old, or the input itself.

        `may_be_equal`: a conversion within one format may have nothing to do.
        """
        if not self.dst.exists():
            others = sorted(path.name for path in self.folder.iterdir() if path.name != _CLOCK)
            return Flaw(
                "missing", f"there is no {self.dst.name}" + (f", but {', '.join(others[:5])}" if others else "")
            )
        weights = [file for file in _files(self.dst) if _is_weights(file)]
        if not any(file.stat().st_size for file in weights):
            return Flaw("empty", f"{self.dst.name} holds " + ("nothing" if weights else "no weights"))
        began = (self.folder / _CLOCK).stat().st_mtime_ns
        inputs = {stamp.sha256: file for file, stamp in source.stamps.items() if _is_weights(file)}
        for file in weights:
            if any(os.path.samefile(file, other) for other in source.stamps if other.exists()):
                return Flaw("linked", f"{file.name} is the input itself")
            if file.stat().st_mtime_ns < began:
                return Flaw("stale", f"{file.name} is older than the run")
            if not may_be_equal and (copied := inputs.get(_sha256(file))) is not None:
                return Flaw("copied", f"{file.name} has the bytes of the input {copied.name}")
        return None


class Workspace:
    """A temporary folder in which places are made; all of it is removed at the end. Use it with `with`."""

    def __init__(self, root: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rosetta-gate-", dir=root)).resolve()
        self._count = 0

    def place(self, target_format: str, *, safetensors_as: str = "directory", stem: str = "model") -> Place:
        """A new place. The target is not there yet; a directory neither."""
        assert target_format in FORMATS, target_format
        self._count += 1
        folder = self.path / f"{self._count:05}"
        folder.mkdir()
        (folder / _CLOCK).touch()  # the clock of the file system, which need not be this machine's
        directory = target_format == "safetensors" and safetensors_as == "directory"
        return Place(folder, folder / (stem if directory else f"{stem}.{target_format}"))

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a directory."""
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    elif path.exists():
        yield path


def _is_weights(path: Path) -> bool:
    return path.suffix.lower().lstrip(".") in FORMATS


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
