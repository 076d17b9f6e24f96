"""The manifest of `--checksums`: SHA-256 per tensor, before and after, published with the target or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rosetta_ref.convert.staging import TargetExistsError
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.output import WriteError, temporary_name


class ManifestPathError(RosettaError):
    """The manifest of --checksums is a file of its own, in a directory that is there."""


class Manifest:
    """Written under a temporary name, renamed when the target has its name, removed where the conversion fails.

    As a context manager it sees to the last. Without a path it does nothing.
    """

    def __init__(self, path: str | Path | None, *, taken: Iterable[Path], force: bool) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None:
            _refuse(self.path, {one.resolve() for one in taken}, force)

    def write(self, checksums: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the manifest under its temporary name. Raises WriteError."""
        if self.path is None:
            return
        try:
            temporary_name(self.path).write_text(json.dumps(checksums, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise WriteError(f"cannot write: {error.strerror or error}", file=self.path) from error

    def publish(self) -> None:
        """Give it its name."""
        if self.path is not None:
            os.replace(temporary_name(self.path), self.path)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is not None:
            temporary_name(self.path).unlink(missing_ok=True)


def _refuse(path: Path, taken: set[Path], force: bool) -> None:
    if not path.parent.is_dir():
        raise ManifestPathError("there is no such directory", file=path.parent)
    if path.resolve() in taken or (path.exists() and not path.is_file()):
        raise ManifestPathError("is a file of the model, or no file", file=path)
    if path.exists() and not force:
        raise TargetExistsError("already exists", file=path, hint="Use --force to replace it.")
