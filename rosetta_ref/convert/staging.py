"""All or nothing: everything is written in a folder beside the target, checked there, then put in its place.

`publish` says how. A kill leaves at most a folder named `.TARGET.partial` (and, of a manifest that lies elsewhere, files named
`.MANIFEST.partial` and `.MANIFEST.former.partial`), which the next run removes; where the kill came in the
middle of putting several files in place, the next run finishes that first.

Whoever has the lock on the folder owns it, whether they made it or found it; it is held until the folder is gone. So a run that
finds the folder of a killed one never removes what another has begun in it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from rosetta_ref.convert.publish import disk, journal, steps
from rosetta_ref.convert.publish.place import Place, place_of
from rosetta_ref.convert.publish.rules import (
    BusyTargetError,
    SourceIsTargetError,
    StagingFolderError,
    TargetExistsError,
    TargetKindError,
    refuse_clashes,
    refuse_existing,
    refuse_kinds,
)
from rosetta_ref.errors import RosettaError

try:
    import fcntl
except ImportError:  # Windows: two runs onto one target are not told apart there
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "BusyTargetError", "Place", "SourceIsTargetError", "StagingFolderError", "TargetExistsError", "TargetKindError", "place_of",
    "recover", "refuse_clashes", "refuse_existing", "refuse_kinds", "refuse_sources_within", "staged",
]  # fmt: skip
#: How often the folder may vanish between making and locking it: each time another run ended in that very moment.
_TRIES = 100


@contextlib.contextmanager
def staged(place: Place) -> Iterator[Place]:
    """The staging folder, locked, with nothing in it but where to write. It is gone afterwards, whatever happens.

    Raises WriteError where the folder cannot be made, BusyTargetError, StagingFolderError, JournalError.
    """
    with _held(place):
        with disk.naming(place.target):
            place.tree.mkdir(parents=True)
        yield place


def refuse_sources_within(place: Place, sources: Iterable[Path]) -> None:
    """Raise SourceIsTargetError where a source lies in the staging folder, or is called like it: that is emptied."""
    folder = Path(os.path.realpath(place.folder))
    for source in sources:
        if Path(os.path.realpath(source)).is_relative_to(folder):
            raise SourceIsTargetError(
                "it has the name of what this conversion writes meanwhile", file=source, hint="Give it another name."
            )


def recover(place: Place) -> None:
    """Finish what a killed run onto this target left half in place, remove what it only began. Raises as `staged`."""
    if os.path.lexists(place.folder):
        with _held(place):
            pass


@contextlib.contextmanager
def _held(place: Place) -> Iterator[None]:
    with disk.naming(place.target):
        lock = _locked(place.folder)
    try:
        _finish(place)
        try:
            yield
        finally:
            _leave(place)
    finally:
        if lock is not None:
            os.close(lock)


def _finish(place: Place) -> None:
    """Put in place what a killed run had decided to; then nothing in the folder is wanted. On an error nothing is touched."""
    record = journal.read(place.folder, place.target)
    with disk.naming(place.target):
        if record is not None:
            steps.require_known(record, place.folder, place.target)
            steps.carry_out(record, place.folder, place.target)
            journal.remove(place.folder)
        _require_ours(place.folder)
        disk.empty(place.folder)


def _require_ours(folder: Path) -> None:
    """Raise StagingFolderError where the folder holds what no run of ours put there: it would be removed."""
    odd = sorted(set(os.listdir(folder)) - {steps.NEW, steps.OLD, *journal.NAMES})
    if odd:
        raise StagingFolderError(
            f"{odd[0]!r} in it is not this program's",
            file=folder,
            hint="Remove the folder once nothing in it is wanted.",
        )


def _leave(place: Place) -> None:
    """Take back what is half in place: an error came. Where not even that is possible, the journal stays for the next run."""
    with contextlib.suppress(OSError, RosettaError):
        record = journal.read(place.folder, place.target)
        if record is not None:
            steps.take_back(record, place.folder, place.target)
            place.published = False
            journal.remove(place.folder)
        disk.empty(place.folder)
        os.rmdir(place.folder)


def _locked(folder: Path) -> int | None:
    """A descriptor of the folder, which is made where there is none, that holds a lock until it is closed, or the process ends.

    Raises BusyTargetError, StagingFolderError, OSError.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        _require_own(folder)
        if fcntl is None:
            return None
        try:
            lock = os.open(folder, disk.OPEN_FOLDER)
        except FileNotFoundError:
            continue  # another run is just done with it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(lock, folder):
                return lock
        except BlockingIOError:
            os.close(lock)
            break
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise BusyTargetError("another conversion is writing it", file=folder)


def _require_own(folder: Path) -> None:
    """Raise StagingFolderError where it is no folder, or somebody else's; a file of our own that is in the way is removed."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise StagingFolderError("it belongs to another user", file=folder, hint="Have it removed.")
    if stat.S_ISDIR(found.st_mode):
        return
    if not (stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and not found.st_size)):
        raise StagingFolderError("it is no folder", file=folder, hint="Remove it.")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder)  # a link is never followed


def _is_still(lock: int, folder: Path) -> bool:
    """Whether the folder that was locked has its name still: another run may have removed it, and a third made it anew."""
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(folder))
    except FileNotFoundError:
        return False
