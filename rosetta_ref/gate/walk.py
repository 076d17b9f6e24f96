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


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it: folders without permissions, too, and trees of any depth. Links are not followed."""
    flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        top = os.open(folder, flags)
        try:
            _empty(top, flags)
        finally:
            os.close(top)
        os.rmdir(folder)


def _empty(top: int, flags: int) -> None:
    """Flatten it: what a folder holds is moved up, so that a tree needs neither long paths nor recursion."""
    count, stuck = 0, False
    while not stuck and (names := os.listdir(top)):
        stuck = True
        for name in names:
            with contextlib.suppress(OSError):
                if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=top)
                    stuck = False
                    continue
                os.chmod(name, 0o700, dir_fd=top)
                inner = os.open(name, flags, dir_fd=top)
                try:
                    for each in os.listdir(inner):
                        count += 1
                        stuck &= not _up(each, inner, top, f".{count}.{os.getpid()}")
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
                stuck = False


def _up(name: str, inner: int, top: int, other: str) -> bool:
    """Remove a file, or move a folder up; whether that could be done."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=inner, follow_symlinks=False).st_mode):
            os.chmod(name, 0o700, dir_fd=inner)
            os.rename(name, other, src_dir_fd=inner, dst_dir_fd=top)
        else:
            os.unlink(name, dir_fd=inner)
    except OSError:
        return False
    return True
