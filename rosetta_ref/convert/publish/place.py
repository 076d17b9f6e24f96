"""Where one conversion is prepared, and the ways in which it gets to where it belongs."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.convert.publish import disk, journal, names, steps, tree
from rosetta_ref.convert.publish.journal import Journal
from rosetta_ref.convert.publish.names import PublishedNameError
from rosetta_ref.convert.publish.rules import TargetExistsError, TargetKindError, refuse_existing, refuse_kinds, stale
from rosetta_ref.formats.output import WriteError, create
from rosetta_ref.formats.unfinished import JOURNAL, staging_folder, staging_folder_within


@dataclass
class Place:
    """A target, and the staging folder beside it.

    `target` is the real directory where links led to the one that was named; `directory` says whether it is one. `within` says that
    the staging folder is in that directory: then its files are replaced one by one; `published`, that the target is the new one.
    """

    target: Path
    directory: bool
    within: bool = False
    published: bool = False
    taken: dict[str, int] | None = field(default=None, repr=False)
    checked: dict[str, tree.State] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> Path:
        """The staging folder: the lock, the journal, what is new, what is old."""
        return staging_folder_within(self.target) if self.within else staging_folder(self.target)

    @property
    def new(self) -> Path:
        """What comes into the folder of the target."""
        return self.folder / steps.NEW

    @property
    def tree(self) -> Path:
        """Where files are written: the new directory, or the folder of the new file and of those beside it."""
        return self.new / self.target.name if self.directory else self.new

    @property
    def weights(self) -> Path:
        """What is opened to read the new model."""
        return self.new / self.target.name

    def complete(self, names: set[str], manifest: str | None = None) -> None:
        """These files are written: make them durable, with what the old directory holds besides. Nothing changes from here on.

        `manifest` is the name of a file that is added later. Raises PublishedNameError where others were written, WriteError.
        """
        if odd := tree.files_of(self.tree).keys() ^ names:
            raise PublishedNameError("not what was planned is written", file=self.tree / min(odd))
        for name in sorted(names):
            with disk.naming(self.tree / name):
                disk.flush(self.tree / name)
        if self.directory and self.target.is_dir() and not (self.within or _is_here(self.target)):
            self._take_over(names, {manifest} if manifest else set())
        for path in tree.folders_of(self.new):
            with disk.naming(path):
                disk.flush(path)
        self.checked = {name: state for name, state in tree.files_of(self.tree).items() if name in names}

    def _take_over(self, names: set[str], later: set[str]) -> None:
        """Make the new directory whole. Where that is not possible, the old one stays, and its files are replaced one by one."""
        gone = {*names, *later, *stale(self.target, names, directory=True)}
        try:
            self.taken = tree.take_over(self.target, self.tree, gone)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WriteError(f"cannot write: {error.strerror}", file=self.target) from error
            with disk.naming(self.target):
                tree.drop_all_but(self.tree, names)

    def add(self, name: str, data: bytes) -> None:
        """One more file, which is no part of the model: the manifest. Raises WriteError."""
        create(self.tree / name, data)
        with disk.naming(self.tree / name):
            disk.flush(self.tree / name)
            disk.flush(self.tree)
        self.checked[name] = tree.files_of(self.tree)[name]

    def publish(self, *, force: bool, manifest: str | None = None) -> None:
        """Give everything its name. `manifest` is the name of a file that was added.

        Raises TargetExistsError, TargetKindError, ChangedAfterCheckError, WriteError, JournalError.
        """
        names = steps.in_order(list(self.checked), self.target.name)
        inner = names if self.directory else [name for name in names if name != self.target.name]
        refuse_existing(self.target, [] if self.directory else [n for n in inner if n != manifest], force=force)
        refuse_kinds(self.target, inner, directory=self.directory)
        tree.require_same(self.tree, self.checked, self.taken or {})
        old = stale(self.target, names, directory=self.directory)
        alone = not self.directory and not inner and not old
        with disk.naming(self.target):
            if alone and force:
                os.replace(self.weights, self.target)
            elif alone or (self.directory and not os.path.lexists(self.target)):
                self._as_new()
            elif self.taken is None or not self._exchanged({*names, *old}):
                self._one_by_one(names, old, manifest)
            self.published = True
            with contextlib.suppress(OSError):  # it is there, and a run that says that it failed leaves nothing
                disk.flush(self.target.parent)

    def _as_new(self) -> None:
        try:
            disk.rename_new(self.weights, self.target)
        except FileExistsError as error:
            raise TargetExistsError("was made in the meantime", file=self.target) from error

    def _exchanged(self, gone: Collection[str]) -> bool:
        if self.taken is None or not disk.exchange(self.tree, self.target):
            return False
        try:
            disk.flush(self.target.parent)
            tree.keep_late(self.tree, self.target, self.taken, gone)
        except OSError:
            disk.exchange(self.tree, self.target)  # a run that fails has replaced nothing
            raise
        return True

    def _one_by_one(self, names: list[str], old: list[str], manifest: str | None) -> None:
        base = self.target if self.directory else self.target.parent
        (self.folder / steps.OLD).mkdir(mode=0o700)
        new = {name: self.checked[name].number for name in names}
        there = {name: disk.number(base, name) for name in reversed(steps.in_order([*names, *old], self.target.name))}
        found = {name: number for name, number in there.items() if number is not None}
        record = Journal(self.target.name, self.directory, manifest, new, found)
        journal.write(record, self.folder, self.target)
        steps.carry_out(record, self.folder, self.target)
        self.published = True
        journal.remove(self.folder)

    def is_half_published(self) -> bool:
        """Whether the journal is there still: what was begun could not even be taken back."""
        return os.path.lexists(self.folder / JOURNAL)


def place_of(target: Path, *, directory: bool) -> Place:
    """The place of a target. Raises WriteError where it has no name, or no folder to be in; TargetKindError for a link.

    A link in somebody's folder could lead anywhere, and what it leads to would be replaced.
    """
    if directory and names.is_possible(target) and os.path.islink(target):
        raise TargetKindError("it is a link", file=target, hint="Name the directory that it leads to.")
    if directory and names.is_possible(target):
        target = Path(os.path.realpath(target))
    if not names.is_possible(target):
        raise WriteError("the system takes no such name", file=target)
    if not target.name:
        raise WriteError("it has no name of its own", file=target)
    if not target.parent.is_dir():
        raise WriteError("there is no such directory", file=target.parent)
    return Place(target, directory, within=directory and target.is_dir() and not _can_be_exchanged(target))


def _can_be_exchanged(target: Path) -> bool:
    """Whether something can be prepared beside a directory: it is no disk of its own, in a folder that may be written to."""
    return os.stat(target).st_dev == os.stat(target.parent).st_dev and os.access(target.parent, os.W_OK | os.X_OK)


def _is_here(target: Path) -> bool:
    """Whether whoever runs this is in that directory: it stays the one it is, or they would find themselves nowhere."""
    try:
        return Path(os.getcwd()).is_relative_to(target)
    except OSError:
        return False
