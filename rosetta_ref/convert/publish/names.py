"""The names that publishing may give: of weights, of the files beside them, of what is kept, of the manifest."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from rosetta_ref.convert.companions import TEMPLATES, is_companion, is_weights
from rosetta_ref.convert.kept import BLOCKS, FOLDER, SOURCE
from rosetta_ref.errors import RosettaError

KEPT = (f"{FOLDER}/{SOURCE}", f"{FOLDER}/{BLOCKS}")
#: Folders of a model: what else lies in them is somebody else's.
FOLDERS = (FOLDER, TEMPLATES)
#: What a loader takes for the weights of a directory, and what speaks of them.
LOADED = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
INDEX_SUFFIX = ".safetensors.index.json"


class PublishedNameError(RosettaError):
    """A conversion writes weights, their index, files that a model has beside them, and `rosetta/`: each once, and nothing else."""


def is_index(name: str) -> bool:
    """Whether a file of that name says which file holds which tensor."""
    return name.endswith(INDEX_SUFFIX) and is_weights(name.removesuffix(".index.json"))


def require_names(files: Iterable[str], shards: Iterable[str], *, directory: bool) -> None:
    """Raise PublishedNameError where what a plan names is not what a model has, or a name stands twice.

    `files` go beside the weights, `shards` are weights. In a `directory` an index may stand among the files: a remembered one is
    the very file that the directory had. The name of a file of its own is the user's.
    """
    files, shards = list(files), list(shards)
    seen: set[str] = set()
    for name in [*files, *shards]:
        # Some file systems take upper and lower case for the same.
        if name.casefold() in seen:
            raise PublishedNameError(f"{name!r} would be written twice")
        seen.add(name.casefold())
    for name in files:
        if not is_companion(name) and not (directory and is_index(name)):
            raise PublishedNameError(f"{name!r} is no file that a model has beside its weights")
    for name in shards if directory else ():
        if not is_weights(name):
            raise PublishedNameError(f"{name!r} is no name for weights")


def may_be_published(name: str, target: str, *, directory: bool, manifest: str | None) -> bool:
    """Whether publishing can have written a file of that name: in the directory `target`, or beside and as the file `target`."""
    if name == manifest:
        return True
    if directory:
        return is_companion(name) or is_index(name) or is_weights(name) or name in KEPT
    if name == target:
        return is_plain(name)
    return target.lower().endswith(".safetensors") and (is_companion(name) or name in KEPT)


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return name not in ("", ".", "..") and not any(letter in name for letter in "/\\\0")


def is_possible(path: Path) -> bool:
    """Whether the system can have a file of that name at all."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def is_last(name: str, target: str) -> tuple[bool, bool]:
    """The order in which files are put in place: weights last, and the one that a loader looks for first at the very end."""
    return name == target or is_weights(name) or is_index(name), name == "model.safetensors" or is_index(name)


def model_files(folder: Path) -> list[str]:
    """The files of a directory, or links, that loaders take for parts of one model."""
    found = [name for name in listed(folder) if LOADED.fullmatch(name) or is_companion(name)]
    found += [f"{TEMPLATES}/{name}" for name in listed(folder / TEMPLATES) if is_companion(f"{TEMPLATES}/{name}")]
    return [name for name in found if is_file_or_link(folder / name)] + kept_files(folder)


def kept_files(folder: Path) -> list[str]:
    """The files of `rosetta/` in a folder."""
    found = [f"{FOLDER}/{name}" for name in listed(folder / FOLDER) if f"{FOLDER}/{name}" in KEPT]
    return [name for name in found if is_file_or_link(folder / name)]


def is_file_or_link(path: Path) -> bool:
    """Whether a file or a link stands there: no folder, pipe or device."""
    with contextlib.suppress(OSError, ValueError):
        mode = os.lstat(path).st_mode
        return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
    return False


def listed(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no folder. A link to one is not looked through."""
    with contextlib.suppress(OSError, ValueError):
        if not os.path.islink(folder):
            return sorted(os.listdir(folder))
    return []
