"""The temporary files of a run in memory, where the system has such a place.

A run makes and removes some hundred thousand small files and folders, and each published file is synchronised: on a disk that
is half of its time. What a disk adds, that a file survives a power cut, no test can see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

with contextlib.suppress(ImportError):  # where there is no such place in memory either
    import fcntl

MEMORY = Path("/dev/shm")
#: A run needs less than a third of it at a time.
ROOM = 3 << 30
_PREFIX = "rosetta-tests-"


def move() -> Path | None:
    """Make a folder in memory and let TMPDIR name it, for this process and those that it starts; None where it stays as it is.

    It stays where TMPDIR is set already, as in workers of xdist, and where memory has no room or may not hold programs.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    place = os.statvfs(MEMORY)
    if place.f_flag & os.ST_NOEXEC or place.f_bavail * place.f_frsize < ROOM:
        return None
    _sweep()
    while not _hold(folder := Path(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY))):
        pass
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def _hold(folder: Path) -> bool:
    """Lock a new folder while this process lives; False where somebody has swept it away meanwhile."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    except FileNotFoundError:
        return False
    return folder.is_dir()


def _sweep() -> None:
    """Remove what runs have left that are over: those that failed keep their files for a look, those that were killed all."""
    for folder in MEMORY.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
