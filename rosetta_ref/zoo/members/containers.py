"""Containers: where the bytes of a tensor are, whether they are all there, in which order, and in which file."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.archive import Bytes, Kind, Source, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf
from rosetta_ref.formats.apr import index as apr_index
from rosetta_ref.formats.apr import reader as apr_reader
from rosetta_ref.formats.apr.index import Entry
from rosetta_ref.formats.gguf import layout, placement, values
from rosetta_ref.formats.safetensors import reader as safetensors_reader
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import NAME, blocks, floats, in_apr, in_gguf, in_safetensors
from rosetta_ref.zoo.member import Make, Member, writing_each
from rosetta_ref.zoo.members.labels import as_far_as_it_goes
from rosetta_ref.zoo.seams import nothing, replacing

# --- wrong parts -------------------------------------------------------------------------------------------------------------


def _default_alignment(metadata: Mapping[str, Any]) -> int:
    return layout.ALIGNMENT_DEFAULT


class _Ignored(int):
    """The alignment that is taken; `stated` is the one that was to be taken."""

    stated: int


def _ignored_alignment(metadata: dict[str, Any]) -> _Ignored:
    made = _Ignored(layout.ALIGNMENT_DEFAULT)
    made.stated = values.alignment_of(metadata)
    return made


_check_placement = placement.check_placement


def _placed_as_stated(cursor: Any, entries: Any, start: int, alignment: _Ignored) -> None:
    """The check by the alignment that is stated: a file that is cut is still refused."""
    start = cursor.position + layout.padding(cursor.position, alignment.stated)
    _check_placement(cursor, entries, start, alignment.stated)


_parse, _end = apr_index.parse, apr_reader.end_of
_check_alignment, _check_overlap = apr_index.check_alignment, apr_index.check_overlap


def _unpadded(section: memoryview, count: int, at: int) -> tuple[list[Entry], int]:
    """Entries whose data follow each other without the padding between them."""
    entries, end = _parse(section, count, at)
    places, offset = {}, 0
    for entry in apr_index.in_data_order(entries):
        places[entry.name] = offset
        offset += entry.nbytes
    _check_alignment(entries, 0)
    _check_overlap(entries, 0)
    return [replace(entry, offset=places[entry.name]) for entry in entries], end


def _end_as_padded(source: Any, header: Any, entries: list[Entry]) -> tuple[int, bool]:
    """The end by the offsets that are stored: a file that is cut is still refused."""
    section = source.read(header.index_offset, header.data_offset).data
    return _end(source, header, _parse(section, header.tensor_count, header.index_offset)[0])


def _whatever_end(source: Any, *_: Any) -> tuple[int, bool]:
    return source.size, False


_header_text, _check_spans = safetensors_reader.header_text, safetensors_reader.check_spans


def _without_padding(file: Any) -> tuple[str, int]:
    """The data taken to begin behind the closing brace, where spaces may still follow."""
    text, _ = _header_text(file)
    return text, 8 + len(text.rstrip(" ").encode())


def _spans_behind_padding(entries: Any, file: Any, base: int) -> None:
    """The check by where the data do begin: a file that is cut is still refused."""
    _check_spans(entries, file, _header_text(file)[1])


@dataclass(frozen=True)
class _WordsSwapped:
    """Whole blocks as 16-bit words of the other order; plain numbers are swapped as they should be."""

    source: Source
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return self.source.nbytes

    def read(self, start: int, stop: int) -> Bytes:
        size = self.dtype.itemsize if self.dtype.names == ("x",) else 2
        first, last = start // size * size, -(-stop // size) * size
        data = self.source.read(first, last).copy()
        return data.view(f"u{size}").byteswap().view(np.uint8)[start - first : stop - first]

    def release(self, start: int, stop: int) -> None:
        self.source.release(start, stop)


def _big_endian_numbers(one: Tensor) -> Tensor:
    """Numbers as a big-endian machine has them in memory, in a file that is little-endian."""
    if not one.type.is_scalar:
        return one
    return Tensor.of(one.name, one.type, one.shape, one.data.view(f"u{one.type.block_bytes}").byteswap())


# --- inputs ------------------------------------------------------------------------------------------------------------------


def aligned_to_64(past: int) -> Make:
    """A file of alignment 64 whose header ends that many bytes behind a multiple of 64 (1 to 64)."""

    def make(folder: Path) -> Path:
        starts: list[int] = []
        while True:
            metadata = {
                "general.alignment": Value.scalar(Kind.U32, 64),
                "general.name": Value.scalar(Kind.STRING, "m" * len(starts)),
            }
            path = in_gguf(floats("F32", *range(1, 33)), metadata=metadata)(folder)
            with gguf.read(path) as archive:
                starts.append(archive.tensors[NAME].offset or 0)
            jumps = [n for n in range(1, len(starts)) if starts[n] > starts[n - 1]]
            if jumps and len(starts) - 1 == jumps[0] + past - 1:
                return path

    return make


def _aligned_in_apr(alignment: int) -> Make:
    """An APR file that remembers an alignment of GGUF's; two tensors, the first of 32 bytes."""

    def make(folder: Path) -> Path:
        metadata = {"general.alignment": Value.scalar(Kind.U32, alignment)}
        rows = [replace(floats("F32", *range(1, 9)), name=f"{letter}.weight") for letter in "ab"]
        source = in_gguf(*rows, metadata=metadata)(folder)
        convert(source, folder / "source.apr", keep_names=True)
        source.unlink()
        return folder / "source.apr"

    return make


