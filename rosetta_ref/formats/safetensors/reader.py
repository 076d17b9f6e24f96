"""One file to an archive, strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rosetta_ref import limits
from rosetta_ref.archive import Archive, FileMap, Part, Span, Tensor
from rosetta_ref.foreign import require_shallow
from rosetta_ref.formats.safetensors.errors import (
    CoverageError,
    DataOffsetsError,
    DuplicateEntryError,
    EntryError,
    HeaderEncodingError,
    HeaderJsonError,
    HeaderTooLargeError,
    MetadataError,
    ShapeOverflowError,
    SizeMismatchError,
    SubByteError,
    TruncatedHeaderError,
    TruncatedLengthError,
    UnknownDtypeError,
)
from rosetta_ref.formats.safetensors.table import BITS, DTYPES, MAX_HEADER, METADATA_KEY

_LIMIT = 1 << 64
_FIELDS = ("dtype", "shape", "data_offsets")


@dataclass(frozen=True)
class _Pairs:
    """A JSON object with its keys in order, repeated ones included."""

    items: list[tuple[str, Any]]


class _Entry(NamedTuple):
    start: int
    stop: int
    position: int
    name: str
    dtype: str
    shape: tuple[int, ...]


def read_file(path: str | Path) -> Archive:
    """Read one file. Raises a SafetensorsError that names the rule, OSError where the file cannot be opened."""
    file = FileMap(path)
    try:
        return _read(file)
    except BaseException:
        file.close()
        raise


def _read(file: FileMap) -> Archive:
    text, base = header_text(file)
    metadata: dict[str, str] = {}
    entries: dict[str, _Entry] = {}
    seen_metadata = False
    header = _parse(text, file.path).items
    limits.require("tensors", len(header), "the header", file=file.path, offset=8)
    for position, (name, value) in enumerate(header):
        if name == METADATA_KEY:
            if seen_metadata:
                raise MetadataError("a second __metadata__", file=file.path, offset=8)
            seen_metadata, metadata = True, _metadata(value, file.path)
            continue
        if name in entries:
            raise DuplicateEntryError("it stands there more than once", file=file.path, tensor=name, offset=8)
        entries[name] = _entry(name, value, position, file.path)
    ordered = sorted(entries.values())
    check_spans(ordered, file, base)
    tensors = {
        e.name: Tensor(
            e.name, DTYPES[e.dtype], e.shape, Span(file, base + e.start, e.stop - e.start), file.path, base + e.start
        )
        for e in ordered
    }
    return Archive("safetensors", dict(metadata), tensors, file.path, (Part(file, metadata, tuple(tensors)),))


def header_text(file: FileMap) -> tuple[str, int]:
    """The header, and where the data begins."""
    if file.size < 8:
        raise TruncatedLengthError(f"the file has {file.size} bytes", file=file.path, offset=0)
    length = int.from_bytes(file.read(0, 8).tobytes(), "little")
    if length > MAX_HEADER:
        raise HeaderTooLargeError(f"the header claims {length:,} bytes", file=file.path, offset=0)
    if 8 + length > file.size:
        problem = f"the header claims {length:,} bytes, {file.size - 8:,} follow"
        raise TruncatedHeaderError(problem, file=file.path, offset=0)
    try:
        return file.read(8, 8 + length).tobytes().decode("utf-8"), 8 + length
    except UnicodeDecodeError as error:
        raise HeaderEncodingError(error.reason, file=file.path, offset=8 + error.start) from error


def _integer(token: str) -> int | float:
    """A JSON integer as the library sees it: what is no unsigned 64-bit number (-0 too) is a float, or negative."""
    if token == "-0" or len(token) > 20:
        return float(token)
    number = int(token)
    return number if number < _LIMIT else float(number)


def _constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _parse(text: str, path: Path) -> _Pairs:
    limits.require("header-items", text.count(",") + text.count("["), "the header", file=path, offset=8)
    try:
        header = json.loads(text, object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = 8 + len(text[: error.pos].encode())
        raise HeaderJsonError(error.msg, file=path, offset=place) from error
    except (ValueError, RecursionError) as error:
        raise HeaderJsonError(str(error), file=path, offset=8) from error
    if not isinstance(header, _Pairs):
        raise HeaderJsonError("the header is not an object", file=path, offset=8)
    require_shallow(header, "the header", path, _inside)
    if "\\ud" in text.lower():
        _check_unicode(header, path)
    return header


def _inside(value: Any) -> Iterable[Any]:
    return (item for _, item in value.items) if isinstance(value, _Pairs) else value if isinstance(value, list) else ()


def _check_unicode(value: Any, path: Path) -> None:
    """Escapes can spell half a surrogate pair, which is not text."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise HeaderJsonError(f"half a surrogate pair in {value!r}", file=path, offset=8) from error
    for item in value.items if isinstance(value, _Pairs) else value if isinstance(value, (list, tuple)) else ():
        _check_unicode(item, path)


