"""Single steps on the disk. None of them follows a link, and each says which file it was that could not be written."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from rosetta_ref.formats.output import cannot_write

#: How a folder is opened, and no link to one.
OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
#: Whether folders are opened and names taken from there: a folder that somebody changes for a link meanwhile is not followed.
_BY_DESCRIPTOR = os.rename in os.supports_dir_fd and os.mkdir in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
#: What systems say that cannot exchange these two, or not at all; anything else is a failure.
_CANNOT = {
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EBUSY,
    errno.EPERM,
    errno.EACCES,
}
_AT_FDCWD = -100
#: How many folders within each other are removed by functions within each other.
_DEEP = 32


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system inside are WriteErrors that name the file."""
    try:
        yield
    except OSError as error:
        raise cannot_write(error, path) from error


@contextlib.contextmanager
def parent_of(base: Path, name: str, *, make: bool = False) -> Iterator[tuple[int | None, str]]:
    """A descriptor of the folder of `base/name`, and what the file is called from there.

    No part of `name` may be a link; `make` makes folders that are missing. Where the system has no such descriptors it is None, and
    a path. Raises OSError.
    """
    *folders, leaf = PurePosixPath(name).parts
    if not _BY_DESCRIPTOR:
        for depth in range(1, len(folders) + 1):
            between = base.joinpath(*folders[:depth])
            if make and not os.path.lexists(between):
                between.mkdir()
            if not stat.S_ISDIR(os.lstat(between).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a link or a file stands where a folder goes")
        yield None, str(base.joinpath(*folders, leaf))
        return
    with contextlib.ExitStack() as close:
        descriptor = os.open(base, OPEN_FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
        close.callback(os.close, descriptor)
        for folder in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            descriptor = os.open(folder, OPEN_FOLDER, dir_fd=descriptor)
            close.callback(os.close, descriptor)
        yield descriptor, leaf


def status(base: Path, name: str) -> os.stat_result | None:
    """What stands at `base/name` itself, be it a link; None where nothing does, or a folder on the way is a link."""
    try:
        with parent_of(base, name) as (folder, leaf):
            return os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def number(base: Path, name: str) -> int | None:
    """The file number of what stands there, be it a link; None where nothing does."""
    found = status(base, name)
    return None if found is None else found.st_ino


def move(base: Path, name: str, to: Path, new_name: str) -> None:
    """Rename a file; folders on the way to the new name are made. Raises OSError."""
    with parent_of(base, name) as (folder, leaf), parent_of(to, new_name, make=True) as (new_folder, new_leaf):
        os.replace(leaf, new_leaf, src_dir_fd=folder, dst_dir_fd=new_folder)


@contextlib.contextmanager
def waiting(durable: bool) -> Iterator[None]:
    """Whether `flush` waits, as long as the block runs."""
    before = _waits.set(durable)
    try:
        yield
    finally:
        _waits.reset(before)


_waits = ContextVar("waits", default=True)


def flush(path: Path) -> None:
    """Wait until the disk has a file, or the names of a folder. Raises OSError."""
    if not _waits.get():
        return
    folder = stat.S_ISDIR(os.lstat(path).st_mode)
    if os.name == "nt" and folder:
        return
    flags = OPEN_FOLDER if folder else (os.O_RDWR if os.name == "nt" else os.O_RDONLY) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except PermissionError:
        if folder:  # one that may be written to and not read: there is nothing to wait with
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise  # else there are file systems that cannot wait for a folder
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Give each of two the other's name, in one step; False where this system cannot. Raises OSError."""
    code = _renamed(one, other, "exchange")
    if code == 0:
        return True
    if code is None or code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code))


def rename_new(path: Path, name: Path) -> None:
    """Rename to a name that nothing has. Raises OSError, FileExistsError among them."""
    code = _renamed(path, name, "new")
    if code == 0:
        return
    if code is not None and code not in _CANNOT:
        raise OSError(code, os.strerror(code))
    if os.path.lexists(name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(path, name)


def _renamed(path: Path, name: Path, how: str) -> int | None:
    """The number of the error, 0 for none, None where the system has no such call."""
    call = _system_call()
    if call is None:
        return None
    function, flags = call
    if sys.platform == "darwin":
        done = function(os.fsencode(path), os.fsencode(name), flags[how])
    else:
        done = function(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(name), flags[how])
    return 0 if done == 0 else ctypes.get_errno()


@cache
def _system_call() -> tuple[Callable[..., Any], dict[str, int]] | None:
    """Linux's `renameat2` (since 3.15, in glibc 2.28), macOS' `renamex_np`, with their flags."""
    name, flags = {
        "linux": ("renameat2", {"new": 1, "exchange": 2}),
        "darwin": ("renamex_np", {"exchange": 2, "new": 4}),
    }.get(sys.platform, ("", {}))
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name) if name else None
    except (OSError, AttributeError, TypeError):
        return None
    return None if function is None else (function, flags)


def empty(folder: Path) -> None:
    """Remove all that a folder holds, however deep. Raises OSError."""
    if not _BY_DESCRIPTOR:
        _empty_by_name(folder)
        return
    descriptor = os.open(folder, OPEN_FOLDER)
    try:
        while names := os.listdir(descriptor):
            for name in names:
                _remove(name, descriptor, descriptor)
    finally:
        os.close(descriptor)


def _remove(name: str, folder: int, top: int, depth: int = 0) -> None:
    """Remove a file, or a folder with all that is in it; what is deep is lifted out to the `top` first, under a name of chance."""
    if not _is_folder(name, folder):
        os.unlink(name, dir_fd=folder)
        return
    if depth == _DEEP:
        os.rename(name, os.urandom(8).hex(), src_dir_fd=folder, dst_dir_fd=top)
        return
    inner = os.open(name, OPEN_FOLDER, dir_fd=folder)
    try:
        for one in os.listdir(inner):
            _remove(one, inner, top, depth + 1)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _is_folder(name: str, folder: int) -> bool:
    """Whether it is a folder; one that is to be removed, and may be changed from now on."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    with contextlib.suppress(OSError):
        try:
            descriptor = os.open(name, OPEN_FOLDER, dir_fd=folder)
        except PermissionError:
            os.chmod(name, 0o700, dir_fd=folder)
            return True
        with contextlib.ExitStack() as close:  # by its descriptor: the name may be a link by now
            close.callback(os.close, descriptor)
            os.fchmod(descriptor, 0o700)
    return True


def _empty_by_name(folder: Path) -> None:
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in folders:
            inner = os.path.join(path, name)
            (os.unlink if os.path.islink(inner) else os.rmdir)(inner)
