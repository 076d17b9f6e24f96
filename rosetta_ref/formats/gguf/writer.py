"""An archive as GGUF version 3, little-endian: header, padding, and the tensors in order, each padded.

Everything is checked, and the header made, before the first byte is written.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import limits
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.gathered import gathered
from rosetta_ref.formats.gguf import errors, layout
from rosetta_ref.formats.gguf.values import alignment_of, small_alignment
from rosetta_ref.formats.output import Piece, Progress, write_file


def write(
    archive: Archive, path: str | Path, *, lenient: bool = False, part: bool = False, progress: Progress | None = None
) -> None:
    """Write an archive whose metadata values are `Value`. Raises the error of the rule that is broken (`errors`).

    `lenient` writes what the format allows and some readers refuse: nested arrays, names over 63 bytes, more than four
    dimensions, bytes that are not UTF-8. `part` writes a file that says that it is one of a set. `progress` is called with
    the number of bytes written.
    """
    try:
        pieces = pieces_of(archive, lenient, part)
    except RosettaError as error:
        raise error.at(file=path)  # noqa: B904 - it is the same error
    write_file(path, gathered(pieces), progress=progress)


def pieces_of(archive: Archive, lenient: bool, part: bool = False) -> list[Piece]:
    """The file, piece by piece: offsets are the running sum of padded sizes."""
    head = [
        layout.MAGIC,
        struct.pack("<" + layout.HEADER, layout.VERSION_WRITTEN, len(archive.tensors), len(archive.metadata)),
    ]
    head += _metadata(archive.metadata, lenient, part)
    alignment = alignment_of(archive.metadata)
    small = small_alignment(alignment)
    if small is not None and not lenient:
        raise small
    data: list[Piece] = []
    names: set[bytes] = set()
    offset = 0
    for name, tensor in archive.tensors.items():
        try:
            head.append(_table_entry(name, tensor, offset, names, lenient))
        except RosettaError as error:
            raise error.at(tensor=name)  # noqa: B904 - it is the same error
        gap = layout.padding(tensor.nbytes, alignment)
        data += [tensor, gap]
        offset += tensor.nbytes + gap
        if offset > layout.SIZE_LIMIT:
            raise errors.HugeTensorError(f"the data ends at byte {offset}", tensor=name)
    header = b"".join(head)
    nbytes = sum(tensor.nbytes for tensor in archive.tensors.values())
    limits.require_padding(offset - nbytes, nbytes, len(archive.tensors))
    return [header, layout.padding(len(header), alignment), *data]


def _metadata(metadata: dict[str, Any], lenient: bool, part: bool) -> Iterable[bytes]:
    keys: set[bytes] = set()
    for key, value in metadata.items():
        raw = _name(key, f"key {key!r}", lenient)
        if not raw:
            raise errors.EmptyKeyError("a key is empty")
        if len(raw) > layout.KEY_LIMIT and not lenient:
            raise errors.LongKeyError(f"a key of {len(raw)} bytes")
        if raw in keys:
            raise errors.DuplicateKeyError(f"key {key!r} again")
        keys.add(raw)
        if not isinstance(value, Value):
            raise errors.UntypedValueError(f"key {key!r} is a {type(value).__name__}")
        if key == layout.SPLIT_COUNT and not part and (value.kind is not layout.SPLIT_KINDS[key] or value.data > 1):
            raise errors.SplitRemnantError(f"{key} is {value.plain()}")
        yield _sized(raw)
        yield struct.pack("<" + layout.KIND, value.kind)
        yield from _value(value, repr(key), lenient)


def _table_entry(name: str, tensor: Tensor, offset: int, names: set[bytes], lenient: bool) -> bytes:
    """A line of the tensor table. Adds the name to `names`."""
    raw = _name(name, f"name {name!r}", lenient)
    if len(raw) > layout.NAME_LIMIT_WRITTEN and not lenient:
        raise errors.LongNameError(f"a name of {len(raw)} bytes")
    if raw in names:
        raise errors.DuplicateTensorError("it is there twice")
    names.add(raw)
    check_tensor(tensor, lenient)
    ne = layout.turned(tensor.shape)
    codes = layout.DIMENSIONS + layout.DIMENSION * len(ne) + layout.PLACE
    return _sized(raw) + struct.pack("<" + codes, len(ne), *ne, tensor.type.id, offset)


def check_tensor(tensor: Tensor, lenient: bool) -> None:
    """Raise the error of the rule that a tensor breaks."""
    most = layout.DIMENSION_LIMIT_READ if lenient else layout.DIMENSION_LIMIT_WRITTEN
    if len(tensor.shape) > most:
        raise errors.DimensionCountError(f"{len(tensor.shape)} dimensions")
    if min(tensor.shape, default=0) < 0:
        raise errors.NegativeDimensionError(f"shape {tensor.shape}")
    if math.prod(max(n, 1) for n in tensor.shape) > layout.SIZE_LIMIT:
        raise errors.HugeTensorError(f"shape {tensor.shape}")
    if tensor.type.id is None:
        raise errors.TypeWithoutIdError(f"type {tensor.type.name}")
    expected = tensor.type.nbytes(tensor.shape)
    if expected != tensor.nbytes:
        problem = f"{tensor.nbytes} bytes, {tensor.type.name} of shape {tensor.shape} has {expected}"
        raise errors.TensorSizeError(problem)


def _value(value: Value, what: str, lenient: bool, depth: int = 0) -> Iterable[bytes]:
    """The bytes of a value, without its own kind."""
    if value.kind is Kind.STRING:
        yield _text(_instance(value.data, str, what), what, lenient)
    elif value.kind is Kind.ARRAY:
        yield from _array(value, what, lenient, depth + 1)
    else:
        data = _instance(value.data, np.generic, what)
        yield _numbers(np.asarray(data), value.kind, what, lenient)


def _array(value: Value, what: str, lenient: bool, depth: int) -> Iterable[bytes]:
    if value.item is None:
        raise errors.UntypedValueError(f"{what} is an array of no kind")
    if depth > layout.DEPTH_LIMIT:
        raise errors.DeepArrayError(f"{what} is nested {depth} deep")
    if len(value.data) > layout.LENGTH_LIMIT:
        raise errors.LongArrayError(f"{what} has {len(value.data)} items")
    yield struct.pack("<" + layout.KIND + layout.LENGTH, value.item, len(value.data))
    if value.item is Kind.STRING:
        yield b"".join([_text(_instance(item, str, what), what, lenient) for item in value.data])
    elif value.item is Kind.ARRAY:
        if not lenient:
            raise errors.NestedArrayError(f"{what} has arrays in it", hint="--lenient writes it.")
        for item in value.data:
            if _instance(item, Value, what).kind is not Kind.ARRAY:
                raise errors.UntypedValueError(f"{what} has a {item.kind.name} among its arrays")
            yield from _array(item, what, lenient, depth + 1)
    else:
        data = _instance(value.data, np.ndarray, what)
        if data.ndim != 1:
            raise errors.UntypedValueError(f"{what} has {data.ndim} dimensions")
        yield _numbers(data, value.item, what, lenient)


def _instance(data: Any, kind: type, what: str) -> Any:
    if not isinstance(data, kind):
        raise errors.UntypedValueError(f"{what} has a {type(data).__name__} where a {kind.__name__} belongs")
    return data


def _numbers(data: np.ndarray[Any, Any], kind: Kind, what: str, lenient: bool) -> bytes:
    if data.dtype != kind.dtype:
        raise errors.UntypedValueError(f"{what} has {data.dtype} data for kind {kind.name}")
    if kind is Kind.BOOL and not lenient and data.size and data.max() > 1:
        raise errors.BoolValueError(f"{what} has a value of {data.max()}")
    return data.tobytes()


def _text(text: str, what: str, lenient: bool) -> bytes:
    return _sized(_utf8(text, what, lenient), what)


def _name(text: str, what: str, lenient: bool) -> bytes:
    raw = _utf8(text, what, lenient)
    if b"\0" in raw and not lenient:
        raise errors.NulInNameError(f"{what} has a NUL in it")
    return raw


def _utf8(text: str, what: str, lenient: bool) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape" if lenient else "strict")
    except UnicodeEncodeError as error:
        raise errors.TextUtf8Error(f"{what} has {text[error.start]!r}, which is no character") from error


def _sized(raw: bytes, what: str = "a name") -> bytes:
    if len(raw) > layout.LENGTH_LIMIT:
        raise errors.LongStringError(f"{what} has {len(raw)} bytes")
    return len(raw).to_bytes(8, "little") + raw
