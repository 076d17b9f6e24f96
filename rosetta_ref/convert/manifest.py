"""The manifest of `--checksums`: SHA-256 per tensor, before and after; never that of another model than the one beside it.

Where it lies in the target, or in the folder of a target that is a file, it is published with that as one of its files. Elsewhere
it is a file apart: the former one is put away before the target changes, and the new one gets its name after that.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rosetta_ref.convert.companions import is_companion, is_weights
from rosetta_ref.convert.publish import disk
from rosetta_ref.convert.publish.names import is_index, is_possible
from rosetta_ref.convert.publish.place import Place
from rosetta_ref.convert.publish.rules import TargetExistsError
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.output import WriteError, create, temporary_name


class ManifestPathError(RosettaError):
    """The manifest of --checksums is a file of its own, in a directory that is there, and not deep in the target."""


class Manifest:
    """Written beside its name, which it gets when the target has its own; the former one comes back where the conversion fails.

    As a context manager it sees to the last, once the staging folder is gone. Without a path it does nothing. Where it is one of
    the files of the target, `name` is its name among them.
    """

    def __init__(self, path: str | Path | None, place: Place, *, taken: Iterable[Path], force: bool) -> None:
        self.path = None if path is None else Path(path)
        self.name: str | None = None
        self._made: os.stat_result | None = None
        self._place = place
        self._away: tuple[int, int] | None = None  # which target it was that the former one speaks of
        if self.path is not None:
            _refuse(self.path, {os.path.realpath(one) for one in [*taken, place.folder]}, force)
            self.name = _name_in(place, self.path)
            if self.name is not None and (is_companion(self.name) or is_weights(self.name) or is_index(self.name)):
                raise ManifestPathError("it has the name of a file of a model", file=self.path)

    def write(self, checksums: Mapping[str, Mapping[str, Any]], place: Place) -> None:
        """Write the manifest where it waits for its name. Raises WriteError."""
        if self.path is None:
            return
        data = (json.dumps(checksums, indent=1, sort_keys=True) + "\n").encode()
        if self.name is not None:
            place.add(self.name, data)
            return
        try:
            self._made = create(temporary_name(self.path), data, replace=True)
        except WriteError as error:
            error.file = self.path
            raise
        with disk.naming(self.path):
            disk.flush(temporary_name(self.path))

    def withdraw(self) -> None:
        """Put away the former one, before the target that it speaks of is replaced. Raises WriteError."""
        if self._made is None or self.path is None:
            return
        with disk.naming(self.path):
            if os.path.lexists(self.path):
                os.replace(self.path, _former(self.path))
                self._away = _number(self._place.target)
            disk.flush(self.path.parent)

    def publish(self) -> None:
        """Give it its name: the target has its own. Raises WriteError."""
        if self._made is None or self.path is None:
            return
        with disk.naming(self.path):
            waiting = temporary_name(self.path)
            if not os.path.samestat(self._made, os.lstat(waiting)):
                raise WriteError("another conversion writes it at the same time", file=self.path)
            os.replace(waiting, self.path)
            self._made = None
            disk.flush(self.path.parent)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is None or self.name is not None:
            return
        with contextlib.suppress(OSError):
            if self._away is not None and self._is_old():
                os.replace(_former(self.path), self.path)
            elif self._away is not None or kind is None:
                os.unlink(_former(self.path))
        with contextlib.suppress(OSError):
            if self._made is not None and os.path.samestat(self._made, os.lstat(temporary_name(self.path))):
                os.unlink(temporary_name(self.path))

    def _is_old(self) -> bool:
        """Whether the target is still the one that the former manifest speaks of, and stays it."""
        place = self._place
        return not place.published and not place.is_half_published() and _number(place.target) == self._away


def _number(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _former(path: Path) -> Path:
    """Where the former manifest is while the target is replaced."""
    return path.with_name(f".{path.name}.former.partial")


def _name_in(place: Place, path: Path) -> str | None:
    """Its name among the files of the target; None where it lies elsewhere. Raises ManifestPathError deep in a directory."""
    folder = Path(os.path.realpath(path.parent))
    base = Path(os.path.realpath(place.target if place.directory else place.target.parent))
    if folder == base and path.name:
        return path.name
    if place.directory and folder.is_relative_to(base):
        raise ManifestPathError("it lies in a folder of the target", file=path)
    return None


def _refuse(path: Path, taken: set[str], force: bool) -> None:
    if not (is_possible(path) and path.parent.is_dir()):
        raise ManifestPathError("there is no such directory", file=path.parent)
    ours = [path, temporary_name(path), _former(path)]
    if any(os.path.realpath(one) in taken for one in ours) or (path.exists() and not path.is_file()):
        raise ManifestPathError("is a file of the model, or no file", file=path)
    if os.path.lexists(path) and not force:
        raise TargetExistsError("already exists", file=path, hint="Use --force to replace it.")