def _metadata(value: Any, path: Path) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, _Pairs):
        raise MetadataError("__metadata__ is not an object", file=path, offset=8)
    limits.require("metadata-keys", len(value.items), METADATA_KEY, file=path, offset=8)
    for key, text in value.items:
        if not isinstance(text, str):
            raise MetadataError(f"__metadata__ key {key!r} is not a string", file=path, offset=8)
    return dict(value.items)


def _entry(name: str, value: Any, position: int, path: Path) -> _Entry:
    dtype, shape, offsets = _entry_fields(name, value, path)
    if isinstance(dtype, _Pairs) and len(dtype.items) == 1 and dtype.items[0][1] is None:
        dtype = dtype.items[0][0]  # {"F32": null}, which the library's parser takes for "F32"
    if not isinstance(dtype, str) or dtype not in DTYPES:
        shown = dtype if isinstance(dtype, (str, int, float)) else type(dtype).__name__
        raise UnknownDtypeError(f"unknown dtype {shown!r}", file=path, tensor=name, offset=8)
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise EntryError(f"{what} is not a list of unsigned integers", file=path, tensor=name, offset=8)
    if len(offsets) != 2:
        raise EntryError(f"data_offsets has {len(offsets)} numbers", file=path, tensor=name, offset=8)
    limits.require("dimensions", len(shape), "the shape", file=path, tensor=name, offset=8)
    return _Entry(offsets[0], offsets[1], position, name, dtype, tuple(shape))


def _entry_fields(name: str, value: Any, path: Path) -> tuple[Any, Any, Any]:
    """The three fields of an entry; unknown ones are ignored, and a list of three is taken as by the library."""
    if isinstance(value, list) and len(value) == len(_FIELDS):
        return value[0], value[1], value[2]
    if not isinstance(value, _Pairs):
        raise EntryError("the entry is not an object", file=path, tensor=name, offset=8)
    keys = [key for key, _ in value.items if key in _FIELDS]
    for field in _FIELDS:
        if keys.count(field) != 1:
            problem = f"the entry has {'no' if field not in keys else 'a second'} {field}"
            raise EntryError(problem, file=path, tensor=name, offset=8)
    found = dict(value.items)
    return found["dtype"], found["shape"], found["data_offsets"]


def check_spans(entries: list[_Entry], file: FileMap, base: int) -> None:
    """Raise the error of the first span that does not follow the one before, or does not fit its type and shape."""
    end = 0
    for entry in entries:
        place: dict[str, Any] = {"file": file.path, "tensor": entry.name, "offset": base + entry.start}
        if entry.start != end or entry.stop < entry.start:
            raise DataOffsetsError(f"data_offsets {entry.start}..{entry.stop}, expected a start of {end}", **place)
        needed = _bytes_needed(entry, place)
        if needed != entry.stop - entry.start:
            problem = f"{entry.dtype} {list(entry.shape)} needs {needed} bytes, has {entry.stop - entry.start}"
            raise SizeMismatchError(problem, **place)
        end = entry.stop
    if base + end != file.size:
        last = entries[-1].name if entries else None
        problem = f"the tensors end at byte {base + end}, the file at {file.size}"
        raise CoverageError(problem, file=file.path, tensor=last, offset=min(base + end, file.size))


def _bytes_needed(entry: _Entry, place: dict[str, Any]) -> int:
    bits = 1
    for factor in (*entry.shape, BITS[entry.dtype]):
        bits *= factor
        if bits >= _LIMIT:
            raise ShapeOverflowError(f"{entry.dtype} {list(entry.shape)} is too large", **place)
    if bits % 8:
        raise SubByteError(f"{entry.dtype} {list(entry.shape)} has {bits} bits", **place)
    return bits // 8
