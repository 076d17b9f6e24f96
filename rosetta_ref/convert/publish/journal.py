"""The journal: which files are put in place one by one, and how to know each of them again.

It is read by the next run, and until then anybody may have put another one there: it is held against all that publishing can have
written for this very target, and each file against its number, before anything is touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref.convert.publish import disk
from rosetta_ref.convert.publish.names import is_plain, may_be_published
from rosetta_ref.formats.output import create
from rosetta_ref.formats.unfinished import JOURNAL, MARK, JournalError, bound_to, read_journal

_VERSION = 1
#: Files of the staging folder that have to do with the journal.
NAMES = (JOURNAL, MARK, f".{JOURNAL}.partial")
_FIELDS = {"version", "bound", "base", "target", "directory", "manifest", "new", "old"}


@dataclass(frozen=True)
class Journal:
    """Files to be put in place (`new`) and away (`old`), in that order, with their file numbers.

    Names are those in the directory `target`, or, where it is a file, in the folder that it stands in. `manifest` is the name of
    that of --checksums, where it is one of them.
    """

    target: str
    directory: bool
    manifest: str | None
    new: Mapping[str, int]
    old: Mapping[str, int]


def write(journal: Journal, folder: Path, target: Path) -> None:
    """Write the journal of `target` into a staging folder, durably: the decision. Raises WriteError."""
    create(folder / MARK, b"")
    with disk.naming(folder / MARK):
        disk.flush(folder / MARK)
    record = {
        "version": _VERSION,
        "bound": bound_to(folder),
        "base": _base(target, journal.directory),
        "target": journal.target,
        "directory": journal.directory,
        "manifest": journal.manifest,
        "new": list(journal.new.items()),
        "old": list(journal.old.items()),
    }
    partial = folder / f".{JOURNAL}.partial"
    create(partial, (json.dumps(record, indent=1) + "\n").encode())
    with disk.naming(folder / JOURNAL):
        disk.flush(partial)
        os.rename(partial, folder / JOURNAL)
        disk.flush(folder)


def remove(folder: Path) -> None:
    """All is in its place: what the staging folder holds now is of no use. Raises WriteError."""
    with disk.naming(folder / JOURNAL):
        os.unlink(folder / JOURNAL)
        disk.flush(folder)


def read(folder: Path, target: Path) -> Journal | None:
    """The journal of a killed run onto `target`; None where there is none.

    Raises JournalError, and what `foreign` raises of text that is no JSON.
    """
    record = read_journal(folder)
    if record is None:
        return None
    try:
        return _checked(record, target)
    except (TypeError, ValueError, AttributeError, KeyError, OSError) as error:
        raise JournalError(str(error), file=folder / JOURNAL, hint=where(folder)) from error


def _base(target: Path, directory: bool) -> int:
    """The number of the directory that the files go to: `foo` and `foo/foo` may both be prepared in `foo/.foo.partial`."""
    return os.stat(target if directory else target.parent).st_ino


def where(folder: Path) -> str:
    """What to do about a journal that cannot be followed."""
    return f"Nothing was touched. Remove {folder} once nothing in it is wanted."


def _checked(record: dict[str, Any], target: Path) -> Journal:
    if record.keys() != _FIELDS or type(record["version"]) is not int or record["version"] != _VERSION:
        raise ValueError(f"it is no journal of version {_VERSION}")
    directory, manifest = record["directory"], record["manifest"]
    if record["target"] != target.name or type(directory) is not bool:
        raise ValueError("it is that of another target")
    if type(record["base"]) is not int or record["base"] != _base(target, directory):
        raise ValueError("it is that of another directory")
    if not (manifest is None or (isinstance(manifest, str) and is_plain(manifest))):
        raise ValueError("its manifest has no name of a file beside the target")
    new, old = _numbered(record["new"]), _numbered(record["old"])
    for name in [*new, *old]:
        if not may_be_published(name, target.name, directory=directory, manifest=manifest):
            raise ValueError(f"it names {name!r}, which a conversion to {target.name} does not write")
    return Journal(target.name, directory, manifest, new, old)


def _numbered(pairs: Sequence[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in pairs:
        if not isinstance(name, str) or type(number) is not int or name in found:
            raise ValueError("a file of it has no name or no number of its own")
        found[name] = number
    return found
