"""A folder of its own for each conversion, and what must be true of the files around it: an untouched input, an output that is new.

Converters drop configuration and tokenizer files beside their target, take an old file for their own, or give back the input.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rosetta_ref import foreign, limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.walk import items, remove
from rosetta_ref.gate.pairs import FORMATS

_CLOCK = ".began"
#: Bytes that an output may have whatever its input has.
_FREE = 16 << 20
#: What readers look for beside a file of weights.
_READ_BESIDE = (".json", ".jinja", ".model", ".safetensors", ".gguf", ".apr")


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the files of a conversion: missing, empty, stale, copied, linked, irregular, too-large or touched."""

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
    #: The file that it is, whatever name it goes by.
    identity: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file. Raises OSError and ForeignTextError."""
        about = path.stat()
        return cls(about.st_size, about.st_mtime_ns, _sha256(path), (about.st_dev, about.st_ino))

    def change(self, path: Path) -> str | None:
        """What became of the file, in a word or two; it is read only where its size is the same."""
        try:
            about = path.stat()
            if about.st_size != self.size or _sha256(path) != self.sha256:
                return "its bytes"
        except (OSError, RosettaError):
            return "what it is"  # a folder, a pipe, a device
        return "its time" if about.st_mtime_ns != self.mtime else None


class Snapshot:
    """An input, file or directory, as it was before a converter saw it. One serves for any number of conversions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps = {file: Stamp.of(file) for file in _files(path)}

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(stamp.size for stamp in self.stamps.values())

    def flaw(self) -> Flaw | None:
        """What happened to the input since, if anything: a file changed, removed or added."""
        try:
            there = set(_files(self.path))
        except (OSError, RosettaError) as error:
            return Flaw("touched", f"the input can be read no more: {error}")
        for file in self.stamps.keys() - there:
            return Flaw("touched", f"the input {file.name} was removed")
        for file in there - self.stamps.keys():
            return Flaw("touched", f"{file.name} was added to the input")
        for file, before in self.stamps.items():
            if (changed := before.change(file)) is not None:
                return Flaw("touched", f"{changed} changed: the input {file.name}")
        return None


#: What a converter has left, thing by thing, as far as its inode tells: taken again, it tells of a write.
Left = Mapping[Path, tuple[int, int, tuple[int, int]]]


@dataclass(frozen=True)
class Place:
    """Where one conversion happens: nothing is in the folder but what the converter writes."""

    folder: Path
    dst: Path
    #: Which folder it is: whoever puts another thing in its place shows something that nobody has looked at.
    identity: tuple[int, int]
    #: Set from when another conversion has this one's output as its input: it may keep an index or a log beside that.
    read_on: threading.Event = field(default_factory=threading.Event, compare=False)

    def left(self) -> Left:
        """The files as they are now; nothing where they cannot be looked at, which `flaw` says."""
        if self._replaced() is not None:
            return {}
        try:
            return {
                item.path: (item.size, item.mtime, item.identity) for item in items(self.folder) if item.kind == "file"
            }
        except (OSError, RosettaError):
            return {}

    def content(self) -> frozenset[tuple[str, str]]:
        """What stands there, by name: SHA-256 of what a converter may read. Anything else has no equal in another place.

        Raises OSError and ForeignTextError.
        """
        found = set()
        for item in items(self.folder):
            if item.path in (self.folder, self.folder / _CLOCK):
                continue
            read = item.kind == "file" and (item.path.is_relative_to(self.dst) or item.path.suffix in _READ_BESIDE)
            said = _sha256(item.path) if read else item.kind if item.kind == "directory" else str(item.identity)
            found.add((str(item.path.relative_to(self.folder)), said))
        return frozenset(found)

    def changed(self, before: Left) -> Flaw | None:
        """What was written after the run had ended: whoever reads the output would not have had it.

        It counts where somebody reads it. What a later run does to the output itself is said by the snapshot of its input.
        """
        if (replaced := self._replaced()) is not None:
            return replaced
        now = self.left()
        beside = () if self.read_on.is_set() else _READ_BESIDE  # asked after the look: nobody writes before it is set
        for path in before.keys() | now.keys():
            counts = path.is_relative_to(self.dst) or path.suffix in beside
            if counts and before.get(path) != now.get(path):
                how = "came" if path not in before else "went" if path not in now else "changed"
                return Flaw("changed-after-exit", f"{path.name} {how} after the run had ended")
        return None

    def flaw(self, source: Snapshot, *, may_be_equal: bool = False) -> Flaw | None:
        """What is wrong with the output: nothing is taken for one that is missing, empty, old, or the input itself.

        `may_be_equal`: a conversion within one format may have nothing to do.
        """
        try:
            return self._replaced() or self._odd(source) or self._no_output(source, may_be_equal)
        except (OSError, RosettaError) as error:
            return Flaw("unreadable", f"{self.dst.name}: {error}")

    def _replaced(self) -> Flaw | None:
        """What is wrong where the folder is not the one that was made: a link there leads every look at it elsewhere."""
        try:
            about = os.lstat(self.folder)
        except OSError:
            about = None
        if about is not None and stat.S_ISDIR(about.st_mode) and (about.st_dev, about.st_ino) == self.identity:
            return None
        return Flaw("linked", "the folder of the target was replaced")

    def _odd(self, source: Snapshot) -> Flaw | None:
        """What nobody should open: anything but regular files, links to the outside, more than an input can become."""
        sizes = 0
        for item in items(self.folder):
            sizes += item.size if item.kind == "file" else 0
            ours = item.path.is_relative_to(self.dst) or item.path.suffix in _READ_BESIDE
            if not ours or item.kind in ("file", "directory"):
                continue
            if item.kind != "link":
                return Flaw("irregular", f"{item.path.name} is a {item.kind}, no regular file")
            there = os.path.realpath(item.path)
            if not Path(there).is_relative_to(os.path.realpath(self.folder)):
                return Flaw("linked", f"{item.path.name} is a link to {there}, outside of the output")
            if not os.path.isfile(there):
                return Flaw("irregular", f"{item.path.name} is a link, and to no regular file")
        most = limits.of("output-ratio") * source.size + _FREE
        if sizes > most:
            return Flaw("too-large", f"{sizes:,} bytes, where an input of {source.size:,} becomes at most {most:,}")
        return None

    def _no_output(self, source: Snapshot, may_be_equal: bool) -> Flaw | None:
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
        known = {stamp.identity for stamp in source.stamps.values()}
        sizes = {stamp.size for stamp in source.stamps.values()}
        for file in weights:
            about = file.stat()
            if (about.st_dev, about.st_ino) in known:
                return Flaw("linked", f"{file.name} is the input itself")
            if about.st_mtime_ns < began:
                return Flaw("stale", f"{file.name} is older than the run")
            if may_be_equal or about.st_size not in sizes:
                continue
            if (copied := inputs.get(_sha256(file))) is not None:
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
        directory = of(target_format).has_companions and safetensors_as == "directory"
        about = os.lstat(folder)
        dst = folder / (stem if directory else f"{stem}.{target_format}")
        return Place(folder, dst, (about.st_dev, about.st_ino))

    def close(self) -> None:
        """Remove everything."""
        remove(self.path)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _files(path: Path) -> list[Path]:
    """The file itself, or all files below a directory: also what a name there is a link to, if that is a file."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return [item.path for item in items(path) if item.kind == "file" or (item.kind == "link" and item.path.is_file())]


def _is_weights(path: Path) -> bool:
    return path.suffix.lower().lstrip(".") in FORMATS


def _sha256(path: Path) -> str:
    with foreign.open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
