"""Files beside a file: shards, parts, companions. They lie in the model's own folder, and a link does not lead out of it.

A folder from a stranger may hold `tokenizer.json -> ~/.ssh/id_ed25519`; whoever converts it and hands on the result would hand on
the key. So a file that its user did not name himself is read only where it really lies in the folder, or, in Hugging Face's
cache, among the blobs of the same model (`models--X/snapshots/REV/NAME -> ../../blobs/HASH`). Hard links cannot be told from files.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import NotAFileError, PointerError, UnreadableTextError, open_file, read_file

#: What `kind_of` says of a path where nothing is.
NOTHING = None
#: What the names of files end in that a model is made of: a picture that was not downloaded is no loss.
_OF_MODELS = (".json", ".safetensors", ".model", ".jinja", ".txt", ".tiktoken", ".v3")


class OutsideLinkError(RosettaError):
    """A file beside the weights is no link out of the model's folder, but for Hugging Face's cache: into the blobs of its model."""


def kind_of(path: Path) -> int | None:
    """The kind of what stands there (`stat.S_IFREG` ...), a link for itself; NOTHING where nothing does."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (OSError, ValueError):
        return NOTHING


def require_inside(path: Path, folder: Path) -> Path:
    """Where a file of that folder really lies. The folder itself may be reached by links.

    Raises OutsideLinkError where a link leads out of the folder; NotAFileError where links go in circles; UnreadableTextError
    where one leads nowhere.
    """
    try:
        real, root = Path(os.path.realpath(path, strict=True)), Path(os.path.realpath(folder, strict=True))
    except (OSError, ValueError, RuntimeError) as error:
        if kind_of(path) is NOTHING or isinstance(error, (FileNotFoundError, PermissionError)):
            raise UnreadableTextError(f"cannot read: {getattr(error, 'strerror', None) or error}", file=path) from error
        raise NotAFileError("its links go in circles", file=path) from error
    if not real.is_relative_to(root) and real.parent != _blobs(root):
        raise OutsideLinkError("it is a link out of the model's folder", file=path, hint="A copy in its place will do.")
    return real


def _blobs(root: Path) -> Path | None:
    """Where Hugging Face's cache has the files of the model that a folder is a snapshot of."""
    for snapshot in (root, *root.parents):
        cache = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and cache.name.startswith("models--"):
            return cache / "blobs"
    return None


def require_downloaded(path: Path) -> None:
    """Raise PointerError where a file of a model's folder is what `git clone` leaves in its place without Git LFS."""
    if not path.is_dir():
        return
    for entry in sorted(os.scandir(path), key=lambda one: one.name):
        if entry.name.endswith(_OF_MODELS) and kind_of(path / entry.name) == stat.S_IFREG:
            try:
                open_file(entry.path, follow=False).close()
            except PointerError:
                raise
            except RosettaError:  # who needs it is told
                continue


def read_beside(folder: Path, name: str, limit: str = "companion-bytes") -> bytes:
    """The bytes of a file of that folder. Raises as `require_inside` and `foreign.read_file`."""
    path = folder / name
    try:
        return read_file(require_inside(path, folder), limit, follow=False)
    except RosettaError as error:
        error.file = path
        raise
