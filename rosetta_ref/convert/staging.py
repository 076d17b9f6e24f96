"""All or nothing: everything is written in a folder beside the target, checked there, then renamed into place.

A kill leaves at most a folder named `.TARGET.partial`, which the next run removes. Companions (configuration, tokenizer)
are renamed first and the weights last, so that a target that can be seen is whole; a journal in the folder names the companions
that already moved, and the next run takes those back too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rosetta_ref.convert.kept import BLOCKS, FOLDER, SOURCE
from rosetta_ref.convert.source import COMPANIONS
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.output import WriteError

try:
    import fcntl
except ImportError:  # Windows: two runs onto one target are not told apart there
    fcntl = None  # type: ignore[assignment]

_JOURNAL = "PUBLISHING.json"
_KEPT = (f"{FOLDER}/{SOURCE}", f"{FOLDER}/{BLOCKS}")
#: What a loader takes for the weights of a directory, and what speaks of them.
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


class TargetExistsError(RosettaError):
    """An existing target, or an existing file beside it that would be replaced, needs --force."""


class SourceIsTargetError(RosettaError):
    """The source is never touched: the target is another file."""


class BusyTargetError(RosettaError):
    """One conversion at a time writes a target."""


def staging_folder(target: Path) -> Path:
    """Where the files of `target` are written before they are checked."""
    return target.with_name(f".{target.name}.partial")


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, removed on the way out whatever happens.

    Raises WriteError where the folder cannot be made.
    """
    folder = staging_folder(target)
    if not target.parent.is_dir():
        raise WriteError("there is no such directory", file=target.parent)
    try:
        _sweep(folder, target)
        folder.mkdir(parents=False)
        lock = _lock(folder)
    except OSError as error:
        raise WriteError(f"cannot write beside the target: {error.strerror or error}", file=target) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path) -> int:
    """A descriptor of the folder that holds a lock until it is closed, or the process ends. Raises BusyTargetError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BusyTargetError("another conversion is writing it", file=folder) from None
    return descriptor


def _sweep(folder: Path, target: Path) -> None:
    """Remove what a killed run left: its folder, and companions it had moved before the weights."""
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    os.close(_lock(folder))
    journal = folder / _JOURNAL
    if journal.exists():
        with contextlib.suppress(ValueError):  # a journal cut off by the kill: nothing had moved yet
            record = json.loads(journal.read_text())
            if (folder / record["weights"]).exists():
                for name in record["companions"]:
                    if not (folder / name).exists():
                        (target.parent / name).unlink(missing_ok=True)
    shutil.rmtree(folder)


def refuse_existing(target: Path, names: Sequence[str], *, force: bool) -> None:
    """Raise TargetExistsError where the target, or one of the files that go beside it, is there already."""
    if force:
        return
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise TargetExistsError("already exists", file=target, hint="Use --force to replace it.")
    for name in names:
        if (target.parent / name).exists():
            raise TargetExistsError(
                "already exists beside the target", file=target.parent / name, hint="Use --force to replace it."
            )


def refuse_clashes(target: Path, names: Sequence[str], protected: Iterable[Path], *, directory: bool) -> None:
    """Raise SourceIsTargetError where a file of the source would be replaced or removed, whatever --force says.

    `names` are the files to be written: in the target, or, for a target that is a file, beside it.
    """
    folder = target if directory else target.parent
    touched = [target, *(folder / name for name in [*names, *stale(target, names, directory=directory)])]
    source = {path.resolve() for path in protected}
    for path in touched:
        if path.resolve() in source:
            raise SourceIsTargetError("belongs to the source, and would be replaced", file=path)


def stale(target: Path, names: Sequence[str], *, directory: bool) -> list[str]:
    """Files of the model that stood there before, which a loader would take for parts of the new one."""
    if directory:
        here = [path.name for path in target.iterdir()] if target.is_dir() else []
        found = [name for name in here if _WEIGHTS.fullmatch(name) or name in COMPANIONS]
        return sorted({*found, *(name for name in _KEPT if (target / name).is_file())} - set(names))
    if target.suffix.lower() != ".safetensors" or not _keeps_for(target):
        return []
    return [name for name in _KEPT if (target.parent / name).is_file() and name not in names]


def _keeps_for(target: Path) -> bool:
    """Whether the `rosetta/` beside a file belongs to it, and not to another file of the folder."""
    try:
        return bool(json.loads((target.parent / FOLDER / SOURCE).read_bytes())["weights"] == [target.name])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink()
    with contextlib.suppress(OSError):  # not there, or not empty
        (folder / FOLDER).rmdir()


def publish_file(folder: Path, target: Path, companions: Sequence[str], *, force: bool) -> None:
    """Rename companions, then the weights `folder/target.name`, next to and onto `target`."""
    refuse_existing(target, companions, force=force)
    old = stale(target, companions, directory=False)
    if companions:
        record = {"weights": target.name, "companions": list(companions) if not force else []}
        (folder / _JOURNAL).write_text(json.dumps(record))
    for name in companions:
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target.parent / name)
    if old:
        _remove(target.parent, old)
    os.replace(folder / target.name, target)


def publish_folder(folder: Path, target: Path, *, force: bool) -> None:
    """Make the folder's content the directory `target`: one rename where nothing is there yet."""
    refuse_existing(target, (), force=force)
    if not target.exists():
        os.rename(folder, target)
        folder.mkdir()  # `staged` removes it
        return
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names.sort(key=lambda name: name.suffix == ".safetensors" and len(name.parts) == 1)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target / name)
    _remove(target, stale(target, [str(name) for name in names], directory=True))
