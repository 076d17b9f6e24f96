"""Input and output beside what a right output holds: the bytes that differ, and the values. `annotate` shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np

from rosetta_ref.formats.fields import Stored, format_of, tensors, walk
from rosetta_ref.formats.fields.field import shown
from rosetta_ref.formats.fields.stored import bytes_wanted, values_of
from rosetta_ref.quant import BlockType
from rosetta_ref.quant.block import Floats
from rosetta_ref.reduce.folder.dump import Left, Line, lines_of

#: Rows of a table of values.
MOST_ROWS = 64
#: Rows after the first that are not worth a row of their own, where they say the same.
_FEW = 2
#: Tensors that get such a table.
MOST_TABLES = 4
#: Notes of a section, and elements of a tensor that are compared: of a right output no more are known.
_MOST_NOTES, _MOST_VALUES = 16, 8192


@dataclass(frozen=True)
class Right:
    """A tensor as a right output holds it: its name there, and its bytes, of which the first may do. `source`: its input's name."""

    name: str
    kind: BlockType
    shape: tuple[int, ...]
    data: bytes
    source: str | None = None


@dataclass(frozen=True)
class Section:
    """The bytes of one file. `notes` say what was not compared, and why."""

    title: str
    lines: tuple[Line | Left, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One element, in text; "-" where there is none."""

    element: str
    input: str
    expected: str
    actual: str
    differs: bool


@dataclass(frozen=True)
class Table:
    """The values of one tensor beside each other. `said` counts them, also those without a row."""

    title: str
    rows: tuple[Row, ...]
    said: str


@dataclass(frozen=True)
class Annotation:
    """All that is shown."""

    sections: tuple[Section, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class _Place:
    """A tensor in one of some files."""

    tensor: Stored
    file: str
    data: bytes


def annotate(inputs: Mapping[str, bytes], actual: Mapping[str, bytes], rights: Sequence[Right] = ()) -> Annotation:
    """The files, by name; bytes and values of the output against those of the tensors that are known."""
    there, given = _places(actual), _places(inputs)
    wrong = [right for right in rights if _is_wrong(right, there.get(right.name))]
    sections = [_section(f"input {name}", name, data) for name, data in sorted(inputs.items())]
    sections += [_section(f"output {name}", name, data, rights, there) for name, data in sorted(actual.items())]
    tables = [
        _table(right, given.get(right.source or right.name), there.get(right.name)) for right in wrong[:MOST_TABLES]
    ]
    return Annotation(tuple(sections), tuple(tables))


def _places(files: Mapping[str, bytes]) -> dict[str, _Place]:
    """Where each tensor is; of two of one name, the first."""
    found: dict[str, _Place] = {}
    for name, data in sorted(files.items()):
        for tensor in tensors(data, _format(name, data)):
            found.setdefault(tensor.name, _Place(tensor, name, data))
    return found


def _format(name: str, data: bytes) -> str:
    return format_of(PurePosixPath(name).name, data)


def _is_wrong(right: Right, place: _Place | None) -> bool:
    if place is None or _misfit(right, place.tensor) or place.tensor.shape != right.shape:
        return True
    return not place.tensor.bytes_of(place.data).startswith(right.data)


def _misfit(right: Right, found: Stored) -> str | None:
    """Why bytes are not those of the same type and number of elements; None where they are."""
    if found.kind is None or found.kind.name != right.kind.name:
        here = f"{found.kind or 'an unknown type'} {list(found.shape)}"
        return f"{shown(right.name)} is {here}, {right.kind} {list(right.shape)} is right"
    wanted, there = bytes_wanted(right.kind, right.shape), found.stop - found.start
    return f"{shown(right.name)} has {there} bytes, {wanted} are right" if wanted not in (None, there) else None


def _section(
    title: str, name: str, data: bytes, rights: Sequence[Right] = (), there: Mapping[str, _Place] | None = None
) -> Section:
    """One file, laid over what right tensors hold."""
    wanted = bytearray(data)
    notes: list[str] = []
    for right in rights:
        place = (there or {}).get(right.name)
        if place is None or place.file != name:
            continue
        why = _misfit(right, place.tensor)
        if place.tensor.order == ">":
            why = f"{shown(right.name)} is big-endian"
        if why is not None:
            notes += [f"bytes not compared: {why}"] if len(notes) < _MOST_NOTES else []
            continue
        stop = min(place.tensor.start + len(right.data), place.tensor.stop)
        wanted[place.tensor.start : stop] = right.data[: stop - place.tensor.start]
    fields = walk(data, _format(name, data))
    return Section(f"{shown(title)} ({len(data):,} bytes)", tuple(lines_of(fields, bytes(wanted))), tuple(notes))


# Values


def _table(right: Right, given: _Place | None, place: _Place | None) -> Table:
    expected = values_of(right.kind, right.data)
    if expected is not None:
        expected = expected[: min(math.prod(right.shape), _MOST_VALUES)]
    columns = [_values(given), expected, _values(place)]
    counts = [len(column) for column in columns if column is not None]
    known = len(expected) if expected is not None else 0
    compared = min(known, len(columns[2])) if columns[2] is not None else 0
    differing = _differing(expected, columns[2], compared)
    chosen = range(max(counts, default=0)) if max(counts, default=0) <= MOST_ROWS else differing[:MOST_ROWS]
    wrong, rows = set(differing), []
    for index in chosen:
        given_text, expected_text, actual_text = (_number(column, index) for column in columns)
        rows.append(Row(_element(index, right.shape), given_text, expected_text, actual_text, differs=index in wrong))
    more = len(wrong - set(chosen))
    said = f"{len(differing)} of {compared} elements differ" + (f", {more} more than are shown" if more else "")
    return Table(_title(right, given, place), tuple(_in_runs(rows)), said)


def _in_runs(rows: Sequence[Row]) -> Iterator[Row]:
    """Elements that are alike in one row, from three on."""
    for _, run in groupby(rows, key=lambda row: (row.input, row.expected, row.actual, row.differs)):
        first, *others = run
        if len(others) < _FEW:
            yield from (first, *others)
        else:
            yield replace(first, element=f"{first.element} to {others[-1].element}")


def _title(right: Right, given: _Place | None, place: _Place | None) -> str:
    sides = [("input", given), ("output", place)]
    told = [
        f"{side} {one.tensor.kind or 'of an unknown type'} {list(one.tensor.shape)}" if one else f"not in the {side}"
        for side, one in sides
    ]
    return f"{shown(right.name)}: {told[0]}, expected {right.kind} {list(right.shape)}, {told[1]}"


def _values(place: _Place | None) -> Floats | None:
    return None if place is None else place.tensor.values(place.data, _MOST_VALUES)


def _differing(expected: Floats | None, actual: Floats | None, count: int) -> list[int]:
    """Elements of other bits; any NaN is as good as another."""
    if expected is None or actual is None:
        return []
    one, other = (np.ascontiguousarray(values[:count], np.float32) for values in (expected, actual))
    differ = one.view(np.uint32) != other.view(np.uint32)
    return [int(index) for index in np.flatnonzero(differ & ~(np.isnan(one) & np.isnan(other)))]


def _element(index: int, shape: tuple[int, ...]) -> str:
    if len(shape) < 2 or index >= math.prod(shape):
        return str(index)
    places = []
    for size in reversed(shape):
        index, place = divmod(index, size)
        places.append(str(place))
    return ", ".join(reversed(places))


def _number(values: Floats | None, index: int) -> str:
    return str(values[index]) if values is not None and index < len(values) else "-"
