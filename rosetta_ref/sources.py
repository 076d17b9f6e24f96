"""Where the bytes of a tensor come from: a span of a file, or a buffer. Other floors compute them from another tensor."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError

Bytes = NDArray[np.uint8]

#: Bytes that one step of a streaming operation works on: small enough that several in flight stay in the cache (4 MiB
#: measured half as fast), large enough that Python's overhead is nothing.
CHUNK = 1 << 20


class Source(Protocol):
    """Where the bytes of a tensor come from."""

    @property
    def nbytes(self) -> int:
        """Total number of bytes."""

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop; a view where that is possible. Safe to call from several threads."""

    def release(self, start: int, stop: int) -> None:
        """Those bytes are done with: let go of the memory behind them."""


@dataclass(frozen=True)
class Buffer:
    """Bytes in memory."""

    data: Bytes

    @property
    def nbytes(self) -> int:
        """Total number of bytes."""
        return int(self.data.nbytes)

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, as a view."""
        return self.data[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Nothing to let go of."""


#: A span of at most so many bytes is read with what follows it, and looked for there first.
_FEW, _WINDOW = 1 << 10, 1 << 14
_NOTHING = np.empty(0, np.uint8)


class FileChangedError(RosettaError):
    """A file stays as it is while it is read."""


class FileMap:
    """A regular file whose bytes are read by spans, wherever they lie.

    Spans are read into memory of our own: of a file that is cut short while it is mapped, the first touch would end the process
    (SIGBUS), and no handler in Python could say which file it was. Raises what `foreign.open_descriptor` raises.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor = foreign.open_descriptor(self.path)
        self._closed = weakref.finalize(self, os.close, self._descriptor)
        self._found = _stamp(self._descriptor)
        self.size = self._found[0]
        self._last = threading.local()

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, or to the end, not to be written to. Safe to call from several threads.

        Raises FileChangedError where the file is no longer as it was when it was opened.
        """
        stop = min(stop, self.size)
        if 0 < stop - start <= _FEW:
            return self._near(start, stop)
        return self._read(start, stop)

    def _near(self, start: int, stop: int) -> Bytes:
        """A few bytes, with what stands around them: a file may have 10^5 tensors of a few bytes, one behind the other."""
        at, data = getattr(self._last, "window", (0, _NOTHING))
        if start < at or stop > at + data.size:
            at, data = start, self._read(start, min(start + _WINDOW, self.size))
            self._last.window = at, data
        return data[start - at : stop - at]

    def _read(self, start: int, stop: int) -> Bytes:
        data = np.empty(max(stop - start, 0), np.uint8)
        if not self._closed.alive:
            raise ValueError(f"{self.path} was closed")
        try:
            done = _read_into(self._descriptor, data, start) if data.size else 0
        except OSError as error:
            raise FileChangedError(f"cannot be read: {error.strerror}", file=self.path, offset=start) from error
        if done < data.size:
            problem = f"it ends at byte {start + done}, where it had {self.size} bytes when it was opened"
            raise FileChangedError(problem, file=self.path, offset=start + done)
        self.require_unchanged(start)
        return data

    def require_unchanged(self, offset: int | None = None) -> None:
        """Raise FileChangedError where size or time of the last change are not those that were found first."""
        if _stamp(self._descriptor) != self._found:
            raise FileChangedError("somebody else wrote to it meanwhile", file=self.path, offset=offset)

    @property
    def bytes(self) -> Bytes:
        """All of the file, mapped. For files that nobody else has: one that is cut short meanwhile ends the process."""
        if not self.size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ), np.uint8)

    def close(self) -> None:
        """Give up the file; what was read of it stays."""
        self._closed()


def _stamp(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _read_into(descriptor: int, data: Bytes, start: int) -> int:
    """Fill an array with the bytes from there on; how many there were."""
    done, view = 0, memoryview(data)
    while done < data.size:
        if hasattr(os, "preadv"):
            count = os.preadv(descriptor, [view[done:]], start + done)
        else:
            piece = _read_at(descriptor, min(data.size - done, CHUNK), start + done)
            view[done : done + len(piece)], count = piece, len(piece)
        if not count:
            break
        done += count
    return done


def _read_at(descriptor: int, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    with _SEEKING:  # Windows: a descriptor has one place, for all threads
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.read(descriptor, size)


_SEEKING = threading.Lock()


@dataclass(frozen=True)
class Span:
    """A span of a file."""

    file: FileMap
    offset: int
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop, read anew. Raises FileChangedError."""
        return self.file.read(self.offset + start, self.offset + min(stop, self.nbytes))

    def release(self, start: int, stop: int) -> None:
        """Nothing to let go of: what was read goes with its array."""
