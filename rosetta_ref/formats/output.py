"""The one engine that writes: pieces stream into a temporary file beside the target, which is renamed when it is whole.

The pieces are produced ahead by a few threads (decoding is where the time goes) and written in order by the caller's
thread, so the memory in flight is a handful of chunks, whatever the model's size.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from rosetta_ref.archive import CHUNK, Bytes, Span, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.crc import joined
from rosetta_ref.streaming import FEW, THREADS

Progress = Callable[[int], None]
Piece = bytes | Tensor | int
_Waiting = tuple[Future[tuple[Bytes, int]], Piece, int, int]


class WriteError(RosettaError):
    """The target can be written."""


def temporary_name(path: Path) -> Path:
    """The name under which a file is written before it is renamed to `path`."""
    return path.with_name(f".{path.name}.partial")


def open_new(path: str | Path, *, replace: bool = False) -> int:
    """A descriptor of a file that nobody made before. A link is never followed.

    `replace` removes a file or a link of that name first: what a killed run left of a temporary file, or what somebody planted
    there. Raises OSError.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name has a NUL in it")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):
        flags |= getattr(os, name, 0)
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        if not replace:
            raise
    os.unlink(path)
    return os.open(path, flags, 0o666)


def create(path: Path, data: bytes, *, replace: bool = False) -> os.stat_result:
    """Write a new file; what it is, to know it again. `replace` as for `open_new`.

    Raises WriteError, which names the file, for one that is there already, too. Nothing is left behind then.
    """
    try:
        descriptor = open_new(path, replace=replace)
        try:
            _write_all(descriptor, np.frombuffer(data, np.uint8))
            return os.fstat(descriptor)
        except BaseException:
            _discard(path)
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise cannot_write(error, path) from error


def cannot_write(error: OSError, path: Path) -> WriteError:
    """What the system said about a file, as an error of ours."""
    return WriteError(f"cannot write: {error.strerror or error}", file=path)


def write_file(
    path: str | Path, pieces: Sequence[Piece], *, crc_footer: bool = False, progress: Progress | None = None
) -> None:
    """Write pieces back to back: bytes, tensors (streamed), or a number of zero bytes.

    With `crc_footer` the zlib CRC-32 of everything is appended, little-endian. Nothing is left behind on an error.
    Raises WriteError where the system refuses.
    """
    target = Path(path)
    partial = temporary_name(target)
    made = False
    try:
        with os.fdopen(open_new(partial, replace=True), "wb", buffering=0) as file:
            made = True
            for chunk in _chunks(pieces, crc_footer, progress):
                _write_all(file.fileno(), chunk)
            itself = os.fstat(file.fileno())
        if not os.path.samestat(itself, os.lstat(partial)):
            made = False
            raise OSError(errno.EBUSY, "another one writes it at the same time")
        os.replace(partial, target)
    except OSError as error:
        if made:
            _discard(partial)
        raise cannot_write(error, target) from error
    except BaseException:
        if made:
            _discard(partial)
        raise


def _chunks(pieces: Sequence[Piece], crc_footer: bool, progress: Progress | None) -> Iterator[Bytes]:
    """The bytes of the pieces in order, then their CRC-32 where it is wanted."""
    sums: list[tuple[int, int]] = []
    for chunk, crc in _ahead(pieces, crc_footer):
        yield chunk
        sums.append((crc, len(chunk)))
        if progress is not None:
            progress(len(chunk))
    if crc_footer:
        yield np.frombuffer(joined(sums).to_bytes(4, "little"), np.uint8)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _write_all(descriptor: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        count = os.write(descriptor, view)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[count:]


def _ahead(pieces: Sequence[Piece], crc: bool, depth: int = 2 * THREADS) -> Iterator[tuple[Bytes, int]]:
    """The bytes of the pieces in order, each with its CRC-32 where that is wanted, computed up to `depth` chunks ahead."""
    if sum(map(_size, pieces)) <= FEW:
        for piece, start, stop in _steps(pieces):
            yield _produce(piece, start, stop, crc)
        return
    pool = ThreadPoolExecutor(THREADS)
    waiting: deque[_Waiting] = deque()
    try:
        for piece, start, stop in _steps(pieces):
            waiting.append((pool.submit(_produce, piece, start, stop, crc), piece, start, stop))
            if len(waiting) > depth:
                yield from _finish(waiting)
        while waiting:
            yield from _finish(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _steps(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int, int]]:
    for piece in pieces:
        if isinstance(piece, Tensor):
            yield from ((piece, start, stop) for start, stop in piece.spans())
        else:
            size = _size(piece)
            yield from ((piece, start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))


def _size(piece: Piece) -> int:
    return piece.nbytes if isinstance(piece, Tensor) else piece if isinstance(piece, int) else len(piece)


def _produce(piece: Piece, start: int, stop: int, crc: bool) -> tuple[Bytes, int]:
    if isinstance(piece, Tensor):
        data = piece.source.read(start, stop)
        if isinstance(piece.source, Span) and not crc:
            data = data.copy()  # here the pages are read beside the writing, not by the system call that writes
    elif isinstance(piece, int):
        data = np.zeros(stop - start, np.uint8)
    else:
        data = np.frombuffer(piece, np.uint8)[start:stop]
    return data, zlib.crc32(data) if crc else 0


def _finish(waiting: deque[_Waiting]) -> Iterator[tuple[Bytes, int]]:
    future, piece, start, stop = waiting.popleft()
    yield future.result()
    if isinstance(piece, Tensor):
        piece.source.release(start, stop)
