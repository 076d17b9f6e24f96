"""What a malformed file is: a valid one, its twin, with one rule broken by a few edits; and the verdict on whoever accepts it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError

#: "may accept" means: if what comes out is right. A crash, a hang and rubbish are wrong everywhere.
MUST_REFUSE, MAY_ACCEPT = "must refuse", "may accept"

#: Bytes from start to stop of the twin become others; edits of one file do not overlap.
Edit = tuple[int, int, bytes]
File = TypeVar("File")


#: Tensors, or keys, of a file that somebody else wrote.
_COUNT = 1000


class NoTwinError(RosettaError):
    """A malformed file is made from a valid one that holds data, and of a converter's own output only where that is small."""


@dataclass(frozen=True)
class Malformed:
    """A file that breaks one rule. `rule` is "format/rule", cuts are "format/cut/what is cut@offset".

    `twin` is the valid file or Hugging Face directory that it was made from: a refusal counts only where the twin is accepted.
    `file` is what is edited, seen from the twin: its own name, or a file of the directory; `others` are files of the directory
    that are there with other bytes, or, with None, not at all.
    """

    rule: str
    verdict: str
    source: str
    twin: Path
    file: str
    edits: tuple[Edit, ...]
    others: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def format(self) -> str:
        """gguf, apr, safetensors, or directory."""
        return self.rule.split("/", 1)[0]

    def data(self) -> bytes:
        """The bytes of the broken file."""
        folder = self.twin if self.twin.is_dir() else self.twin.parent
        return edited((folder / self.file).read_bytes(), self.edits)

    def write(self, folder: Path) -> Path:
        """Write it into a folder, with what stands beside it; the path to give to a converter, named as its twin."""
        target = folder / self.twin.name
        if self.twin.is_dir():
            shutil.copytree(self.twin, target)
            (target / self.file).write_bytes(self.data())
            for name, data in self.others:
                if data is None:
                    (target / name).unlink()
                else:
                    (target / name).write_bytes(data)
            return target
        folder.mkdir(parents=True, exist_ok=True)
        for file in (self.twin, *companions(self.twin)):
            shutil.copy(file, folder)
        (folder / self.file).write_bytes(self.data())
        return target


def companions(path: Path) -> list[Path]:
    """What a loader finds beside a single SafeTensors file, or all the other files of a set that an index names."""
    if path.suffix == ".json":
        return [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    named = ("*.json", "tokenizer.model", "*.jinja") if path.suffix == ".safetensors" else ()
    return sorted(other for pattern in named for other in path.parent.glob(pattern))


def edited(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The bytes with those edits."""
    parts, end = [], 0
    for start, stop, new in sorted(edits, key=lambda edit: edit[:2]):
        if start < end:
            raise ValueError(f"edits overlap at byte {start}")
        parts += [data[end:start], new]
        end = stop
    return b"".join([*parts, data[end:]])


#: Rule, what breaks it in a file that has been taken apart (None where it has nothing to break), and where it is written.
Row = tuple[str, Callable[[File], Sequence[Edit] | None], str]


@dataclass(frozen=True)
class Rules(Generic[File]):
    """The rules of a format: those whose breach cannot be read, and those that real parsers disagree on."""

    format: str
    must: Sequence[Row[File]]
    may: Sequence[Row[File]]

    def broken(self, file: File) -> Iterator[tuple[str, str, str, Sequence[Edit]]]:
        """Rule, verdict, source and edits of each rule that this file can break."""
        for verdict, rows in ((MUST_REFUSE, self.must), (MAY_ACCEPT, self.may)):
            for name, breaks, source in rows:
                if edits := breaks(file):
                    yield f"{self.format}/{name}", verdict, source, edits


@dataclass(frozen=True)
class Field:
    """A span of bytes with one meaning: "key-length", "data of blk.0.attn_q.weight". `group` is its kind."""

    group: str
    start: int
    stop: int
    #: Whether a file that ends in it, or before it, may still be read: padding behind the data, a footer that nobody checks.
    needed: bool = True


CUT_SOURCE = "Everything that a file announces lies inside it; a cut behind the last byte of data takes padding only."


def cuts(
    size: int, fields: Sequence[Field], seed: int, *, everywhere: bool
) -> Iterator[tuple[str, str, Sequence[Edit]]]:
    """Rule, verdict and edits of files that end too early.

    For each group of fields a cut before one of them or inside it, as the seed has it, or with `everywhere` both, for all of them.
    Besides the last byte of data, all of the file, and four places anywhere.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Field]] = {}
    for field in fields:
        if field.stop > field.start:
            groups.setdefault(field.group, []).append(field)
    needed = max(field.stop for field in fields if field.needed)
    places = {0: "everything", needed - 1: "last-byte-of-data"}
    for group, members in groups.items():
        for field in members if everywhere else [members[rng.integers(len(members))]]:
            both = [(field.start, f"before-{group}"), (int(rng.integers(field.start, field.stop)), f"in-{group}")]
            for place, what in both if everywhere else [both[rng.integers(2)]]:
                places.setdefault(place, what)
    for place in rng.integers(1, size, 4).tolist():
        places.setdefault(place, "anywhere")
    for place, what in sorted(places.items()):
        yield f"cut/{what}@{place}", MUST_REFUSE if place < needed else MAY_ACCEPT, [(place, size, b"")]


# --- what the modules of the formats make their files with


def content_of(path: Path) -> bytes:
    """All of a file that is taken apart."""
    with foreign.open_file(path) as file:
        return file.read()


def require_few(path: Path, what: str, count: int, most: int = _COUNT) -> None:
    """Raise NoTwinError where a foreign file holds so many that breaking each rule would take long."""
    if count > most:
        raise NoTwinError(
            f"it holds {count:,} {what}, where {most:,} are few enough to break each rule in turn", file=path
        )


def require_data(path: Path, tensors: Sequence[object]) -> None:
    """Raise NoTwinError where there is no tensor with data."""
    if not tensors:
        raise NoTwinError("it holds no tensor with data, so there is nothing to break", file=path)


Found = tuple[str, str, str, Sequence[Edit]]


def cut_short(format: str, size: int, fields: Sequence[Field], seed: int, everywhere: bool) -> Iterator[Found]:  # noqa: A002
    """Rule, verdict, source and edits of the cuts."""
    for rule, verdict, edits in cuts(size, fields, seed, everywhere=everywhere):
        yield f"{format}/{rule}", verdict, CUT_SOURCE, edits


def made(twin: Path, file: str, found: Iterable[Found]) -> Iterator[Malformed]:
    """The files that these edits make of one."""
    for rule, verdict, source, edits in found:
        yield Malformed(rule, verdict, source, twin, file, tuple(edits))
