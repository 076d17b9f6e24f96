"""What a journal says, done step by step: every step can be taken again after a kill, and taken back before the last one.

A file is known by its number. One in the staging folder has not been put in place yet, one at its place has, and anything else is
somebody else's: then nothing is touched. So it does not matter where a kill came.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from rosetta_ref.convert.publish import disk
from rosetta_ref.convert.publish import journal as journals
from rosetta_ref.convert.publish.journal import Journal
from rosetta_ref.convert.publish.names import FOLDERS, is_last
from rosetta_ref.formats.unfinished import JOURNAL, JournalError

#: Folders in the staging folder: what is put in place, and what was there before, under numbers.
NEW, OLD = "new", "old"


def in_order(names: list[str], target: str) -> list[str]:
    """The names as they are put in place: configuration, tokenizer and `rosetta/` first, then the weights."""
    return sorted(names, key=lambda name: (is_last(name, target), name))


def places(journal: Journal, folder: Path, target: Path) -> tuple[Path, Path]:
    """The folder where the new files wait, and the folder where they belong."""
    new = folder / NEW
    return (new / target.name, target) if journal.directory else (new, target.parent)


def require_known(journal: Journal, folder: Path, target: Path) -> None:
    """Raise JournalError where one of its files is neither where it waits nor where it belongs, or another stands there."""
    waiting, base = places(journal, folder, target)
    if not base.is_dir():
        raise _unknown(folder, base, "is gone")
    for name, number in journal.new.items():
        if number not in (disk.number(waiting, name), disk.number(base, name)):
            raise _unknown(folder, base / name, "neither waits nor is in its place")
    for name in [*journal.new, *journal.old]:
        if disk.number(base, name) not in (None, journal.new.get(name), journal.old.get(name)):
            raise _unknown(folder, base / name, "changed since")


def _unknown(folder: Path, path: Path, how: str) -> JournalError:
    return JournalError(f"{path} {how}", file=folder / JOURNAL, hint=journals.where(folder))


def carry_out(journal: Journal, folder: Path, target: Path) -> None:
    """Put away what is old, weights first; put in place what is new, weights last. Raises OSError."""
    waiting, base = places(journal, folder, target)
    for index, (name, number) in enumerate(journal.old.items()):
        if disk.number(base, name) == number:
            disk.move(base, name, folder / OLD, str(index))
    _flush(base, folder, journal)
    for name, number in journal.new.items():
        if is_last(name, target.name)[0]:
            _flush(base, folder, journal)
        if disk.number(waiting, name) == number:
            disk.move(waiting, name, base, name)
    _drop_empty(base, journal.old)
    _flush(base, folder, journal)


def take_back(journal: Journal, folder: Path, target: Path) -> None:
    """Undo all of it, the last step first. Raises OSError."""
    waiting, base = places(journal, folder, target)
    for name, number in reversed(list(journal.new.items())):
        if disk.number(base, name) == number:
            disk.move(base, name, waiting, name)
    for index, (name, number) in reversed(list(enumerate(journal.old.items()))):
        if disk.number(folder / OLD, str(index)) == number:
            disk.move(folder / OLD, str(index), base, name)
    _drop_empty(base, journal.new)
    _flush(base, folder, journal)


def _drop_empty(base: Path, moved: Mapping[str, int]) -> None:
    """Remove the folders of a model that files went out of, where nothing is left in them; an empty one may be somebody's own."""
    for inner in FOLDERS:
        if any(name.startswith(f"{inner}/") for name in moved):
            with contextlib.suppress(OSError):  # not there, or not empty
                os.rmdir(base / inner)


def _flush(base: Path, folder: Path, journal: Journal) -> None:
    for path in _touched(base, folder, journal):
        disk.flush(path)


def _touched(base: Path, folder: Path, journal: Journal) -> Iterator[Path]:
    """The folders in which names come and go, as far as they are there."""
    inner = {name.partition("/")[0] for name in [*journal.new, *journal.old] if "/" in name}
    yield from (base / name for name in sorted(inner) if os.path.isdir(base / name) and not os.path.islink(base / name))
    yield base
    yield folder / OLD
