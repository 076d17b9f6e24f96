"""What is refused before anything is put in place: what would be lost, and what no model is written to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rosetta_ref import foreign
from rosetta_ref.convert.companions import is_companion
from rosetta_ref.convert.kept import FOLDER, SOURCE
from rosetta_ref.convert.publish.mixture import refuse_mixture, weights_there
from rosetta_ref.convert.publish.names import FOLDERS, is_file_or_link, kept_files, model_files
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.unfinished import staging_folder_within


class TargetExistsError(RosettaError):
    """An existing target, or an existing file beside it that would be replaced, needs --force."""


class TargetKindError(RosettaError):
    """What a conversion replaces is a file, a link to one, or a model directory: no pipe, device or socket, no other folder."""


class SourceIsTargetError(RosettaError):
    """The source is never touched: the target is another file."""


class BusyTargetError(RosettaError):
    """One conversion at a time writes a target."""


class StagingFolderError(RosettaError):
    """The folder in which a conversion is prepared is a directory of one's own."""


class ChangedAfterCheckError(RosettaError):
    """What is published is what was checked, file by file."""


def refuse_existing(target: Path, names: Sequence[str], *, force: bool) -> None:
    """Raise TargetExistsError where the target, or one of the files that go beside it, is there already."""
    if force:
        return
    if os.path.lexists(target) and not _is_empty_directory(target):
        raise TargetExistsError("already exists", file=target, hint="Use --force to replace it.")
    for name in names:
        if os.path.lexists(target.parent / name):
            raise TargetExistsError(
                "already exists beside the target", file=target.parent / name, hint="Use --force to replace it."
            )


def _is_empty_directory(path: Path) -> bool:
    """Whether there is nothing in it but where a conversion is prepared."""
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries} <= {staging_folder_within(path).name}
    except OSError:  # a file, or a directory that may not be listed
        return False


def refuse_clashes(target: Path, names: Sequence[str], protected: Iterable[Path], *, directory: bool) -> None:
    """Raise SourceIsTargetError where a file of the source would be replaced or removed, whatever --force says.

    `names` are the files to be written: in the target, or, for a target that is a file, beside it.
    """
    folder = target if directory else target.parent
    touched = [target, *(folder / name for name in [*names, *stale(target, names, directory=directory)])]
    source = {os.path.realpath(path) for path in protected}
    for path in touched:
        if os.path.realpath(path) in source:
            raise SourceIsTargetError("belongs to the source, and would be replaced", file=path)


def refuse_kinds(target: Path, names: Iterable[str], *, directory: bool) -> None:
    """Raise TargetKindError where something that is no file stands in the place of one, or a link in that of a folder."""
    base = target if directory else target.parent
    if directory and os.path.lexists(target) and not target.is_dir():
        raise TargetKindError("it is no directory", file=target)
    names = list(names)
    written = {name.partition("/")[0] for name in names}
    for folder in FOLDERS if directory or target.suffix.lower() == ".safetensors" else ():
        if not os.path.islink(base / folder):
            continue
        # Its files would be read as those of the new model.
        if directory or folder in written or (folder == FOLDER and os.path.lexists(base / FOLDER / SOURCE)):
            raise TargetKindError("a link stands where a folder of the model goes", file=base / folder)
    for name in names if directory else [target.name, *names]:
        folder, _, inner = name.rpartition("/")
        if inner and folder and os.path.lexists(base / folder) and not (base / folder).is_dir():
            raise TargetKindError("no folder of the model can be made there", file=base / folder)
        if os.path.lexists(base / name) and not is_file_or_link(base / name):
            raise TargetKindError("it is no file, and would be replaced by one", file=base / name)


def stale(target: Path, names: Iterable[str], *, directory: bool) -> list[str]:
    """Files of the model that stood there before, which a loader would take for parts of the new one."""
    if directory:
        return sorted({*model_files(target), *weights_there(target)} - set(names))
    beside = _companions_of(target)
    if beside is None:
        return []
    own = [name for name in beside if is_companion(name) and is_file_or_link(target.parent / name)]
    return sorted({*kept_files(target.parent), *own} - set(names))


def refuse_mixed(target: Path, names: Sequence[str], *, directory: bool) -> None:
    """Raise MixedModelError as `mixture.refuse_mixture`: what will be read is what is written, and nothing else."""
    refuse_mixture(target, names, stale(target, names, directory=directory), directory=directory)


def _companions_of(target: Path) -> list[str] | None:
    """The files that the `rosetta/` beside a file says are its own; None where that belongs to another file of the folder."""
    path = target.parent / FOLDER / SOURCE
    if target.suffix.lower() != ".safetensors" or not os.path.lexists(path):
        return None
    try:
        record = foreign.json_object(foreign.read_file(path, follow=False), file=path)
    except RosettaError:
        return None
    beside = record.get("companions")
    return list(beside) if record.get("weights") == [target.name] and isinstance(beside, dict) else None
