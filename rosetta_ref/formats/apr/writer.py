"""Writing an APR file. The index is sorted by name; the data keep the archive's order, which the format allows.

A tensor whose type has no code here is written as U8 of shape [..., bytes per row], and `rosetta.ggml_types` says what it
is. A reader that does not know the key still sees a valid file.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr import errors
from rosetta_ref.formats.apr.metadata import oddities
from rosetta_ref.formats.apr.tables import (
    ALIASES,
    CODES,
    GGML_TYPES,
    HAS_VOCAB,
    HEADER,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_METADATA,
    MAX_NAME,
    QUANTIZED,
    ROW_MAJOR,
    Header,
    aligned,
    size_of,
)
from rosetta_ref.formats.gathered import gathered
from rosetta_ref.formats.output import Piece, Progress, write_file


def write(archive: Archive, path: str | Path, *, progress: Progress | None = None) -> None:
    """Write an archive with JSON metadata as an APR v2 file, with footer.

    Raises LimitError, TensorNameError, SizeMismatchError, MetadataError, MetadataTypeError, AliasError, WriteError.
    """
    try:
        head = _head(archive)
    except RosettaError as error:
        raise error.at(file=path) from error.__cause__
    pieces: list[Piece] = [head]
    for tensor in archive.tensors.values():
        pieces += [tensor, aligned(tensor.nbytes) - tensor.nbytes]
    write_file(path, gathered(pieces), crc_footer=True, progress=progress)


def carried_as_bytes(tensor: Tensor) -> bool:
    """Whether a tensor's type has no code, so that `apr` sees bytes where the values should be."""
    return tensor.type.name not in CODES


def _head(archive: Archive) -> bytes:
    """Everything before the data."""
    text = _metadata(archive)
    index = index_of(archive.tensors)
    index_offset = HEADER.size + aligned(len(text))
    data_offset = index_offset + aligned(len(index))
    fields = Header(
        MAGIC, 2, 0, _flags(archive), len(archive.tensors), HEADER.size, len(text), index_offset, data_offset, 0
    )
    blank = HEADER.pack(*fields)
    checksum = zlib.crc32(blank[:40] + blank[44:])
    return HEADER.pack(*fields._replace(checksum=checksum)) + _padded(text) + _padded(index)


def _padded(section: bytes) -> bytes:
    return section.ljust(aligned(len(section)), b"\0")


def _flags(archive: Archive) -> int:
    quantized = any(not tensor.type.is_scalar for tensor in archive.tensors.values())
    vocabulary = bool(archive.metadata.get("tokenizer.vocabulary"))
    return ROW_MAJOR | QUANTIZED * quantized | HAS_VOCAB * vocabulary


def index_of(tensors: Mapping[str, Tensor]) -> bytes:
    """The index: entries sorted by the bytes of their names, data in the order of the tensors."""
    entries: list[tuple[bytes, bytes]] = []
    offset = 0
    for tensor in tensors.values():
        entries.append((name_of(tensor), entry_of(tensor, offset)))
        offset += aligned(tensor.nbytes)
    return b"".join(struct.pack("<H", len(name)) + name + rest for name, rest in sorted(entries))


def name_of(tensor: Tensor) -> bytes:
    """The bytes of a name. Raises TensorNameError, LimitError."""
    try:
        name = tensor.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise errors.TensorNameError("the name is not UTF-8", tensor=tensor.name) from error
    if not name:
        raise errors.TensorNameError("an empty name", tensor=tensor.name)
    if len(name) > MAX_NAME:
        raise errors.LimitError(f"a name of {len(name)} bytes; `apr` would cut it", tensor=tensor.name)
    return name


def entry_of(tensor: Tensor, offset: int) -> bytes:
    """What stands behind the name in an entry. Raises LimitError, SizeMismatchError."""
    shape = _row_bytes(tensor) if carried_as_bytes(tensor) else tensor.shape
    if len(shape) > MAX_DIMENSIONS:
        raise errors.LimitError(f"a shape of {len(shape)} dimensions", tensor=tensor.name)
    if tensor.nbytes != size_of(tensor.type, tensor.shape):
        raise errors.SizeMismatchError(f"{tensor.nbytes} bytes for {tensor.type} {list(shape)}", tensor=tensor.name)
    code = CODES.get(tensor.type.name, CODES["U8"])
    return struct.pack(f"<BB{len(shape)}QQQ", code, len(shape), *shape, offset, tensor.nbytes)


def _row_bytes(tensor: Tensor) -> tuple[int, ...]:
    return (*tensor.shape[:-1], tensor.type.nbytes(tensor.shape[-1:]))


def _metadata(archive: Archive) -> bytes:
    metadata = {key: value for key, value in archive.metadata.items() if key != GGML_TYPES}
    check_metadata(metadata)
    true_types = {
        tensor.name: {"type": tensor.type.name, "shape": list(tensor.shape)}
        for tensor in archive.tensors.values()
        if carried_as_bytes(tensor)
    }
    if true_types:
        metadata[GGML_TYPES] = true_types
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise errors.MetadataError(
            f"a string that is not Unicode: {error.object[error.start - 20 : error.end]!r}"
        ) from error
    except (ValueError, TypeError) as error:
        raise errors.MetadataError(str(error)) from error
    if len(text) > MAX_METADATA:
        raise errors.LimitError(f"metadata of {len(text)} bytes")
    return text


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse what would make the file unreadable for others."""
    for key, aliases in ALIASES.items():
        present = [name for name in (key, *aliases) if name in metadata]
        if len(present) > 1:
            raise errors.AliasError(f"metadata has {' and '.join(map(repr, present))}")
    for problem in oddities(metadata):
        raise errors.MetadataTypeError(problem)
