"""The rules of GGUF, broken one at a time. The walk over its fields, which shares nothing with the reader, finds the places."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from rosetta_ref.formats.fields import Field as Walked
from rosetta_ref.formats.gguf import fields
from rosetta_ref.formats.gguf.fields import Entry, Key
from rosetta_ref.gate.malformed.broken import (
    Edit,
    Field,
    Malformed,
    Row,
    Rules,
    content_of,
    cut_short,
    made,
    require_data,
    require_few,
)
from rosetta_ref.quant import BY_ID

DOCUMENT = "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"
GGML = "https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/gguf.cpp"
#: The fields of the header in the words of cases, whose ids hold them.
_GROUPS = {
    "magic": "magic", "version": "version", "tensor_count": "tensor-count", "metadata_count": "key-count",
    "key.length": "key-length", "key": "key", "kind": "kind", "value.length": "string-length", "value": "string",
    "value.item": "item-kind", "value.count": "array-count", "value.items": "array", "value.number": "value",
    "name.length": "tensor-name-length", "name": "tensor-name", "dims.count": "dimension-count", "dims": "dimension",
    "type": "type", "offset": "offset",
}  # fmt: skip
#: Dimensions that a tensor may have.
_DIMENSIONS = 4
_BOOL, _STRING, _ARRAY, _U32 = 7, 8, 9, 4
_REMOVED, _UNKNOWN, _F64 = 4, 1000, 28
_ALIGNMENT = b"general.alignment"


@dataclass(frozen=True)
class Gguf:
    """A valid little-endian file, taken apart by the walk over its fields."""

    data: bytes
    keys: Sequence[Key]
    infos: Sequence[Entry]
    header: Sequence[Walked]
    alignment: int

    @classmethod
    def of(cls, data: bytes) -> Gguf:
        """Take a file apart. Raises ValueError for one that cannot be."""
        found = fields.walk(data, most=len(data))
        if found.reasons or found.order == ">":
            raise ValueError("; ".join(found.reasons.values()) or "it is big-endian")
        if wide := [one for one in found.entries if len(one.dims) > _DIMENSIONS]:
            raise ValueError(f"a tensor of {len(wide[0].dims)} dimensions")
        return cls(data, found.keys, found.entries, found.found, found.alignment)

    @property
    def fields(self) -> list[Field]:
        """The parts of the file."""
        named = ((_GROUPS.get(one.what.partition("[")[0]), one) for one in self.header)
        found = [Field(group, one.offset, one.end) for group, one in named if group is not None]
        found.append(Field("header-padding", self.infos_stop, self.data_start))
        ends = sorted({self.data_start + info.offset for info in self.infos} | {len(self.data)})
        spans = [Field("data", start, stop) for start, stop in pairwise(ends)]
        if self.infos:
            spans[-1] = replace(spans[-1], stop=self.data_end())
            spans.append(Field("last-padding", self.data_end(), len(self.data), needed=False))
        return found + spans

    @property
    def data_start(self) -> int:
        """Where the data of the tensors begins."""
        return -(-self.infos_stop // self.alignment) * self.alignment

    @property
    def infos_stop(self) -> int:
        """Where the header ends, before its padding."""
        return self.infos[-1].stop if self.infos else self.keys[-1].stop if self.keys else 24

    @property
    def last(self) -> Entry:
        """The tensor whose data lies last."""
        return max(self.infos, key=lambda info: info.offset)

    def data_end(self) -> int:
        """Where the data of the last tensor ends: its size is that of its type."""
        return self.data_start + self.last.offset + BY_ID[self.last.type].nbytes(self.last.dims[::-1])

    def key(self, kind: int, *, not_empty: bool = True) -> Key | None:
        """The first key of that kind, with a value of some length; None where there is none."""
        found = [key for key in self.keys if key.kind == kind and key.name != _ALIGNMENT]
        least = {_STRING: 12, _ARRAY: 16}.get(kind, 0) if not_empty else 0
        return next((key for key in found if key.stop - key.kind_at > least), None)

    def rebuilt(self, keys: Sequence[bytes] | None = None, infos: Sequence[bytes] | None = None) -> list[Edit]:
        """Another header before the same data: other entries of keys or tensors, counted anew, padded anew."""
        keys = [self.data[key.start : key.stop] for key in self.keys] if keys is None else keys
        infos = [self.data[info.start : info.stop] for info in self.infos] if infos is None else infos
        head = self.data[:8] + struct.pack("<QQ", len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
        return [(0, self.data_start, head + bytes(-len(head) % self.alignment))]

    def with_key(self, name: bytes, kind: int, value: bytes) -> list[Edit]:
        """Another header with one more key, at the end, in the place of one of that name."""
        kept = [self.data[key.start : key.stop] for key in self.keys if key.name != name]
        return self.rebuilt(keys=[*kept, _sized(name) + struct.pack("<I", kind) + value])


def _sized(raw: bytes) -> bytes:
    return struct.pack("<Q", len(raw)) + raw


def _u64(at: int, number: int) -> list[Edit]:
    return [(at, at + 8, struct.pack("<Q", number % 2**64))]


def _u32(at: int, number: int) -> list[Edit]:
    return [(at, at + 4, struct.pack("<I", number))]


def _first_key(file: Gguf, length: int) -> list[Edit] | None:
    return _u64(file.keys[0].start, length) if file.keys else None


def _value(file: Gguf, kind: int, behind: int, number: int) -> list[Edit] | None:
    key = file.key(kind)
    return None if key is None else _u64(key.kind_at + behind, number)


def _item_kind(file: Gguf) -> list[Edit] | None:
    key = file.key(_ARRAY)
    return None if key is None else _u32(key.kind_at + 4, 13)


def _larger(file: Gguf) -> list[Edit] | None:
    """F64, where that has more bytes than there are."""
    needed = file.data_start + file.last.offset + 8 * math.prod(file.last.dims)
    return _u32(file.last.type_at, _F64) if needed > len(file.data) else None


def _slowest(file: Gguf, number: int) -> list[Edit] | None:
    """Another number of rows, or of elements in a tensor of one dimension."""
    return _u64(file.last.dims_at + 4 + 8 * (len(file.last.dims) - 1), number) if file.last.dims else None


def _long(file: Gguf) -> list[Edit] | None:
    return _slowest(file, file.last.dims[-1] * len(file.data)) if file.last.dims else None


def _offset(file: Gguf, number: int) -> list[Edit]:
    return _u64(file.last.stop - 8, number)


def _overflow(file: Gguf) -> list[Edit] | None:
    """2^32 x 2^32 elements of a tensor with two dimensions: 0 in 64 bits."""
    wide = [info for info in file.infos if len(info.dims) > 1]
    return _u64(wide[0].dims_at + 4, 2**32) + _u64(wide[0].dims_at + 12, 2**32) if wide else None


def _ragged(file: Gguf) -> list[Edit] | None:
    blocks = [info for info in file.infos if not BY_ID[info.type].is_scalar]
    return _u64(blocks[0].dims_at + 4, blocks[0].dims[0] - 1) if blocks else None


def _in_order(file: Gguf) -> list[Entry]:
    return sorted(file.infos, key=lambda info: info.offset)


def _overlap(file: Gguf) -> list[Edit] | None:
    return _offset(file, _in_order(file)[-2].offset) if len(file.infos) > 1 else None


def _misaligned(file: Gguf) -> list[Edit]:
    """The last tensor begins a byte later, and so do its bytes."""
    at = file.data_start + file.last.offset
    return [*_offset(file, file.last.offset + 1), (at, at, b"\0")]


def _gap(file: Gguf) -> list[Edit]:
    at = file.data_start + file.last.offset
    return [*_offset(file, file.last.offset + file.alignment), (at, at, bytes(file.alignment))]


def _changed(file: Gguf, info: Entry, entry: bytes) -> list[Edit]:
    return file.rebuilt(infos=[entry if other is info else file.data[other.start : other.stop] for other in file.infos])


def _twice(file: Gguf) -> list[Edit] | None:
    if len(file.infos) < 2:
        return None
    last, other = file.last, _in_order(file)[0]
    return _changed(file, last, _sized(other.name) + file.data[last.dims_at : last.stop])


def _renamed(file: Gguf, name: bytes) -> list[Edit]:
    return _changed(file, file.last, _sized(name) + file.data[file.last.dims_at : file.last.stop])


def _five(file: Gguf) -> list[Edit]:
    last = file.last
    ne = (*last.dims, 1, 1, 1, 1, 1)[: max(5, len(last.dims))]
    dims = struct.pack(f"<I{len(ne)}Q", len(ne), *ne)
    return _changed(file, last, _sized(last.name) + dims + file.data[last.type_at : last.stop])


def _key_twice(file: Gguf) -> list[Edit] | None:
    entries = [file.data[key.start : key.stop] for key in file.keys]
    return file.rebuilt(keys=[*entries, entries[0]]) if entries else None


def _nested(file: Gguf, depth: int) -> list[Edit]:
    opened = struct.pack("<IQ", _ARRAY, 1) * depth
    return file.with_key(b"rosetta.nested", _ARRAY, opened + struct.pack("<IQI", _U32, 1, 7))


def _latin(file: Gguf) -> list[Edit]:
    return file.with_key(b"rosetta.text", _STRING, _sized(b"\xff\xfe"))


def _padding(file: Gguf) -> list[Edit] | None:
    at = file.infos_stop
    return [(at, file.data_start, b"\1" * (file.data_start - at))] if at < file.data_start else None


_MUST: tuple[Row[Gguf], ...] = (
    ("magic-wrong", lambda file: [(0, 4, b"GGML")], "A file begins with GGUF"),
    ("version-1", lambda file: _u32(4, 1), "Version 1 had counts of 32 bits"),
    ("version-unknown", lambda file: _u32(4, 4), "The version is 2 or 3"),
    ("version-huge", lambda file: _u32(4, 2**32 - 1), "The version is 2 or 3"),
    ("tensor-count-past-the-end", lambda file: _u64(8, 2**40), "As many tensors follow as the header says"),
    ("tensor-count-overflows", lambda file: _u64(8, 2**64 - 1), "As many tensors follow as the header says"),
    ("key-count-past-the-end", lambda file: _u64(16, 2**40), "As many keys follow as the header says"),
    ("key-count-overflows", lambda file: _u64(16, 2**64 - 1), "As many keys follow as the header says"),
    ("key-length-past-the-end", lambda file: _first_key(file, len(file.data)), "A string has the bytes it says"),
    ("key-length-overflows", lambda file: _first_key(file, 2**64 - 1), "A string has the bytes it says"),
    ("text-length-past-the-end", lambda file: _value(file, _STRING, 4, len(file.data)), "A string has the bytes it says"),
    ("text-length-overflows", lambda file: _value(file, _STRING, 4, 2**64 - 8), "A string has the bytes it says"),
    ("array-count-past-the-end", lambda file: _value(file, _ARRAY, 8, 2**30), "An array has the items it says"),
    ("array-count-overflows", lambda file: _value(file, _ARRAY, 8, 2**62), "An array has the items it says"),
    ("kind-unknown", lambda file: _u32(file.keys[0].kind_at, 13) if file.keys else None, "A value is of kind 0 to 12"),
    ("item-kind-unknown", _item_kind, "A value is of kind 0 to 12"),
    ("type-unknown", lambda file: _u32(file.last.type_at, _UNKNOWN), "A tensor's type is one of ggml_type"),
    ("type-removed", lambda file: _u32(file.last.type_at, _REMOVED), "A tensor's type is one of ggml_type"),
    ("type-larger-than-the-data", _larger, "The data of a tensor lies inside the file"),
    ("name-length-past-the-end", lambda file: _u64(file.last.start, len(file.data)), "A string has the bytes it says"),
    ("dimension-count-huge", lambda file: _u32(file.last.dims_at, 2**32 - 1), "A tensor has at most 4 dimensions"),
    ("dimension-past-the-end", _long, "The data of a tensor lies inside the file"),
    ("dimension-negative", lambda file: _slowest(file, 2**64 - 1), "No dimension is negative"),
    ("dimensions-overflow", _overflow, "The number of elements fits 63 bits"),
    ("row-not-whole-blocks", _ragged, "A row is a whole number of blocks"),
    ("offset-past-the-end", lambda file: _offset(file, 2**40), "The data of a tensor lies inside the file"),
    ("offset-overflows", lambda file: _offset(file, 2**64 - file.alignment), "The data lies inside the file"),
    ("tensors-overlap", _overlap, "No two tensors share bytes"),
    ("tensor-twice", _twice, "A tensor's name is unique"),
    ("alignment-a-text", lambda file: file.with_key(_ALIGNMENT, _STRING, _sized(b"32")), "The alignment is a u32"),
    ("alignment-zero", lambda file: file.with_key(_ALIGNMENT, _U32, bytes(4)), "The alignment is a power of two"),
)  # fmt: skip
_MAY: tuple[Row[Gguf], ...] = (
    ("offset-misaligned", _misaligned, "ggml refuses an offset that is no multiple of the alignment, gguf-py takes it"),
    ("tensors-with-a-gap", _gap, "ggml refuses a gap between tensors, gguf-py takes it"),
    ("five-dimensions", _five, "ggml refuses five dimensions, gguf-py takes them"),
    ("name-of-64-bytes", lambda file: _renamed(file, b"n" * 64), "ggml refuses a name of 64 bytes, gguf-py takes it"),
    ("name-empty", lambda file: _renamed(file, b""), "ggml and gguf-py take a tensor without a name"),
    ("key-twice", _key_twice, "ggml and gguf-py refuse a key that is there twice, but with one value nothing is unclear"),
    ("bool-of-2", lambda file: file.with_key(b"rosetta.bool", _BOOL, b"\2"), "ggml and gguf-py take a bool of 2"),
    ("text-not-utf-8", _latin, "ggml takes text that is no UTF-8, gguf-py until it is asked for it"),
    ("array-nested", lambda file: _nested(file, 1), "ggml refuses an array in an array, gguf-py takes it"),
    ("array-nested-deeply", lambda file: _nested(file, 20_000), "ggml refuses nested arrays, the document allows them"),
    ("padding-not-zero", _padding, "ggml and gguf-py do not look at padding"),
    ("trailing-bytes", lambda file: [(len(file.data), len(file.data), bytes(7))], "ggml and gguf-py take trailing bytes"),
)  # fmt: skip
RULES: Rules[Gguf] = Rules(
    "gguf",
    *([(name, breaks, f"{rule}: {DOCUMENT}, {GGML}") for name, breaks, rule in rows] for rows in (_MUST, _MAY)),
)


def of_file(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    """All that can be made of a file. Raises NoTwinError, ValueError and what `struct` raises."""
    data = content_of(path)
    for what, count in zip(("tensors", "keys"), struct.unpack_from("<QQ", data, 8), strict=True) if foreigner else ():
        require_few(path, what, count)
    file = Gguf.of(data)
    require_data(path, file.infos)
    yield from made(path, path.name, RULES.broken(file))
    yield from made(path, path.name, cut_short("gguf", len(data), file.fields, seed, everywhere))
