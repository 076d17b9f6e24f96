"""What a converter has written, copied: files alone, of so many bytes, through no link, onto no link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import open_file

#: Bytes that a folder of an output counts for.
_LEAST = 4096


class UnwritableError(RosettaError):
    """What is left of a reduction can be written: there is room, and no link in the place of a file."""


def keep_output(target: Path, place: Path) -> None:
    """Copy an output, a file or a directory. What is no file in it, links too, stays away; files that are there are overwritten.

    Raises LimitExceededError and UnwritableError, which names the file.
    """
    left = limits.of("folder-bytes")
    for source in _files(target):
        made = place / source.relative_to(target) if source != target else place
        size = max(source.lstat().st_size, _LEAST)
        if size > left:
            raise limits.exceeded("folder-bytes", "the output is too large to be kept", file=source)
        left -= size
        _copy(source, made, size)


def _copy(source: Path, made: Path, most: int) -> None:
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        # Of another kind than a file: a pipe without a reader would be waited for.
        descriptor = os.open(made, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
        with open_file(source, follow=False) as file, os.fdopen(descriptor, "wb") as copied:
            while most > 0 and (data := file.read(min(most, 1 << 20))):
                most -= len(data)
                copied.write(data)
    except OSError as error:
        raise UnwritableError(f"cannot write: {error.strerror or error}", file=made) from error


def _files(target: Path) -> Iterator[Path]:
    """The files of an output; `target` itself where it is one."""
    if not target.is_dir() or target.is_symlink():
        yield target
        return
    left = limits.of("folder-bytes")
    for top, _, names in os.walk(target):
        left -= _LEAST
        if left < 0:
            raise limits.exceeded("folder-bytes", "the output has too many folders", file=top)
        for name in names:
            path = Path(top) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def write_text(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises UnwritableError, which names it."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UnwritableError(f"cannot write: {error.strerror or error}", file=path) from error
