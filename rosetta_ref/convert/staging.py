"""All or nothing: everything is written in a folder beside the target, checked there, then renamed into place.

A kill leaves at most a folder named `.TARGET.partial`, which the next run removes. Companions (configuration, tokenizer)
are renamed first and the weights last, so that a target that can be seen is whole; a journal in the folder names the companions
that already moved, and the next run takes those back too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.output import WriteError

_JOURNAL = "PUBLISHING.json"


class TargetExistsError(RosettaError):
    """An existing target, or an existing file beside it that would be replaced, needs --force."""


class SourceIsTargetError(RosettaError):
    """The source is never touched: the target is another file."""


def staging_folder(target: Path) -> Path:
    """Where the files of `target` are written before they are checked."""
    return target.with_name(f".{target.name}.partial")


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, removed on the way out whatever happens.

    Raises WriteError where the folder cannot be made.
    """
    folder = staging_folder(target)
    try:
        _sweep(folder, target)
        folder.mkdir(parents=False)
    except OSError as error:
        raise WriteError(f"cannot write beside the target: {error.strerror or error}", file=target) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path, target: Path) -> None:
    """Remove what a killed run left: its folder, and companions it had moved before the weights."""
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
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


def publish_file(folder: Path, target: Path, companions: Sequence[str], *, force: bool) -> None:
    """Rename companions, then the weights `folder/target.name`, next to and onto `target`."""
    refuse_existing(target, companions, force=force)
    if companions:
        record = {"weights": target.name, "companions": list(companions) if not force else []}
        (folder / _JOURNAL).write_text(json.dumps(record))
    for name in companions:
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target.parent / name)
    os.replace(folder / target.name, target)


def publish_folder(folder: Path, target: Path, *, force: bool) -> None:
    """Make the folder's content the directory `target`: one rename where nothing is there yet."""
    refuse_existing(target, (), force=force)
    if not target.exists():
        os.rename(folder, target)
        folder.mkdir()  # `staged` removes it
        return
    if not target.is_dir():
        raise TargetExistsError("is a file, and the target is a directory", file=target)
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    names.sort(key=lambda name: name.suffix == ".safetensors" and len(name.parts) == 1)
    stale = _weights_of(target) - {str(name) for name in names}
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target / name)
    for old in stale:
        (target / old).unlink()


def _weights_of(directory: Path) -> set[str]:
    """What a loader takes for weights, and what speaks of them: a stale shard would win over a new one."""
    found = {
        path.name for pattern in ("model*.safetensors", "*.safetensors.index.json") for path in directory.glob(pattern)
    }
    return found | {f"rosetta/{path.name}" for path in (directory / "rosetta").glob("*")}
