"""Files of strangers: opened and read without waiting, and what the system says of them as declared errors."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign.rules import (
    DepthError,
    ForeignTextError,
    LinkedFileError,
    MemoryRefusalError,
    NoFileError,
    NotAFileError,
    PointerError,
    SystemRefusalError,
    UnreadableTextError,
)

#: How a pointer of Git LFS begins, and the most bytes that one has (git-lfs, docs/spec.md; the second is from before its release).
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
_POINTER_BYTES = 1024

_Asked = ParamSpec("_Asked")
_Given = TypeVar("_Given")


def open_file(path: str | Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file to be read; never waits (a pipe without a writer), never makes a terminal its own.

    `follow=False` refuses a symbolic link. Raises NotAFileError, LinkedFileError, UnreadableTextError, PointerError.
    """
    return os.fdopen(open_descriptor(path, follow=follow), "rb")


def open_descriptor(path: str | Path, *, follow: bool = True) -> int:
    """The same, as a descriptor that is the caller's to close. Raises as `open_file`."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
    flags |= getattr(os, "O_BINARY", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _refused(error, path, follow=follow) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError("it is no regular file", file=path)
    try:
        _require_downloaded(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_downloaded(descriptor: int, path: str | Path) -> None:
    """Raise PointerError where a file is what `git clone` leaves in its place without Git LFS."""
    if os.fstat(descriptor).st_size >= _POINTER_BYTES:
        return
    try:
        head = os.read(descriptor, max(map(len, _POINTERS)))
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:  # who reads it is told
        return
    if head.startswith(_POINTERS):
        problem = "a Git LFS pointer: the file itself was not downloaded"
        raise PointerError(problem, file=path, hint="git lfs pull downloads it.")


def _refused(error: OSError | ValueError, path: str | Path, *, follow: bool) -> ForeignTextError:
    code = getattr(error, "errno", None)
    if code == errno.ELOOP and not follow:
        return LinkedFileError("it is a symbolic link", file=path)
    if code in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return NotAFileError("it is no regular file", file=path)
    kind = NoFileError if code in (errno.ENOENT, errno.ENOTDIR) else UnreadableTextError
    return kind(f"cannot read: {getattr(error, 'strerror', None) or error}", file=path)


def naming(function: Callable[_Asked, _Given]) -> Callable[_Asked, _Given]:
    """For a function whose first argument is a file: its errors are declared ones, and name that file or another one."""

    @functools.wraps(function)
    def named(*args: _Asked.args, **options: _Asked.kwargs) -> _Given:
        file = Path(str(args[0]))
        for path in args:
            _require_name(path)
        try:
            return function(*args, **options)
        except RosettaError as error:
            raise error.at(file=file) from error.__cause__
        except OSError as error:
            about = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else file
            kind = NoFileError if isinstance(error, FileNotFoundError) else SystemRefusalError
            raise kind(f"{error.strerror or error}", file=about) from error
        except RecursionError as error:
            raise DepthError("values in it are nested too deeply", file=file) from error
        except RuntimeError as error:  # what Path.resolve makes of links that lead to each other, before Python 3.13
            if not str(error).startswith("Symlink loop"):
                raise
            raise NotAFileError(str(error), file=file) from error
        except MemoryError as error:
            raise MemoryRefusalError("out of memory", file=file) from error

    return named


def _require_name(path: object) -> None:
    """Raise UnreadableTextError where no file can have that name: with a NUL, or with what no encoding has."""
    if isinstance(path, (str, Path)):
        try:
            if b"\0" in os.fsencode(path):
                raise UnreadableTextError("a NUL is in the name", file=path)
        except UnicodeEncodeError as error:
            raise UnreadableTextError("half a surrogate pair is in the name", file=path) from error


def read_file(path: str | Path, limit: str = "companion-bytes", *, follow: bool = True) -> bytes:
    """The bytes of a regular file, of at most that limit. Raises as `open_file`, and LimitExceededError."""
    with open_file(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        limits.require(limit, size, "the file", file=path)
        try:
            data = file.read(size + 1)
        except OSError as error:
            raise _refused(error, path, follow=follow) from error
    if len(data) != size:
        raise UnreadableTextError(f"it had {size} bytes, and another number a moment later", file=path)
    return data
