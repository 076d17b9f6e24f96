"""Folders that a converter filled: looked at without following a link or opening anything, and removed whatever is in them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosetta_ref import limits

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing in a folder, by what its own inode says: `kind` is file, directory, link, pipe, socket or device."""

    path: Path
    kind: str
    size: int
    #: Bytes that it takes on the disk: fewer than its size where it has holes.
    stored: int
    mtime: int
    identity: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> Item:
        """What is there. Raises OSError."""
        about = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(about.st_mode), "device")
        stored = 512 * getattr(about, "st_blocks", 0)
        return cls(path, kind, about.st_size, stored, about.st_mtime_ns, (about.st_dev, about.st_ino))


def items(path: Path) -> Iterator[Item]:
    """The thing itself and all below it, in the order of names; nothing where nothing is.

    Raises OSError for a folder that cannot be listed, and LimitExceededError for more things than an output may have.
    """
    waiting, count = [path], 0
    while waiting:
        try:
            item = Item.of(waiting.pop())
        except FileNotFoundError:
            continue
        count += 1
        limits.require("output-files", count, "it holds more files", file=path)
        yield item
        if item.kind == "directory":
            with os.scandir(item.path) as listed:
                names = []
                for entry in listed:
                    names.append(entry.name)
                    limits.require("output-files", count + len(names), "it holds more files", file=path)
            waiting += [item.path / name for name in sorted(names, reverse=True)]


def regular_files(path: Path) -> list[Path]:
    """The regular files among them; links are not followed. Raises as `items`."""
    return [item.path for item in items(path) if item.kind == "file"]


def bytes_behind(path: Path) -> int:
    """The bytes of all files of a model, also behind links, as a cache has them; each file once. Raises as `items`."""
    sizes: dict[tuple[int, int], int] = {}
    for item in items(Path(os.path.realpath(path))):
        if item.kind == "file":
            sizes[item.identity] = item.size
        elif item.kind == "link":
            with contextlib.suppress(OSError):  # it leads nowhere
                about = os.stat(item.path)
                if stat.S_ISREG(about.st_mode):
                    sizes[about.st_dev, about.st_ino] = about.st_size
    return sum(sizes.values())


def stored_bytes(folder: str | os.PathLike[str], most: int) -> int:
    """What a folder takes on the disk, counted no further than past `most`; what cannot be looked at counts nothing."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting and total <= most:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as listed:
            for entry in listed:
                with contextlib.suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    total += 512 * getattr(about, "st_blocks", 0)
                    if stat.S_ISDIR(about.st_mode):
                        waiting.append(entry.path)
    return total


_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it: folders without permissions, too, and trees of any depth. Links are not followed."""
    with contextlib.suppress(OSError):
        if stat.S_ISLNK(os.lstat(folder).st_mode):
            return
        os.chmod(folder, 0o700)
        _empty(os.open(folder, _DIRECTORY))
        os.rmdir(folder)


@dataclass
class _Level:
    """A folder on the way down: its name in the one above, which folder it is, and those in it that are still to be emptied."""

    name: str
    identity: tuple[int, int]
    folders: list[str]


def _empty(current: int) -> None:
    """Down into each folder and up again by "..": neither long paths nor recursion, and one descriptor. Closes it."""
    levels = [_level("", current)]
    try:
        while levels:
            if levels[-1].folders:
                name = levels[-1].folders.pop()
                with contextlib.suppress(OSError):
                    os.chmod(name, 0o700, dir_fd=current)
                    inner = os.open(name, _DIRECTORY, dir_fd=current)
                    os.close(current)
                    current = inner
                    levels.append(_level(name, current))
                continue
            done = levels.pop()
            if levels:
                above = os.open("..", _DIRECTORY, dir_fd=current)
                os.close(current)
                current = above
                if _identity(current) != levels[-1].identity:  # somebody moves it about: what is above is not ours
                    return
                with contextlib.suppress(OSError):
                    os.rmdir(done.name, dir_fd=current)
    finally:
        os.close(current)


def _level(name: str, current: int) -> _Level:
    """A folder, with all removed that is none."""
    folders = []
    with contextlib.suppress(OSError):
        for each in os.listdir(current):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(each, dir_fd=current, follow_symlinks=False).st_mode):
                    folders.append(each)
                else:
                    os.unlink(each, dir_fd=current)
    return _Level(name, _identity(current), folders)


def _identity(current: int) -> tuple[int, int]:
    about = os.fstat(current)
    return about.st_dev, about.st_ino
