"""Labels: the bytes of one type under the name of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from rosetta_ref import recode
from rosetta_ref.archive import Bytes, Source, Span, Tensor
from rosetta_ref.convert import target
from rosetta_ref.formats.apr.tables import CODES
from rosetta_ref.formats.gguf import placement
from rosetta_ref.formats.gguf import reader as gguf_reader
from rosetta_ref.formats.gguf.placement import Entry
from rosetta_ref.formats.safetensors import writer as safetensors_writer
from rosetta_ref.quant import BY_ID, TYPES, BlockType
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import blocks, floats, in_apr, in_gguf, tensor
from rosetta_ref.zoo.member import Member
from rosetta_ref.zoo.seams import nothing, replaced, replacing


@dataclass(frozen=True)
class Cut:
    """The first bytes of a source, with zeros behind its end where it has less."""

    inner: Source
    nbytes: int

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes from start to stop."""
        made = np.zeros(min(stop, self.nbytes) - start, np.uint8)
        found = (
            self.inner.read(start, min(stop, self.nbytes, self.inner.nbytes)) if start < self.inner.nbytes else made[:0]
        )
        made[: found.size] = found
        return made

    def release(self, start: int, stop: int) -> None:
        """Nothing is let go of."""


_decoded = recode.decoded


def _words_of_blocks(made: Tensor, name: str = "F32") -> Tensor:
    """The words of the blocks, as many as there are whole ones, in one row."""
    if made.type.is_scalar:
        return _decoded(made, name)
    words = made.nbytes // 4
    return Tensor(made.name, TYPES["F32"], (words,), Cut(made.source, 4 * words))


def _aprq8_as_q8_0(made: Tensor, name: str = "F32") -> Tensor:
    if made.type.name != "AprQ8":
        return _decoded(made, name)
    return replace(made, type=TYPES["Q8_0"], offset=None)


_CONVERT, _plan = import_module("rosetta_ref.convert"), target.plan_gguf


def _plan_gguf(*args: Any, **options: Any) -> target.Plan:
    with replaced(seams.DECODED.by(_aprq8_as_q8_0)):
        return _plan(*args, **options)


_type, _check_placement = gguf_reader.type_of, placement.check_placement
#: Q5_0 is 6, Q5_1 is 7 and Q8_0 is 8; remembered as Q5_1, Q8_0 and Q5_0.
_FROM_MEMORY = {6: TYPES["Q5_1"], 7: TYPES["Q8_0"], 8: TYPES["Q5_0"]}
_TRULY = {kind.name: BY_ID[number] for number, kind in _FROM_MEMORY.items()}


def _type_from_memory(id_: int) -> BlockType:
    return _FROM_MEMORY.get(id_) or _type(id_)


def _placed_as_written(cursor: Any, entries: Sequence[Entry], *place: int) -> None:
    """The check of a reader that knows the types: a file that is cut is still refused."""
    kinds = [_TRULY.get(entry.type.name, entry.type) for entry in entries]
    true = [
        replace(entry, type=kind, nbytes=kind.nbytes(entry.shape)) for entry, kind in zip(entries, kinds, strict=True)
    ]
    _check_placement(cursor, true, *place)


def as_far_as_it_goes(span: Span, start: int, stop: int) -> Bytes:
    """What a span of a mapped file holds, zeros beyond the end of the file."""
    first, last = span.offset + start, span.offset + min(stop, span.nbytes)
    found = span.file.read(first, last)
    missing = np.zeros(last - first - found.size, np.uint8)
    return np.concatenate([found, missing]) if missing.size else found


def _header_of_halves(tensors: list[Tensor], *rest: Any) -> bytes:
    named = [replace(made, type=TYPES["F16"]) if made.type.name == "BF16" else made for made in tensors]
    return _header(named, *rest)


_header = safetensors_writer.header_of

_ONES = blocks("Q8_0", qs=np.arange(1, 33), d=1)

MEMBERS = (
    Member(
        "quant-bytes-read-as-f32", "label", "aprender #177, #172",
        "raw blocks of any quantised type are taken for little-endian f32",
        "one Q4_K block", "none",
        ("G-S", "A-S"), ("gguf", "apr"),
        replacing(seams.DECODED.by(_words_of_blocks)),
        in_gguf(tensor("Q4_K", blocks("Q4_K", d=1, dmin=1, scales=np.arange(12), qs=np.arange(128)))),
        in_gguf(floats("F32", 1, 2, 3, 4)),
        "https://github.com/paiml/aprender/issues/177",
    ),
    Member(
        "raw-blocks-labelled-f32", "label", "aprender 0.25.0",
        "Q5_K blocks stored raw under the code of F32; size and shape disagree",
        "one Q5_K tensor", "readers that trust the size",
        ("G-A",), ("apr",),
        replacing(seams.APR_CODES.by({**CODES, "Q5_K": CODES["F32"]})),
        in_gguf(tensor("Q5_K", blocks("Q5_K", d=1, qs=np.arange(128)))),
        in_gguf(tensor("Q4_K", blocks("Q4_K", d=1, qs=np.arange(128)))),
        "https://github.com/paiml/aprender/issues/177",
    ),
    Member(
        "aprq8-labelled-q8_0", "label", "aprender #1922",
        "one-scale-per-tensor bytes (4 + N) exported under the label Q8_0",
        "256 elements: 260 bytes, 272 expected", "none",
        ("A-G",), ("gguf",),
        replacing(seams.PLAN_GGUF.by(_plan_gguf), seams.GGUF_CHECK_TENSOR.by(nothing)),
        in_apr(Tensor.of("blk.0.ffn_up.weight", TYPES["AprQ8"], (1, 256), np.float32(0.5).tobytes() + bytes(range(256)))),
        in_apr(floats("F32", 1, 2, 3, 4)),
        "https://github.com/paiml/aprender/issues/1922",
    ),
    Member(
        "type-ids-from-memory", "label", "1bit-MONSTER #489",
        "ids 6, 7, 8 (Q5_0, Q5_1, Q8_0) rotated",
        "one Q8_0 block", "a file with none of the three",
        ("G-S", "G-A"), ("gguf",),
        replacing(
            seams.GGUF_TYPE_OF.by(_type_from_memory), seams.GGUF_PLACEMENT.by(_placed_as_written),
            seams.SPAN_READ.by(as_far_as_it_goes),
        ),
        in_gguf(tensor("Q8_0", _ONES)),
        in_gguf(tensor("Q4_0", blocks("Q4_0", d=1, qs=np.arange(16)))),
        "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/489",
    ),
    Member(
        "bf16-labelled-f16", "label", "ours",
        "the writer says F16 of every 16-bit float: BF16 bytes under the dtype F16",
        "one BF16 number that is not 0", "zeros; models in F32 or F16",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.SAFETENSORS_HEADER.by(_header_of_halves)),
        in_gguf(floats("BF16", 1, 2)),
        in_gguf(floats("F32", 1.0009765625, 2)),
    ),
)  # fmt: skip
