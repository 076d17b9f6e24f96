"""What a directory holds besides its model, taken over into the new one; and what was checked, known again."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rosetta_ref.convert.publish.names import FOLDERS
from rosetta_ref.convert.publish.rules import ChangedAfterCheckError

#: Of a link, the link itself; where the system cannot say so, what is linked here is none.
_ITSELF: dict[str, bool] = {"follow_symlinks": False} if os.link in os.supports_follow_symlinks else {}


class State(NamedTuple):
    """What a file is, so that any change to it shows: number, size, and when its bytes and its status last changed (ns)."""

    number: int
    size: int
    modified: int
    changed: int


def take_over(old: Path, new: Path, gone: Collection[str]) -> dict[str, int]:
    """Make all that `old` holds, but for the names in `gone`, part of `new`, too; their file numbers, by name.

    Files are linked, not copied: nothing is read, they stay the same files, and the disk does not fill. Folders are made again,
    links are links to the same place. Raises OSError where that is not possible (a file system without links, another disk, files
    of somebody else's): then nothing of it counts, and the directory has to stay the one it is.
    """
    taken: dict[str, int] = {}
    modes: list[tuple[Path, os.stat_result]] = [(new, os.stat(old))]
    for name, status in _entries(old):
        if name in gone or (name in FOLDERS and stat.S_ISDIR(status.st_mode)):
            continue
        place = new / name
        place.parent.mkdir(exist_ok=True)  # one of `FOLDERS`; the others came before what is in them
        if stat.S_ISDIR(status.st_mode):
            if status.st_dev != modes[0][1].st_dev:
                raise OSError(errno.EXDEV, "another disk is mounted in it")
            if name.startswith(".") and name.endswith(".partial"):
                raise OSError(errno.EBUSY, "another conversion writes into it")
            place.mkdir()
            modes.append((place, status))
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(old / name), place)
        else:
            os.link(old / name, place, **_ITSELF)
        taken[name] = status.st_ino
    for place, status in reversed(modes):
        _alike(place, old / place.relative_to(new), status)
    return taken


def drop_all_but(folder: Path, names: Collection[str]) -> None:
    """Undo `take_over`: only these files stay. Raises OSError."""
    for name in files_of(folder).keys() - names:
        os.unlink(folder / name)
    for inner in folders_of(folder):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(inner)


def keep_late(old: Path, target: Path, taken: dict[str, int], gone: Collection[str]) -> None:
    """Put what came into the old directory after `take_over` into the one that has its name now."""
    for name, status in list(_entries(old)):
        if name in gone or name in FOLDERS or taken.get(name) == status.st_ino:
            continue
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(status.st_mode):
                (target / name).mkdir(parents=True, exist_ok=True)
            elif name in taken or not os.path.lexists(target / name):
                os.replace(old / name, target / name)


def _entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All that a folder holds, with its name from there and what it is itself; folders before what is in them."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(folder / inner) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # it went in this very moment
                    found.append((f"{inner}/{entry.name}" if inner else entry.name, entry.stat(follow_symlinks=False)))
        for name, status in found:
            yield name, status
            if stat.S_ISDIR(status.st_mode):
                waiting.append(name)


def _alike(folder: Path, old: Path, status: os.stat_result) -> None:
    """Give a new folder the owner, the permissions and the attributes (ACLs, labels) of the one whose place it takes."""
    if hasattr(os, "listxattr"):
        for name in os.listxattr(old, follow_symlinks=False):
            value = os.getxattr(old, name, follow_symlinks=False)
            if name not in os.listxattr(folder, follow_symlinks=False) or os.getxattr(folder, name) != value:
                os.setxattr(folder, name, value, follow_symlinks=False)
    own = os.stat(folder)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):  # always (0, 0) on Windows, which has no chown
        os.chown(folder, status.st_uid, status.st_gid)
    os.chmod(folder, stat.S_IMODE(status.st_mode))


def folders_of(folder: Path) -> list[Path]:
    """A folder and all folders in it, the inner ones first."""
    inner = [folder / name for name, status in _entries(folder) if stat.S_ISDIR(status.st_mode)]
    return [*reversed(inner), folder]


def files_of(folder: Path) -> dict[str, State]:
    """Everything in a folder that is not a folder, by its name from there."""
    return {name: _state(status) for name, status in _entries(folder) if not stat.S_ISDIR(status.st_mode)}


def require_same(folder: Path, checked: Mapping[str, State], taken: Collection[str]) -> None:
    """Raise ChangedAfterCheckError where a file is not what it was when `files_of` saw it, or has come since."""
    for name in files_of(folder).keys() - checked.keys() - set(taken):
        raise ChangedAfterCheckError("it came after the check", file=folder / name)
    for name, state in checked.items():
        try:
            now = _state(os.lstat(folder / name))
        except OSError as error:
            raise ChangedAfterCheckError("it is gone since it was checked", file=folder / name) from error
        if now != state:
            raise ChangedAfterCheckError("it changed since it was checked", file=folder / name)


def _state(status: os.stat_result) -> State:
    return State(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
