"""A GGUF file whose table of tensors breaks a rule that does not keep anybody from reading on: names twice, data that overlap.

The reader refuses such a file, and so does llama.cpp; the judge looks at each of its tensors, to tell what is wrong with which.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rosetta_ref.archive import Archive, FileMap, Part, Span, Tensor
from rosetta_ref.formats.gguf import layout
from rosetta_ref.formats.gguf.cursor import Cursor
from rosetta_ref.formats.gguf.placement import Entry
from rosetta_ref.formats.gguf.reader import read_entry, read_header
from rosetta_ref.formats.gguf.values import alignment_of, read_metadata


@dataclass(frozen=True)
class Broken:
    """A tensor that breaks a rule of the table: kind is twice or overlap."""

    name: str
    kind: str
    detail: str


def as_it_stands(path: Path) -> tuple[Archive, list[Broken]]:
    """The file, the first of two tensors of a name, and what is wrong with its table. Raises what the reader raises of the rest."""
    file = FileMap(path)
    cursor = Cursor.over(file, lenient=True)
    header = read_header(cursor)
    metadata = read_metadata(cursor, header.keys)
    entries = [read_entry(cursor, number) for number in range(header.tensors)]
    start = cursor.position + layout.padding(cursor.position, alignment_of(metadata))
    archive = Archive("gguf", metadata, path=path)
    for entry in entries:
        if start + entry.end <= file.size and header.order == "<":
            span = Span(file, start + entry.offset, entry.nbytes)
            made = Tensor(entry.name, entry.type, entry.shape, span, path, start + entry.offset)
            archive.tensors.setdefault(entry.name, made)
    archive.parts = (Part(file, metadata, tuple(archive.tensors)),)
    return archive, [*_twice(entries), *_overlapping(entries)]


def _twice(entries: list[Entry]) -> list[Broken]:
    names = [entry.name for entry in entries]
    return [
        Broken(name, "twice", f"it is there {names.count(name)} times")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def _overlapping(entries: list[Entry]) -> list[Broken]:
    filled = sorted((entry for entry in entries if entry.nbytes), key=lambda entry: entry.offset)
    return [
        Broken(second.name, "overlap", f"its data begins at {second.offset}, inside that of {first.name!r}")
        for first, second in pairwise(filled)
        if second.offset < first.end
    ]
