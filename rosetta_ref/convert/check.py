"""After writing, before the rename: the new file is read again and compared with what it ought to hold.

The expectation is computed anew from the source (carried: the source's own bytes; decoded: the reference decoder), so an
error anywhere in writing, reading or the disk between shows, whatever the writer believed it wrote.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rosetta_ref.archive import Archive, Bytes, Tensor
from rosetta_ref.convert.report import ProgressLike
from rosetta_ref.errors import RosettaError
from rosetta_ref.streaming import each, value_chunks

#: Bytes that are sooner copied than compared by NumPy.
_SMALL = 1 << 12


class MismatchError(RosettaError):
    """What was written equals what was to be written, tensor by tensor and byte by byte."""


class InventedValueError(RosettaError):
    """A conversion makes no NaN, no Inf and no mean beyond 100 that its source does not have."""


class HiddenValueError(RosettaError):
    """A NaN or Inf of the source is never made a number: that would hide that the model is corrupt."""


@dataclass(frozen=True)
class Sums:
    """Checksums of a tensor: the CRC-32 of its bytes as written; where asked for, their SHA-256 and that of the source's."""

    crc32: int
    written: str | None = None
    source: str | None = None


def check(
    written: Archive,
    expected: Archive,
    origins: Mapping[str, Tensor],
    *,
    sums: bool = False,
    sha256: bool = False,
    progress: ProgressLike | None = None,
) -> dict[str, Sums]:
    """Compare every tensor; give the checksums of each where `sums` or `sha256` asks for them.

    `origins` maps the names of tensors whose numbers were converted to the tensors they come from: those are also searched
    for values that the source does not have. Raises MismatchError, InventedValueError or HiddenValueError, naming tensor and index.
    """
    _same_names(written, expected)
    lock = threading.Lock()

    def advance(count: int) -> None:
        if progress is not None:
            with lock:
                progress.advance(count)

    def one(name: str) -> tuple[str, Sums]:
        tensor, right = written.tensors[name], expected.tensors[name]
        if (tensor.type.name, tensor.shape) != (right.type.name, right.shape):
            raise MismatchError(
                f"is {tensor.type.name} {list(tensor.shape)}, expected {right.type.name} {list(right.shape)}",
                file=tensor.file, tensor=name,
            )  # fmt: skip
        crc, digest = 0, hashlib.sha256()
        for start, stop in right.spans():
            found, needed = tensor.source.read(start, stop), right.source.read(start, stop)
            _same_bytes(tensor, start, found, needed)
            if sums:
                crc = zlib.crc32(found, crc)
            if sha256:
                digest.update(found)
            tensor.source.release(start, stop)
            right.source.release(start, stop)
            advance(stop - start)
        if name in origins:
            _nothing_invented(tensor, origins[name])
        if not sha256:
            return name, Sums(crc)
        return name, Sums(crc, digest.hexdigest(), _sha256(origins.get(name, right)))

    names = sorted(expected.tensors, key=lambda name: -expected.tensors[name].nbytes)
    found = dict(each(one, names, sum(tensor.nbytes for tensor in expected.tensors.values())))
    return found if sums or sha256 else {}


def crcs_of(archive: Archive) -> dict[str, int]:
    """The CRC-32 of the bytes of each tensor, by name."""

    def one(tensor: Tensor) -> int:
        crc = 0
        for start, stop in tensor.spans():
            crc = zlib.crc32(tensor.source.read(start, stop), crc)
            tensor.source.release(start, stop)
        return crc

    tensors = archive.tensors.values()
    return dict(zip(archive.tensors, each(one, tensors, sum(tensor.nbytes for tensor in tensors)), strict=True))


def _sha256(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in tensor.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _same_names(written: Archive, expected: Archive) -> None:
    missing = expected.tensors.keys() - written.tensors.keys()
    invented = written.tensors.keys() - expected.tensors.keys()
    if missing or invented:
        some = sorted(missing or invented)[0]
        raise MismatchError(
            f"{len(missing)} tensors are missing and {len(invented)} invented", file=written.path, tensor=some
        )


def _same_bytes(tensor: Tensor, start: int, found: Bytes, needed: Bytes) -> None:
    if found.nbytes != needed.nbytes:
        raise MismatchError(f"{found.nbytes} bytes, expected {needed.nbytes}", file=tensor.file, tensor=tensor.name)
    if found.nbytes <= _SMALL and found.tobytes() == needed.tobytes():
        return
    words = found.nbytes // 8 * 8
    if np.array_equal(found[:words].view(np.uint64), needed[:words].view(np.uint64)) and np.array_equal(
        found[words:], needed[words:]
    ):
        return
    first = int(np.flatnonzero(found != needed)[0])
    element = tensor.type.sized(tensor.count).first_beside(start + first)
    index = (
        tuple(int(i) for i in np.unravel_index(min(element, tensor.count - 1), tensor.shape)) if tensor.shape else ()
    )
    raise MismatchError(
        f"byte {start + first} is {found[first]:#04x}, expected {needed[first]:#04x}, in the block of element {index}",
        file=tensor.file, tensor=tensor.name, offset=(tensor.offset or 0) + start + first,
    )  # fmt: skip


def _nothing_invented(tensor: Tensor, origin: Tensor) -> None:
    """Look for NaN, Inf and a huge mean that the source does not have, and for those it has. Elements are in the same order."""
    if tensor.type.name == "F32" and origin.type.decode is not None:
        return  # byte-equal to the decoded source: the very same numbers
    total, total_origin = 0.0, 0.0
    for (first, values), (_, before) in zip(value_chunks(tensor), value_chunks(origin), strict=True):
        strange = np.isfinite(values) != np.isfinite(before)
        if strange.any():
            place = int(np.flatnonzero(strange)[0])
            index = tuple(int(i) for i in np.unravel_index(first + place, tensor.shape))
            kind = InventedValueError if np.isfinite(before[place]) else HiddenValueError
            raise kind(
                f"element {index} is {values[place]}, {before[place]} in the source",
                file=tensor.file,
                tensor=tensor.name,
            )
        with np.errstate(invalid="ignore"):  # Inf and NaN that the source has too
            total += float(np.sum(values, dtype=np.float64))
            total_origin += float(np.sum(before, dtype=np.float64))
    if tensor.count and abs(total / tensor.count) > 100 >= abs(total_origin / tensor.count):
        raise InventedValueError(f"the mean is {total / tensor.count:g}", file=tensor.file, tensor=tensor.name)
