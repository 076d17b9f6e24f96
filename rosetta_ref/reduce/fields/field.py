"""A field, and how claims of what bytes mean become a row of fields without gap or overlap.

Offsets in a damaged file point anywhere. So a format claims fields where its offsets say, in any order, and `tiled` lays them side
by side: the first claim to a byte holds, a claim cut by another keeps its rest, and what nobody claims is padding or not explained.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rosetta_ref.errors import safe_line
from rosetta_ref.quant import BlockType

#: Characters of a name in a label; names may be as long as the file.
_LABEL_LIMIT = 64
#: Fields of one file that are told apart; a file of 64 KiB cannot have more.
MOST_FIELDS = 1 << 17


class LostError(Exception):
    """Nothing from here on can be explained; the message says why."""


@dataclass(frozen=True)
class Field:
    """Some bytes of a file and what they are.

    `format` is of `struct`: "<I", "<16B", "7s" for text and bytes. `meaning` is what the value stands for (the name of a type).
    `kind` is the type where the bytes are a row of numbers as such, in the byte order that `format` says.
    """

    offset: int
    data: bytes
    label: str
    format: str
    meaning: str = ""
    kind: BlockType | None = None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)

    @property
    def end(self) -> int:
        """Where the next field begins."""
        return self.offset + len(self.data)

    @property
    def group(self) -> str:
        """What the field is a part of: one key, one tensor of the table, the data of one tensor."""
        return self.label.partition(" / ")[0]

    @property
    def values(self) -> tuple[Any, ...]:
        """What `struct` makes of the bytes."""
        return struct.unpack(self.format, self.data)

    @property
    def value(self) -> Any:
        """The one value, or the tuple of them."""
        return self.values[0] if len(self.values) == 1 else self.values


@dataclass
class Claims:
    """A place in a file, and what was said of its bytes so far. `order` is "<" or ">", `alignment` what sections begin at."""

    data: bytes
    order: str = "<"
    alignment: int = 1
    position: int = 0
    found: list[Field] = field(default_factory=list)
    #: Why nothing is known from an offset on.
    reasons: dict[int, str] = field(default_factory=dict)

    def number(self, code: str, label: str, meaning: Callable[[int], str] | None = None) -> int:
        """Claim the next number. Raises LostError at the end of the file."""
        data = self._next(struct.calcsize("<" + code), label)
        value: int = struct.unpack(self.order + code, data)[0]
        self._claim(data, label, self.order + code, meaning(value) if meaning else "")
        return value

    def numbers(self, count: int, code: str, label: str) -> None:
        """Claim the next numbers as one field. Raises LostError where there are not so many."""
        data = self._next(count * struct.calcsize("<" + code), label)
        self._claim(data, label, f"{self.order}{count}{code}")

    def take(self, size: int, label: str, meaning: str = "") -> bytes:
        """Claim so many bytes as they are. Raises LostError where there are not so many."""
        data = self._next(size, label)
        self._claim(data, label, f"{size}s", meaning)
        return data

    def lose(self, error: LostError) -> None:
        """Remember why nothing is known from this position on."""
        self.reasons[self.position] = str(error)

    def _next(self, size: int, label: str) -> bytes:
        left = max(len(self.data) - self.position, 0)
        if size > left:
            raise LostError(f"{label} of {size} bytes, {left} are left")
        return self.data[self.position : self.position + size]

    @property
    def room(self) -> int:
        """How many more fields are told apart."""
        return MOST_FIELDS - len(self.found)

    def _claim(self, data: bytes, label: str, form: str, meaning: str = "") -> None:
        if self.room <= 0:
            raise LostError(f"more than {MOST_FIELDS:,} fields")
        self.found.append(Field(self.position, data, label, form, meaning))
        self.position += len(data)


def tiled(claims: Claims) -> Iterator[Field]:
    """Fields side by side from the first byte to the last."""
    position = 0
    for claim in sorted(claims.found, key=lambda claim: claim.offset):
        if claim.end <= position or not claim.size:
            continue
        if claim.offset < position:
            claim = _rest(claim, position)
        yield from _between(claims, position, claim.offset)
        yield claim
        position = claim.end
    yield from _between(claims, position, len(claims.data))


def _rest(claim: Field, position: int) -> Field:
    data = claim.data[position - claim.offset :]
    return replace(
        claim, offset=position, data=data, format=f"{len(data)}s", meaning="the rest, after an overlap", kind=None
    )


def _between(claims: Claims, start: int, stop: int) -> Iterator[Field]:
    """Bytes that nobody claims: up to the next multiple of the alignment they are padding."""
    aligned = start + -start % claims.alignment
    if start in claims.reasons or aligned > stop:
        aligned = start
    if aligned > start:
        data = claims.data[start:aligned]
        yield Field(start, data, "padding", f"{len(data)}s", "not zeros" if any(data) else "")
    if stop > aligned:
        data = claims.data[aligned:stop]
        yield Field(aligned, data, "not explained", f"{len(data)}s", claims.reasons.get(aligned, ""))


def shown(name: bytes | str) -> str:
    r"""A name from a file as one short piece of a line.

    >>> shown(b"a\nb\xff")
    'a\\nb\\xff'
    """
    short = name[: 4 * (_LABEL_LIMIT + 1)]  # bytes of as many characters
    text = short.decode("utf-8", "backslashreplace") if isinstance(short, bytes) else short
    return printable(text if len(text) <= _LABEL_LIMIT else text[: _LABEL_LIMIT - 3] + "...")


def printable(text: str) -> str:
    r"""Text in one line, with an escape for what is not seen, moves what is seen, or is a command to a CI service.

    It escapes what `errors.safe_line` escapes, and whatever else Unicode does not call printable.

    >>> printable("a\nb\u202e"), printable("::error::forged")
    ('a\\nb\\u202e', '\\x3a:error::forged')
    """
    return safe_line("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
