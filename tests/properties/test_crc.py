"""CRC-32 put together from pieces equals zlib's of the whole."""

from __future__ import annotations

import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.archive import FileMap
from rosetta_ref.formats.crc import combine, crc_of, joined


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_two_pieces(first: bytes, second: bytes) -> None:
    assert combine(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@given(pieces=st.lists(st.binary(max_size=40), max_size=9))
def test_any_number_of_pieces(pieces: list[bytes]) -> None:
    assert joined((zlib.crc32(piece), len(piece)) for piece in pieces) == zlib.crc32(b"".join(pieces))


def test_a_file_of_several_pieces(tmp_path: Path) -> None:
    data = bytes(range(251)) * 100_000
    (tmp_path / "f").write_bytes(data)
    assert crc_of(FileMap(tmp_path / "f"), len(data) - 7) == zlib.crc32(data[:-7])
