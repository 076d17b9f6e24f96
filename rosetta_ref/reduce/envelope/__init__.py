"""Malformed files as parts: an envelope in which counts, offsets and lengths can lie, each lie an explicit override.

Read `parts` (what an envelope is, and how any bytes become one), then the formats. `parse` never raises, and
`serialise(parse(data)) == data` for any data. `shrink` makes small files of large ones with it.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosetta_ref.foreign import open_file
from rosetta_ref.formats.registry import of
from rosetta_ref.reduce.envelope.parts import SIZE, Bytes, Entry, Envelope, Key, cut

__all__ = ["Entry", "Envelope", "Key", "parse", "pieces", "read", "serialise", "table", "write"]

#: Bytes of a file that is read into memory; the copy of a larger one is mapped.
_IN_MEMORY = 1 << 26
#: The longest header of a fixed length.
_HEADER = 64


def table(format: str) -> Any:  # noqa: A002
    """The module about the envelopes of a format."""
    return of(format).part(__name__)


def parse(data: Bytes, format: str) -> Envelope:  # noqa: A002
    """The parts of any bytes. Raises nothing; data stay where they are, as slices."""
    found: Envelope = table(format).parse(memoryview(data))
    return _of_what_is_there(found, bytes(data)) if found.lies.get(SIZE, _HEADER) < _HEADER else found


def _of_what_is_there(envelope: Envelope, data: bytes) -> Envelope:
    """Of a header that is cut: without lies about what is not there any more."""
    for path in [path for path in envelope.lies if path != SIZE]:
        fewer = envelope.telling({other: lie for other, lie in envelope.lies.items() if other != path})
        if serialise(fewer) == data:
            envelope = fewer
    return envelope


def pieces(envelope: Envelope) -> Iterator[Bytes]:
    """The bytes of a file, one piece after the other, up to its cut. Raises TooLargeError."""
    return cut(table(envelope.format).pieces(envelope), envelope.lies.get(SIZE))


def serialise(envelope: Envelope) -> bytes:
    """All the bytes of a file: the honest values, and the lies."""
    return b"".join(pieces(envelope))


def read(path: Path, format: str) -> Envelope:  # noqa: A002
    """The parts of a file, as it is now. Raises what `foreign.open_file` raises, and OSError.

    The parts are slices of a copy: a map of the file itself would end this process when somebody else cuts it.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size <= _IN_MEMORY:
            return parse(memoryview(file.read()), format)
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, _IN_MEMORY)
            copy.flush()
            return parse(memoryview(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)), format)


def write(envelope: Envelope, path: Path) -> None:
    """Write a file. Raises TooLargeError, OSError."""
    with path.open("wb") as file:
        for piece in pieces(envelope):
            file.write(piece)
