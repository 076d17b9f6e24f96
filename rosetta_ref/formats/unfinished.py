"""What a killed conversion left half in place, as whoever reads a model has to know it.

A conversion is prepared in a folder `.NAME.partial` beside its target. Where several files have to be put in place one by one,
a journal in that folder says so first (`rosetta_ref.convert.publish` tells the whole story). As long as it stands there, the
target is neither the old model nor the new one, and is not read.

An archive, or a clone of a repository, may bring such a folder along. Its journal is not ours: it does not name the file numbers of
the very folder that it lies in, nor the moment at which the mark beside it was last changed, which nobody can set. Two targets may
have one such folder, `foo` and `foo/foo`: a journal also names the number of the directory that its files go to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError

JOURNAL = "PUBLISHING.json"
#: An empty file that is written before the journal and never touched again.
MARK = "PUBLISHING.mark"
_REMOVE = "Nothing was touched. Remove the folder once nothing in it is wanted."
#: Formats whose models are one file: nothing beside it belongs to them.
_ALONE = (".gguf", ".apr")


class JournalError(RosettaError):
    """The journal of a killed conversion is as this tool writes it, and lies where it was written."""


class HalfPublishedError(RosettaError):
    """A model is read before a conversion puts another one in its place, or after, not in between."""


class ReplacedWhileReadError(RosettaError):
    """A model stays the same while it is read."""


def staging_folder(target: Path) -> Path:
    """Where a conversion to `target` is prepared."""
    named = target if target.name not in ("", "..") else Path(os.path.realpath(target))  # `.` has no name of its own
    return named.with_name(f".{named.name}.partial")


def staging_folder_within(directory: Path) -> Path:
    """The same in the directory itself: where nothing can be written beside it, or what is beside it is on another disk."""
    return directory / staging_folder(directory).name


def read_journal(folder: Path) -> dict[str, Any] | None:
    """The journal in a staging folder, as JSON; None where there is none.

    Raises JournalError where it was not written here, and what `foreign` raises of a file that is none, or no JSON.
    """
    path = folder / JOURNAL
    if not os.path.lexists(path):
        return None
    record = foreign.json_object(foreign.read_file(path, "record-bytes", follow=False), file=path, what="the journal")
    if record.get("bound") != bound_to(folder):
        raise JournalError("it was not written in this folder, on this disk", file=path, hint=_REMOVE)
    return record


def bound_to(folder: Path) -> list[int]:
    """What binds a journal to its folder: the file numbers of folder and mark, and when the mark was last changed (ns).

    File numbers stay over a restart, those of devices need not. Raises JournalError where there is no mark.
    """
    try:
        mark, itself = os.lstat(folder / MARK), os.lstat(folder)
    except OSError as error:
        raise JournalError(f"it has no mark: {error.strerror}", file=folder / JOURNAL, hint=_REMOVE) from error
    if not (stat.S_ISREG(mark.st_mode) and stat.S_ISDIR(itself.st_mode)):
        raise JournalError("it has no mark that is a file", file=folder / JOURNAL, hint=_REMOVE)
    return [itself.st_ino, mark.st_ino, mark.st_ctime_ns]


def require_published(path: str | Path) -> None:
    """Raise HalfPublishedError where a conversion was ended while it put the model at `path` in place."""
    base = _directory_of(Path(path))
    for folder in _folders_of(Path(path)):
        with contextlib.suppress(RosettaError):  # a journal that is none of ours says nothing about the model
            record = read_journal(folder)
            if record is not None and record.get("base", base) == base:
                break
    else:
        return
    raise HalfPublishedError(
        "a conversion was ended while it put this model in place, or is doing so now",
        file=path,
        hint=f"Run a conversion onto that target again: it finishes what {folder} holds.",
    )


def _directory_of(path: Path) -> int | None:
    """The number of the directory that the files of a model are in, None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path if path.is_dir() else path.parent).st_ino
    return None


def _folders_of(path: Path) -> Iterator[Path]:
    """The staging folders whose journals may speak of a model: its own, that of its directory, and those of files beside it."""
    with contextlib.suppress(OSError, ValueError):
        directory = path.is_dir()
        real = Path(os.path.realpath(path)) if directory else path
        if real.name:
            yield staging_folder(real)
        if real.name and directory:
            yield staging_folder_within(real)
        if path.suffix.lower() in _ALONE and not directory:
            return
        folder = real if directory else Path(os.path.realpath(path.parent))
        if folder.name and not directory:
            yield from (staging_folder(folder), staging_folder_within(folder))
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".safetensors.partial")]
        yield from (folder / name for name in sorted(names) if name.startswith("."))


@contextlib.contextmanager
def steady(path: str | Path) -> Iterator[None]:
    """While a model of several files is read: it is the same one before and after, or an error says that it is not.

    Raises HalfPublishedError, ReplacedWhileReadError.
    """
    require_published(path)
    before = _identity(Path(path))
    try:
        yield
    except (RosettaError, OSError):
        _require_same(path, before)  # or else that is why
        raise
    _require_same(path, before)


def _require_same(path: str | Path, before: list[tuple[int, int]]) -> None:
    if _identity(Path(path)) != before:
        raise ReplacedWhileReadError("it was replaced in the meantime", file=path, hint="Read it again.")
    require_published(path)


def _identity(path: Path) -> list[tuple[int, int]]:
    found = []
    for one in (path, path.parent):
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(one)
            found.append((status.st_dev, status.st_ino))
    return found
