"""The rules of APR, broken one at a time. Both checksums are made anew, but where they are what is broken."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.formats.apr import fields
from rosetta_ref.formats.apr.fields import Entry
from rosetta_ref.gate.malformed.broken import (
    Edit,
    Field,
    Malformed,
    Row,
    Rules,
    content_of,
    cut_short,
    edited,
    made,
    require_data,
    require_few,
)

SOURCE = "crate apr-format 0.72, https://docs.rs/apr-format, and aprender's readers, https://github.com/paiml/aprender"
_HEADER = 64
#: Where the fields of the header stand, and `struct` codes.
_FLAGS, _COUNT, _METADATA_AT, _METADATA_SIZE, _INDEX_AT, _DATA_AT, _CHECKSUM = 6, 8, 12, 20, 24, 32, 40
_F32, _F16 = 0, 1


@dataclass(frozen=True)
class Apr:
    """A valid file of version 2, taken apart."""

    data: bytes
    entries: tuple[Entry, ...]
    metadata: tuple[int, int]
    index: tuple[int, int]
    start: int

    @classmethod
    def of(cls, data: bytes) -> Apr:
        """Take a file apart. Raises ValueError for one that cannot be."""
        found = fields.walk(data, most=len(data))
        if found.reasons:
            raise ValueError("; ".join(found.reasons.values()))
        metadata_at, size = struct.unpack_from("<QI", data, _METADATA_AT)
        index_at, start = struct.unpack_from("<QQ", data, _INDEX_AT)
        return cls(data, tuple(found.entries), (metadata_at, metadata_at + size), (index_at, found.position), start)

    @property
    def by_data(self) -> list[Entry]:
        """The entries in the order of their data, those without data left out."""
        return sorted((entry for entry in self.entries if entry.size), key=lambda entry: entry.offset)

    @property
    def last(self) -> Entry:
        """The entry whose data lies last."""
        return self.by_data[-1]

    @property
    def end(self) -> int:
        """Where the data ends, before its padding."""
        return self.start + self.last.offset + self.last.size

    @property
    def has_footer(self) -> bool:
        """Whether the last four bytes are the checksum of the others."""
        return len(self.data) >= self.end + 4 and self.data[-4:] == _crc(self.data[:-4])

    @property
    def fields(self) -> list[Field]:
        """The parts of the file."""
        names = (
            "magic",
            "version",
            "flags",
            "tensor-count",
            "metadata-offset",
            "metadata-size",
            "index-offset",
            "data-offset",
        )
        bounds = (0, 4, _FLAGS, _COUNT, _METADATA_AT, _METADATA_SIZE, _INDEX_AT, _DATA_AT, _CHECKSUM)
        found = [Field(name, *span) for name, span in zip(names, pairwise(bounds), strict=True)]
        found += [Field("checksum", _CHECKSUM, 44), Field("reserved", 44, _HEADER), Field("metadata", *self.metadata)]
        for entry in self.entries:
            found += [Field("name", entry.start, entry.type_at), Field("type", entry.type_at, entry.type_at + 1)]
            found += [Field("shape", entry.type_at + 1, entry.offset_at), Field("place", entry.offset_at, entry.stop)]
        found += [
            Field("data", self.start + entry.offset, self.start + entry.offset + entry.size) for entry in self.by_data
        ]
        return [*found, Field("footer", self.end, len(self.data), needed=False)]

    def sealed(self, edits: Sequence[Edit]) -> list[Edit]:
        """The edits, and those that make the checksums right again."""
        made = edited(self.data, edits)
        checksum = _crc(made[:_CHECKSUM] + made[44:_HEADER])
        sealed = [_with_checksum(edit, checksum) for edit in edits]
        if not any(start <= _CHECKSUM < stop for start, stop, _ in edits):
            sealed.append((_CHECKSUM, 44, checksum))
        if not self.has_footer:
            return sealed
        return [*sealed, (len(self.data) - 4, len(self.data), _crc(edited(self.data, sealed)[:-4]))]

    def rebuilt(self, metadata: bytes, index: bytes, count: int) -> list[Edit]:
        """Another metadata section and index before the same data."""
        index_at = _HEADER + _aligned(len(metadata))
        data_at = index_at + _aligned(len(index))
        head = bytearray(self.data[:_HEADER])
        struct.pack_into("<I", head, _COUNT, count)
        struct.pack_into("<QIQQ", head, _METADATA_AT, _HEADER, len(metadata), index_at, data_at)
        return [(0, self.start, bytes(head) + _padded(metadata) + _padded(index))]

    def with_metadata(self, text: bytes) -> list[Edit]:
        """Other metadata."""
        return self.rebuilt(text, self.data[slice(*self.index)], len(self.entries))

    def with_index(self, entries: Sequence[bytes]) -> list[Edit]:
        """Another index."""
        return self.rebuilt(self.data[slice(*self.metadata)], b"".join(entries), len(entries))

    def raw_entries(self) -> list[bytes]:
        """The bytes of each entry."""
        return [self.data[entry.start : entry.stop] for entry in self.entries]


def _with_checksum(edit: Edit, checksum: bytes) -> Edit:
    start, stop, new = edit
    return (start, stop, new[:_CHECKSUM] + checksum + new[44:]) if start <= _CHECKSUM < stop else edit  # start is 0


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def _padded(data: bytes) -> bytes:
    return data.ljust(_aligned(len(data)), b"\0")


def _put(at: int, code: str, number: int) -> list[Edit]:
    raw = struct.pack("<" + code, number)
    return [(at, at + len(raw), raw)]


def _flag(file: Apr, flag: int) -> list[Edit]:
    return _put(_FLAGS, "H", int.from_bytes(file.data[_FLAGS : _FLAGS + 2], "little") | flag)


def _shard(file: Apr) -> list[Edit]:
    """The first of two, by its flag and by its metadata."""
    about = {"shard_count": 2, "shard_index": 0, "total_size": len(file.data), "pattern": None}
    ((start, stop, made),) = file.with_metadata(_json(file, sharding=about))
    return [(start, stop, made[:_FLAGS] + bytes([made[_FLAGS] | 0x10]) + made[_FLAGS + 1 :])]


def _as_f16(file: Apr) -> list[Edit] | None:
    """A tensor of F32 that says that it is F16: twice the bytes of its shape."""
    found = [entry for entry in file.by_data if file.data[entry.type_at] == _F32]
    return _put(found[-1].type_at, "B", _F16) if found else None


def _overlap(file: Apr) -> list[Edit] | None:
    return _put(file.last.offset_at, "Q", file.by_data[-2].offset) if len(file.by_data) > 1 else None


def _overflow(file: Apr) -> list[Edit] | None:
    """2^32 x 2^32 elements: 0 in 64 bits."""
    wide = [entry.type_at + 2 for entry in file.by_data if len(entry.dims) > 1]
    return _put(wide[-1], "Q", 2**32) + _put(wide[-1] + 8, "Q", 2**32) if wide else None


def _twice(file: Apr) -> list[Edit] | None:
    """The second entry has the name of the first one."""
    if len(file.entries) < 2:
        return None
    first, second = file.entries[:2]
    made = struct.pack("<H", len(first.name)) + first.name + file.data[second.type_at : second.stop]
    return file.with_index([*file.raw_entries()[:1], made, *file.raw_entries()[2:]])


def _unsorted(file: Apr) -> list[Edit] | None:
    return file.with_index(file.raw_entries()[::-1]) if len(file.entries) > 1 else None


def _nine(file: Apr) -> list[Edit]:
    entry = file.last
    shape = (*(1,) * (9 - len(entry.dims)), *entry.dims)
    made = (
        file.data[entry.start : entry.type_at + 1]
        + struct.pack("<B9Q", 9, *shape)
        + file.data[entry.offset_at : entry.stop]
    )
    return file.with_index(
        [made if entry is other else raw for other, raw in zip(file.entries, file.raw_entries(), strict=True)]
    )


def _misaligned(file: Apr) -> list[Edit]:
    """The last tensor begins 8 bytes later, and so do its bytes."""
    at = file.start + file.last.offset
    return [*_put(file.last.offset_at, "Q", file.last.offset + 8), (at, at, bytes(8))]


def _padding(file: Apr) -> list[Edit] | None:
    start, stop = file.metadata[1], file.index[0]
    return [(start, stop, b"\1" * (stop - start))] if start < stop else None


def _json(file: Apr, **more: Any) -> bytes:
    return json.dumps(foreign.json_object(file.data[slice(*file.metadata)], what="the metadata") | more).encode()


_MUST: tuple[Row[Apr], ...] = (
    ("magic-wrong", lambda file: [(0, 4, b"APR2")], "A file begins with APR and a zero"),
    ("version-1", lambda file: [(0, 4, b"APRN")], "Version 1 is another container"),
    ("version-unknown", lambda file: _put(4, "B", 3), "The major version is 2"),
    ("tensor-count-past-the-end", lambda file: _put(_COUNT, "I", 2**32 - 1), "As many entries follow as the header says"),
    ("metadata-size-past-the-end", lambda file: _put(_METADATA_SIZE, "I", 2**32 - 1), "Sections lie inside the file"),
    ("metadata-offset-past-the-end", lambda file: _put(_METADATA_AT, "Q", 2**40), "Sections lie inside the file"),
    ("metadata-offset-overflows", lambda file: _put(_METADATA_AT, "Q", 2**64 - 1), "Sections lie inside the file"),
    ("index-offset-past-the-end", lambda file: _put(_INDEX_AT, "Q", 2**40), "Sections lie inside the file"),
    ("data-offset-past-the-end", lambda file: _put(_DATA_AT, "Q", 2**40), "Sections lie inside the file"),
    ("data-offset-overflows", lambda file: _put(_DATA_AT, "Q", 2**64 - 64), "Sections lie inside the file"),
    ("data-before-the-index", lambda file: _put(_DATA_AT, "Q", _HEADER), "Sections do not overlap"),
    ("metadata-no-json", lambda file: file.with_metadata(_json(file)[:-1]), "The metadata is a JSON object"),
    ("metadata-a-list", lambda file: file.with_metadata(b"[1]"), "The metadata is a JSON object"),
    ("metadata-no-utf-8", lambda file: file.with_metadata(b'{"\xff": 1}'), "The metadata is UTF-8"),
    ("metadata-nested", lambda file: file.with_metadata(b"[" * 100_000), "The metadata is a JSON object"),
    ("name-length-past-the-end", lambda file: _put(file.entries[-1].start, "H", 2**16 - 1), "An entry lies in the index"),
    ("name-no-utf-8", lambda file: [(file.last.start + 2, file.last.start + 3, b"\xff")], "A name is UTF-8"),
    ("type-unknown", lambda file: _put(file.last.type_at, "B", 99), "A type has one of the codes of the table"),
    ("type-of-ggml", lambda file: _put(file.last.type_at, "B", 13), "Q5_K has no code in APR"),
    ("type-smaller-than-the-data", _as_f16, "The bytes of a tensor are those of its shape and type"),
    ("dimensions-past-the-end", lambda file: _put(file.entries[-1].type_at + 1, "B", 255), "An entry lies in the index"),
    ("dimensions-overflow", _overflow, "The bytes of a tensor are those of its shape and type"),
    ("size-smaller-than-the-shape", lambda file: _put(file.last.offset_at + 8, "Q", file.last.size - 1), "The same"),
    ("size-past-the-end", lambda file: _put(file.last.offset_at + 8, "Q", 2**40), "The data lies inside the file"),
    ("offset-past-the-end", lambda file: _put(file.last.offset_at, "Q", 2**40), "The data lies inside the file"),
    ("offset-overflows", lambda file: _put(file.last.offset_at, "Q", 2**64 - 64), "The data lies inside the file"),
    ("tensors-overlap", _overlap, "No two tensors share bytes"),
    ("tensor-twice", _twice, "A name stands once in the index"),
    ("flag-encrypted", lambda file: _flag(file, 0x0004), "Encrypted data cannot be read"),
    ("flag-sharded", _shard, "One shard of several, whose others are not there, is no model"),
    ("flag-column-major", lambda file: _flag(file, 0x0800), "Column-major data stands in another order"),
)  # fmt: skip
_MAY: tuple[Row[Apr], ...] = (
    ("index-unsorted", _unsorted, "The index is sorted by name; some readers go through it"),
    ("offset-misaligned", _misaligned, "Data begins at a multiple of 64; readers do not look"),
    ("nine-dimensions", _nine, "A shape has at most 8 dimensions"),
    ("flag-lz4", lambda file: _flag(file, 0x0001), "Writers set the bit and compress nothing"),
    ("padding-not-zero", _padding, "Padding is zeros; readers do not look"),
    ("metadata-with-nan", lambda file: file.with_metadata(_json(file, extra=float("nan"))), "JSON has no NaN; Python's has"),
)  # fmt: skip
#: What the checksums themselves say: they are not made anew.
_CHECKSUMS: tuple[Row[Apr], ...] = (
    ("header-checksum-wrong", lambda file: [(_CHECKSUM, 44, _flipped(file.data[_CHECKSUM:44]))], "Not every reader looks"),
    ("footer-wrong", lambda file: _footer(file, _flipped(file.data[-4:])), "No reader of aprender looks"),
    ("footer-missing", lambda file: _footer(file, b""), "The engine realizar writes none"),
)  # fmt: skip


def _flipped(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def _footer(file: Apr, data: bytes) -> list[Edit] | None:
    return [(len(file.data) - 4, len(file.data), data)] if file.has_footer else None


def _sourced(rows: Sequence[Row[Apr]]) -> list[Row[Apr]]:
    return [(name, breaks, f"{rule}: {SOURCE}") for name, breaks, rule in rows]


RULES: Rules[Apr] = Rules("apr", _sourced(_MUST), _sourced(_MAY))
CHECKSUMS: Rules[Apr] = Rules("apr", (), _sourced(_CHECKSUMS))


def of_file(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    """All that can be made of a file. Raises NoTwinError, ValueError and what `struct` raises."""
    data = content_of(path)
    if foreigner:
        require_few(path, "tensors", *struct.unpack_from("<I", data, 8))
    file = Apr.of(data)
    require_data(path, file.by_data)
    for rule, verdict, source, edits in RULES.broken(file):
        yield Malformed(rule, verdict, source, path, path.name, tuple(file.sealed(edits)))
    yield from made(path, path.name, CHECKSUMS.broken(file))
    yield from made(path, path.name, cut_short("apr", len(data), file.fields, seed, everywhere))
