"""The few fields of a SentencePiece `tokenizer.model` that matter here, read from the protobuf wire format.

    ModelProto      1: repeated SentencePiece   2: TrainerSpec   3: NormalizerSpec
    SentencePiece   1: piece (string)           2: score (float) 3: type (enum, NORMAL where absent)
    TrainerSpec     3: model_type (UNIGRAM = 1 where absent, BPE = 2)
    NormalizerSpec  3: add_dummy_prefix (true where absent)

A field is a varint ``number << 3 | wire type``, then a varint (0), 8 bytes (1), a length and bytes (2) or 4 bytes (5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer.vocabulary import BrokenTokenizerFileError, TokenType

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BPE = 2


class UnigramModelError(BrokenTokenizerFileError):
    """The tokenizer model "llama" is SentencePiece BPE; a unigram model would be encoded differently without a word."""


@dataclass(frozen=True)
class Pieces:
    """What a tokenizer.model says: text, score and type of each piece, and whether a text begins with a space."""

    pieces: list[tuple[str, float, int]]
    add_space_prefix: bool


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    raise BrokenTokenizerFileError("a number that does not end", file="tokenizer.model", offset=at)


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The (number, value) pairs of a message: int for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise BrokenTokenizerFileError(f"wire type {wire}", file="tokenizer.model", offset=at)
        if at + size > len(data):
            raise BrokenTokenizerFileError("a field is longer than its message", file="tokenizer.model", offset=at)
        yield number, data[at : at + size]
        at += size


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, int(TokenType.NORMAL)
    for number, value in fields(data):
        if number == 1:
            text = value.decode("utf-8")
        elif number == 2:
            (score,) = struct.unpack("<f", value)
        elif number == 3:
            kind = value
    if type(kind) is not int or not TokenType.NORMAL <= kind <= TokenType.BYTE:
        raise BrokenTokenizerFileError(f"a piece is of the type {shown(kind)}", file="tokenizer.model")
    return text, score, kind


def _last(data: bytes, default: int) -> int:
    """Field 3 of a message: of several the last one counts, as protobuf has it. Raises TypeError where it is no number."""
    for number, value in fields(data):
        if number == 3:
            default = value
    if not isinstance(default, int):
        raise TypeError("field 3 is no number")
    return default


def parse(data: bytes) -> Pieces:
    """Read a tokenizer.model. Raises BrokenTokenizerFileError, or UnigramModelError for a model that is not BPE."""
    pieces: list[tuple[str, float, int]] = []
    model_type, prefix = 1, True
    try:
        for number, value in fields(data):
            if number == 1:
                pieces.append(_piece(value))
            elif number == 2:
                model_type = _last(value, model_type)
            elif number == 3:
                prefix = bool(_last(value, prefix))
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise BrokenTokenizerFileError(f"a field of another kind: {error}", file="tokenizer.model") from error
    if model_type != _BPE:
        raise UnigramModelError("the model is not BPE", file="tokenizer.model", hint="Convert with --keep-names.")
    return Pieces(pieces, prefix)