def _with_padding(padded: bool) -> Make:
    """A SafeTensors file whose header is padded, or fits as it is."""

    def make(folder: Path) -> Path:
        for length in range(1, 16):
            path = in_safetensors(replace(floats("F32", 1, 2, 3, 4), name="w" * length))(folder)
            if (b" " in path.read_bytes()[8:-16]) is padded:
                return path
        raise AssertionError("one length in eight fits")

    return make


def _cut(make: Make) -> Make:
    """A file without its last byte of data: no padding follows the data."""

    def cut(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(path.read_bytes()[:-1])
        return path

    return cut


def _big_endian(block: np.ndarray[Any, Any]) -> Make:
    """A big-endian GGUF file of one block, Q4_K by its table entry; the block is as given."""

    def make(folder: Path) -> Path:
        name = NAME.encode()
        head = b"GGUF" + struct.pack(">Iqq", 3, 1, 0) + struct.pack(">Q", len(name)) + name
        head += struct.pack(">IqqIQ", 2, 256, 1, 12, 0)
        path = folder / "source.gguf"
        path.write_bytes(head + bytes(-len(head) % 32) + block.tobytes() + bytes(-block.nbytes % 32))
        return path

    return make


def _q4_k_swapped(**fields: Any) -> np.ndarray[Any, Any]:
    block = blocks("Q4_K", **fields)
    for name in ("d", "dmin"):
        block[name] = block[name].byteswap()
    return block


def _apr_pair(*sizes: int) -> Make:
    return in_apr(*(replace(floats("F32", *range(1, size + 1)), name=f"{n}.weight") for n, size in enumerate(sizes)))


_PLAIN = in_gguf(floats("F32", *range(1, 17)))

MEMBERS = (
    Member(
        "alignment-key-ignored", "offsets", "ollama #18130, pygguf",
        "general.alignment not honoured (read as a signed type, or a constant)",
        "alignment 64 with a header that ends on 32 but not on 64", "headers that happen to end on the larger boundary",
        ("G-S", "G-A"), ("gguf",),
        replacing(
            seams.GGUF_ALIGNMENT_READ.by(_ignored_alignment), seams.GGUF_PLACEMENT.by(_placed_as_stated),
            seams.SPAN_READ.by(as_far_as_it_goes),
        ),
        aligned_to_64(1),
        aligned_to_64(33),
        "https://github.com/ollama/ollama/issues/18130",
    ),
    Member(
        "alignment-key-kept-not-applied", "offsets", "ours",
        "the writer keeps general.alignment among the metadata and pads to 32 all the same",
        "alignment 64 and two tensors, the first of 32 bytes", "alignment 32, or none",
        ("A-G",), ("gguf",),
        replacing(seams.GGUF_ALIGNMENT_WRITTEN.by(_default_alignment)),
        _aligned_in_apr(64),
        _aligned_in_apr(32),
    ),
    Member(
        "apr-offsets-unpadded", "offsets", "ours",
        "the reader adds up the sizes of tensors and forgets the padding to 64 between them",
        "two tensors, the first of 4 bytes", "sizes that are multiples of 64",
        ("A-S", "A-G"), ("apr",),
        replacing(
            seams.APR_PARSE.by(_unpadded), seams.APR_END.by(_end_as_padded),
            seams.APR_CHECK_ALIGNMENT.by(nothing), seams.APR_CHECK_OVERLAP.by(nothing),
        ),
        _apr_pair(1, 2),
        _apr_pair(16, 2),
    ),
    Member(
        "header-padding-not-counted", "offsets", "ours",
        "the data taken to begin behind the header's closing brace, not behind its padding",
        "a header with spaces at its end", "a header that is a multiple of 8 long as it is",
        ("S-G", "S-A"), ("safetensors",),
        replacing(
            seams.SAFETENSORS_HEADER_TEXT.by(_without_padding),
            seams.SAFETENSORS_SPANS.by(_spans_behind_padding),
        ),
        _with_padding(True),
        _with_padding(False),
    ),
    Member(
        "truncation-accepted", "container", "aprender #2612",
        "a file cut anywhere in the data is accepted; what is missing is 0",
        "cut the last byte", "whole files",
        ("G-S", "G-A", "A-S", "A-G", "S-A", "S-G"), ("gguf", "apr", "safetensors"),
        replacing(
            seams.GGUF_PLACEMENT.by(nothing), seams.SPAN_READ.by(as_far_as_it_goes),
            seams.SAFETENSORS_SPANS.by(nothing), seams.APR_END.by(_whatever_end),
        ),
        _cut(_PLAIN),
        _PLAIN,
        "https://github.com/paiml/aprender/issues/2612",
    ),
    Member(
        "big-endian-block-swapped-whole", "endianness", "llama.cpp s390x PRs",
        "whole block byte-swapped as u16; only d and dmin may be",
        "one big-endian Q4_K block", "palindromic blocks",
        ("G-S", "G-A"), ("gguf",),
        replacing(seams.GGUF_SWAPPED.by(_WordsSwapped)),
        _big_endian(_q4_k_swapped(d=1, dmin=0.5, scales=np.arange(12), qs=np.arange(128))),
        _big_endian(_q4_k_swapped(d=1, dmin=0.5, scales=0x11, qs=0x37)),
    ),
    Member(
        "floats-written-big-endian", "endianness", "ours",
        "a big-endian machine writes its floats as it has them in memory",
        "one number", "numbers whose bytes are a palindrome, 0 among them",
        ("G-A", "G-S", "S-A", "A-S"), ("apr", "safetensors"),
        writing_each(_big_endian_numbers, "apr", "safetensors"),
        _PLAIN,
        in_gguf(floats("F32", 0, 0)),
    ),
)  # fmt: skip
