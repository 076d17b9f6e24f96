"""annotated.txt: every byte of input and output under its field's name, what is wrong marked, and the values beside each other.

`spans` makes lines of an annotation, as pieces with a style; from those come both the plain text and the coloured one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from rich.text import Text

from rosetta_ref import limits
from rosetta_ref.foreign import read_file
from rosetta_ref.formats.fields import format_of, tensors
from rosetta_ref.formats.safetensors.table import DTYPES
from rosetta_ref.gate.judge.mapping import canonical_name
from rosetta_ref.gate.judge.models import reading
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.folder.annotation import Annotation, Right, Row, Table, annotate
from rosetta_ref.reduce.folder.dump import Left, Line

#: Bytes that a file or a folder counts for at least.
_LEAST = 4096


class Record(Protocol):
    """What a folder says of itself (expected.json), as far as it is wanted here."""

    @property
    def input(self) -> str:
        """The file or directory that is converted."""

    @property
    def files(self) -> Mapping[str, str]:
        """The names of the input's files."""

    @property
    def expected(self) -> Mapping[str, Any]:
        """By canonical name of a tensor what a right output holds: its "name", "type", "shape" and first "bytes", in hex."""


def text(folder: Path, record: Record, actual: str | None = None) -> str:
    """annotated.txt of a folder; `actual` is the output in it, a file or a directory, looked for where it is not given."""
    return plain(of_folder(folder, record, actual))


def rendered(folder: Path, record: Record, actual: str | None = None) -> Text:
    """The same for a terminal."""
    return coloured(of_folder(folder, record, actual))


def of_folder(folder: Path, record: Record, actual: str | None = None) -> Annotation:
    """The input and the output of a folder, beside what it says is right."""
    tops = [folder / actual] if actual else [folder / name for name in sorted(os.listdir(folder)) if _is_output(name)]
    places = [*record.files, *(path.relative_to(folder).as_posix() for path in _files(tops))]
    read = _Read()
    contents = {name: read(folder, name) for name in places}
    inputs = {name: contents[name] for name in record.files}
    outputs = {name: data for name, data in contents.items() if name not in inputs}
    return annotate(inputs, outputs, _rights(inputs, record))


def _is_output(name: str) -> bool:
    return name.partition(".")[0] == "actual"


def _files(tops: Iterable[Path]) -> Iterator[Path]:
    """The files there, and in the directories; links stay what they are. Raises LimitExceededError."""
    for count, (top, folders, names) in enumerate(step for path in tops for step in _walked(path)):
        limits.require("explained-bytes", _LEAST * count, "folders of an output", file=top)
        folders.sort()
        yield from (Path(top) / name for name in sorted(names))


def _walked(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    if stat.S_ISDIR(path.lstat().st_mode):
        return os.walk(path)
    return iter([(str(path.parent), [], [path.name])])


class _Read:
    """Reads files of a folder, of so many bytes together."""

    def __init__(self) -> None:
        self._sum = 0

    def __call__(self, folder: Path, name: str) -> bytes:
        """A regular file. Raises ForeignTextError, LimitExceededError."""
        data = read_file(folder / name, "explained-bytes", follow=False)
        self._sum += max(len(data), _LEAST)
        limits.require("explained-bytes", self._sum, "the files of a folder", file=folder / name)
        return data


def _rights(inputs: Mapping[str, bytes], record: Record) -> list[Right]:
    names = _stored_names(inputs)
    known = DTYPES | TYPES
    return [
        Right(
            one["name"], known[one["type"]], tuple(one["shape"]), bytes.fromhex(one["bytes"]),
            names.get(canonical, canonical),
        )
        for canonical, one in record.expected.items()
        if one["type"] in known
    ]  # fmt: skip


def _stored_names(inputs: Mapping[str, bytes]) -> dict[str, str]:
    """Names in the input by canonical ones, as far as its tables can be read."""
    found: dict[str, str] = {}
    for name, data in sorted(inputs.items()):
        there = [tensor.name for tensor in tensors(data, format_of(PurePosixPath(name).name, data))]
        architecture = reading(None, there).name
        for tensor in there:
            found.setdefault(canonical_name(tensor, architecture) or tensor, tensor)
    return found


Span = tuple[str, str]
_PLAIN, _DIM, _TITLE, _WRONG, _RIGHT = "", "dim", "bold", "bold red", "green"


def spans(annotation: Annotation) -> Iterator[list[Span]]:
    """Line by line, pieces of text with a style of rich."""
    for section in annotation.sections:
        yield [(section.title, _TITLE)]
        yield from ([(note, _WRONG)] for note in section.notes)
        for line in section.lines:
            yield from _of_left(line) if isinstance(line, Left) else _of_line(line)
        yield []
    for table in annotation.tables:
        yield [(table.title, _TITLE)]
        yield from _of_table(table)
        yield []


def _of_left(left: Left) -> Iterator[list[Span]]:
    yield [(f"        ... {left.count:,} more bytes of {left.group}{', zeros' if left.zeros else ''}", _DIM)]


def _of_line(line: Line) -> Iterator[list[Span]]:
    """Bytes with their name; under bytes that differ, those of a right output."""
    made: list[Span] = [(f"{line.offset:06x}  ", _DIM)]
    for same, run in groupby(zip(line.data, line.wanted, strict=True), key=lambda pair: pair[0] == pair[1]):
        made.append(("".join(f"{byte:02x} " for byte, _ in run), _PLAIN if same else _WRONG))
    made.append((" " * (3 * (16 - len(line.data)) + 1) + line.said, _PLAIN))
    yield made
    if line.differs:
        cells = [
            f"{right:02x} " if byte != right else "   " for byte, right in zip(line.data, line.wanted, strict=True)
        ]
        yield [
            ("right:  ", _RIGHT),
            ("".join(cells) + " " * (3 * (16 - len(line.data)) + 1) + "^ a right output", _RIGHT),
        ]


def _of_table(table: Table) -> Iterator[list[Span]]:
    head = Row("element", "input", "expected", "actual", differs=False)
    cells = [(row.element, row.input, row.expected, row.actual) for row in (head, *table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    for row, texts in zip((head, *table.rows), cells, strict=True):
        element, given, expected, actual = (text.rjust(width) for text, width in zip(texts, widths, strict=True))
        styles = (_WRONG, _RIGHT) if row.differs else (_PLAIN, _PLAIN)
        yield [
            (f"  {'*' if row.differs else ' '} {element}  {given}  ", _PLAIN),
            (f"{expected}  ", styles[1]),
            (actual, styles[0]),
        ]
    yield [(f"  {table.said}", _PLAIN)]


def plain(annotation: Annotation) -> str:
    """As text without colours."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in spans(annotation))


def coloured(annotation: Annotation) -> Text:
    """For a terminal."""
    return Text("\n").join(Text.assemble(*line) for line in spans(annotation))
