"""Small pieces of a file put together before they are written: a file may have 10^5 tensors of a few bytes each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rosetta_ref.archive import CHUNK, Bytes, Tensor
from rosetta_ref.formats.output import Piece
from rosetta_ref.quant import TYPES

#: A piece of fewer bytes is written together with its neighbours: a system call takes as long as copying that many.
_SMALL = 1 << 14


@dataclass(frozen=True)
class _Run:
    """Pieces back to back: the source of a tensor that has no name."""

    pieces: tuple[Piece, ...]
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop; all pieces are made for it."""
        whole = np.frombuffer(b"".join(map(_bytes, self.pieces)), np.uint8)
        return whole[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Let go of what lies behind all pieces."""
        for piece in self.pieces:
            if isinstance(piece, Tensor):
                piece.source.release(0, piece.nbytes)


def gathered(pieces: Sequence[Piece]) -> list[Piece]:
    """The same bytes in fewer pieces: small ones next to each other are one, of at most a chunk."""
    return list(_gathered(pieces))


def _gathered(pieces: Sequence[Piece]) -> Iterator[Piece]:
    run: list[Piece] = []
    total = 0
    for piece in pieces:
        size = _size(piece)
        if run and (size >= _SMALL or total + size > CHUNK):
            yield _joined(run, total)
            run, total = [], 0
        if size >= _SMALL:
            yield piece
        elif size:
            run.append(piece)
            total += size
    if run:
        yield _joined(run, total)


def _joined(run: list[Piece], total: int) -> Piece:
    return run[0] if len(run) == 1 else Tensor("", TYPES["U8"], (total,), _Run(tuple(run), total))


def _size(piece: Piece) -> int:
    return piece.nbytes if isinstance(piece, Tensor) else piece if isinstance(piece, int) else len(piece)


def _bytes(piece: Piece) -> bytes:
    if isinstance(piece, Tensor):
        return piece.data.tobytes()
    return bytes(piece)  # that many zeros, or bytes as they are
