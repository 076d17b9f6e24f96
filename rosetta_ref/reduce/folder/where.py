"""The part of a report that says where the difference is: the first one, and some elements beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.formats.fields.stored import values_of
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge.view import UnreadableError, View
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.quant.block import Floats
from rosetta_ref.reduce.folder.prose import code
from rosetta_ref.reduce.search.candidate import looked

#: Rows of the table of values.
_ROWS = 8
#: Elements that are compared.
_MOST = 512


def where(finding: Finding, target: Path, actual: str, wanted: Mapping[str, Any] | None) -> list[str]:
    """The lines about a tensor of an output, which is called `actual` in the folder; `wanted` is what a right one holds."""
    assert finding.tensor is not None
    try:
        with looked(target) as view:
            found = _readable(view, finding.tensor)
            rows = list(_rows(wanted, found)) if wanted is not None and found is not None else []
            said = _first(finding, found, wanted, _file(view, finding.tensor, target, actual))
    except UnreadableError:
        return []
    lines = [said, ""] if said else []
    if rows:
        lines += ["| element | expected | actual |", "| --- | --- | --- |", *rows[:_ROWS], ""]
    if len(rows) > _ROWS:
        lines[-1:] = ["", f"And {len(rows) - _ROWS} more places like these.", ""]
    return lines


def _first(finding: Finding, found: Tensor | None, wanted: Mapping[str, Any] | None, file: str) -> str | None:
    """With the element's bytes as they are stored and their value; where it is one of a block, with the byte that differs."""
    first = finding.first
    if first is None:
        return None
    offset, expected, there = first.get("offset"), first.get("expected"), first.get("actual")
    stored = _stored(found, first.get("index")) if found is not None else None
    if found is not None and stored is not None:
        start, stop = stored
        right = _bytes_of(wanted, found)[start:stop]
        expected_value = _number(found.type, right) if len(right) == stop - start else first.get("expected_value")
        if expected_value is not None:
            offset, expected = (found.offset or 0) + start, expected_value
            there = _number(found.type, found.data[start:stop].tobytes())
    place = f", at byte {offset:#x} of {code(file)}" if isinstance(offset, int) else ""
    return (
        f"The first difference is element {first.get('index')} of {code(str(finding.tensor))}{place}: "
        f"{expected} was expected, {there} is there."
    )


def _stored(found: Tensor, index: Any) -> tuple[int, int] | None:
    """From where to where in a tensor's bytes one of its elements is; None where it is one of a block."""
    if not found.type.is_scalar or not isinstance(index, list) or len(index) != len(found.shape):
        return None
    at, size = 0, found.type.block_bytes
    for place, width in zip(index, found.shape, strict=True):
        at = at * width + place
    return at * size, (at + 1) * size


def _bytes_of(wanted: Mapping[str, Any] | None, found: Tensor) -> bytes:
    """The first bytes of the right tensor, in the output's type; none where the shape is another, or a block would be made anew."""
    if wanted is None or wanted["shape"] != list(found.shape):
        return b""
    data, kind = bytes.fromhex(wanted["bytes"]), TYPES.get(wanted["type"])
    if wanted["type"] == found.type.name:
        return data
    values = values_of(kind, data) if kind is not None else None
    if values is None or not found.type.is_scalar or found.type.encode is None:
        return b""
    with np.errstate(all="ignore"):
        return found.type.encode(values[: found.count]).tobytes()


def _number(kind: BlockType, data: bytes) -> str:
    """The bytes of one element, and its value."""
    values = values_of(kind, data)
    return code(data.hex(" ")) + (f" ({values[0]!s})" if values is not None else "")


def _file(view: View, name: str, target: Path, actual: str) -> str:
    """The file in which a tensor is, by its name in the folder."""
    seen = view.tensors.get(name)
    if seen is None or seen.tensor.file is None or not target.is_dir():
        return actual
    return (Path(actual) / seen.tensor.file.relative_to(target)).as_posix()


def _readable(view: View, name: str) -> Tensor | None:
    seen = view.tensors.get(name)
    if seen is None or seen.tensor.name in view.ill_fitting or seen.tensor.type.decode is None:
        return None
    return seen.tensor


def _first_values(found: Tensor) -> Floats:
    """The first elements."""
    kind = found.type
    values = values_of(kind, found.data[: kind.span(0, _MOST)[1]].tobytes())
    return np.zeros(0, np.float32) if values is None else values[: min(_MOST, found.count)]


def _rows(wanted: Mapping[str, Any], found: Tensor) -> Iterator[str]:
    """A row for each run of elements that differ in the same way: exact as far as the bytes of a right output are known."""
    values = _first_values(found)
    exact = values_of(found.type, _bytes_of(wanted, found))
    known = 0 if exact is None else min(len(exact), len(values))
    pairs = [(str(exact[place]), str(values[place])) for place in range(known)] if exact is not None else []
    pairs += [(text, f"{value:g}") for text, value in zip(wanted["values"][known:], values[known:], strict=False)]
    for (expected, actual), run in groupby(enumerate(pairs), key=lambda pair: pair[1]):
        places = [place for place, _ in run]
        if expected != actual:
            span = str(places[0]) if len(places) == 1 else f"{places[0]} to {places[-1]}"
            yield f"| {span} | {expected} | {actual} |"
