"""How large a source or an output is, before anybody looks into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rosetta_ref.errors import RosettaError


class UndiagnosedError(RosettaError):
    """What a diagnosis looks at is a source and an output, of any content."""


def size_of(source: Path) -> int:
    """The bytes of a file, or of all files of a directory."""
    try:
        about = source.stat()
        if not stat.S_ISDIR(about.st_mode):
            if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for
                raise UndiagnosedError("it is no regular file", file=source)
            return about.st_size
        files = [Path(top) / name for top, _, names in os.walk(source) for name in names]
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError as error:
        raise UndiagnosedError(f"cannot read: {error.strerror or error}", file=error.filename or source) from error
