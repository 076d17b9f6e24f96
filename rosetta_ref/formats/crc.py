"""The zlib CRC-32 of pieces, put together: so that it can be taken on all cores, and while bytes are being written.

A CRC is a polynomial over GF(2) modulo the one of Ethernet, here bit-reversed as zlib has it: bit 31 is the coefficient of
x^0. Appending n bytes multiplies what came before by x^(8n), and the CRC of what is appended is added.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

from rosetta_ref.archive import FileMap
from rosetta_ref.streaming import each

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_PIECE = 1 << 20


def combine(first: int, second: int, length: int) -> int:
    """The CRC of A followed by B, from that of A, that of B, and B's length in bytes.

    >>> combine(zlib.crc32(b"hello "), zlib.crc32(b"world"), 5) == zlib.crc32(b"hello world")
    True
    """
    return _times(_shift(length), first) ^ second


def crc_of(source: FileMap, stop: int) -> int:
    """The CRC of a file's bytes before `stop`, on several cores."""

    def piece(start: int) -> tuple[int, int]:
        end = min(start + _PIECE, stop)
        return zlib.crc32(source.read(start, end)), end - start

    return joined(each(piece, range(0, stop, _PIECE), stop))


def joined(pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC of pieces back to back, from the CRC and the length of each."""
    whole = 0
    for crc, length in pieces:
        whole = combine(whole, crc, length)
    return whole


def _times(a: int, b: int) -> int:
    """The product of two polynomials, modulo the one of the CRC."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """x^(8 length), by repeated squaring."""
    power, square = _ONE, 1 << 23  # x^0, x^8
    while length:
        if length & 1:
            power = _times(power, square)
        square = _times(square, square)
        length >>= 1
    return power
