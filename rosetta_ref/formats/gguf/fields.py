"""The walk over a GGUF file, in the words of `formats.gguf.layout`. It never raises; see `formats.fields`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rosetta_ref.archive import Kind
from rosetta_ref.formats.fields.reader import MOST_FIELDS, Bytes, LostError, Reader, Walk, titled
from rosetta_ref.formats.fields.stored import CODES, Stored, bytes_wanted
from rosetta_ref.formats.gguf import layout
from rosetta_ref.quant import BY_ID

_KINDS = range(len(Kind))
_KIND_NAMES = {int(kind): kind.name for kind in Kind}
_VALUE_CODES = {kind: CODES[kind.dtype.str[1:]] for kind in Kind if kind.dtype is not None}
_VALUE_SIZES = {kind: kind.dtype.itemsize for kind in Kind if kind.dtype is not None}
#: Lengths, counts and dimensions that files have.
_LENGTHS, _COUNTS, _DIMENSIONS = range(1 << 12), range(1 << 9), range(9)
#: In an array, nothing is guessed.
_NONE = range(0)
#: Bytes of the header, and of the length of a text.
HEADER, _LENGTH = len(layout.MAGIC) + layout.least_size(layout.HEADER), layout.STRING_LEAST


@dataclass(frozen=True)
class Key:
    """A key of the metadata, from `start` to `stop`: its kind stands at `kind_at`, the text or items of its value at `value_at`."""

    name: bytes
    kind: int
    item: int
    count: int
    start: int
    kind_at: int
    value_at: int
    stop: int


@dataclass(frozen=True)
class Entry:
    """A tensor as the table has it, from `start` to `stop`; `dims` as they stand there, the fastest first."""

    name: bytes
    dims: tuple[int, ...]
    type: int
    offset: int
    start: int
    dims_at: int
    type_at: int
    stop: int


def walk(data: bytes, most: int = MOST_FIELDS) -> Walk:
    """All that is known of a file; of so many fields of the header at most."""
    made = Walk(data, deepest=layout.DEPTH_LIMIT, alignment=layout.ALIGNMENT_DEFAULT, most=most)
    try:
        made.raw(len(layout.MAGIC), "magic", "header.magic")
        made.order = _order(data[made.position :])
        version, tensor_count, key_count = list(layout.HEADER)
        made.number(version, "version", "header.version")
        count = made.number(tensor_count, "tensor_count", "header.tensor_count")
        keys = made.number(key_count, "metadata_count", "header.key_count")
        for number in range(keys):
            made.keys.append(key(made, number))
            made.alignment = _alignment(made, made.keys[-1])
        for number in range(count):
            made.entries.append(entry(made, number))
    except LostError as error:
        made.lose(error)
        return made
    made.tensors += _stored(made, made.entries)
    return made


def _order(version: bytes) -> str:
    """The byte order: a version is a small number in one of the two only."""
    return ">" if len(version) >= 2 and not any(version[:2]) else "<"


def _alignment(made: Walk, last: Key) -> int:
    """With what a key says of it."""
    if last.name != layout.ALIGNMENT_KEY.encode() or last.kind != layout.ALIGNMENT_KIND:
        return made.alignment
    value = int.from_bytes(made.data[last.value_at : last.stop], "big" if made.order == ">" else "little")
    return value if value.bit_count() == 1 else made.alignment


def key(reader: Reader, number: int) -> Key:
    """The next key with its value."""
    start, reader.title = reader.position, f"metadata[{number}]"
    name = bytes(_text(reader, "key", "key"))
    kind_at, reader.title = reader.position, titled("metadata", number, name) if reader.labelled else ""
    kind = _kind(reader, "kind", "kind")
    item = count = 0
    value_at = reader.position
    if kind == Kind.STRING:
        _text(reader, "value", "value")
        value_at += _LENGTH
    elif kind == Kind.ARRAY:
        item, count = _opened(reader, "")
        value_at = reader.position
        _items(reader, item, count)
    else:
        reader.number(_VALUE_CODES[Kind(kind)], "value.number", "value")
    return Key(name, kind, item, count, start, kind_at, value_at, reader.position)


def entry(reader: Reader, number: int) -> Entry:
    """The next tensor of the table."""
    start, reader.title = reader.position, f"tensor[{number}]"
    name = bytes(_text(reader, "name", "name"))
    dims_at, reader.title = reader.position, titled("tensor", number, name) if reader.labelled else ""
    count = reader.number(
        layout.DIMENSIONS,
        "dims.count",
        "dimensions",
        fits=lambda n: n <= layout.DIMENSION_LIMIT_READ,
        usual=_DIMENSIONS,
        problem="{title} / of {value} dimensions",
    )
    dims = tuple(reader.number(layout.DIMENSION, f"dims[{i}]", f"dims[{i}]") for i in range(count))
    type_code, offset_code = list(layout.PLACE)
    type_at = reader.position
    type_id = reader.number(type_code, "type", "type", meaning=_type_name)
    offset = reader.number(offset_code, "offset", "offset")
    return Entry(name, dims, type_id, offset, start, dims_at, type_at, reader.position)


def _text(reader: Reader, what: str, words: str, usual: range = _LENGTHS) -> Bytes:
    room = reader.left - _LENGTH
    length = reader.number(layout.LENGTH, f"{what}.length", f"{words} length", fits=lambda n: n <= room, usual=usual)
    return reader.raw(length, what, words)


def _kind(reader: Reader, what: str, words: str, usual: range = _KINDS) -> int:
    return reader.number(
        layout.KIND,
        what,
        words,
        fits=_KINDS.__contains__,
        usual=usual,
        problem="{label} is {value}",
        meaning=lambda number: _KIND_NAMES.get(number, "no kind"),
    )


def _opened(reader: Reader, words: str, kinds: range = _KINDS, counts: range = _COUNTS) -> tuple[int, int]:
    """Kind and count of the items of an array."""
    item = _kind(reader, "value.item", f"{words}item kind", kinds)
    room, least = reader.left - _LENGTH, _VALUE_SIZES.get(Kind(item), _LENGTH)
    count = reader.number(layout.LENGTH, "value.count", f"{words}count", fits=lambda n: n * least <= room, usual=counts)
    return item, count


def _items(reader: Reader, item: int, count: int) -> None:
    """The items of an array; arrays in it are no calls, since they may be nested deeper than Python's stack."""
    opened = [(item, iter(range(count)), "")]
    if item in _VALUE_CODES:
        reader.numbers(count, _VALUE_CODES[Kind(item)], "value.items", "items")
        return
    while opened:
        item, places, words = opened[-1]
        place = next(places, None)
        if place is None:
            opened.pop()
            continue
        inner = f"{words}[{place}]" if reader.labelled else ""
        if item == Kind.STRING:
            _text(reader, "value", inner, _NONE)
            continue
        if reader.deepest is not None and len(opened) >= reader.deepest:
            raise LostError(f"{reader.title} / {inner} of {len(opened) + 1} arrays in each other")
        item, count = _opened(reader, f"{inner} ", _NONE, _NONE)
        if item in _VALUE_CODES:
            reader.numbers(count, _VALUE_CODES[Kind(item)], "value.items", f"{inner} items")
        else:
            opened.append((item, iter(range(count)), f"{inner} "))


def _type_name(number: int) -> str:
    return BY_ID[number].name if number in BY_ID else layout.REMOVED_TYPES.get(number, "no type")


def _stored(made: Walk, entries: Sequence[Entry]) -> Iterator[Stored]:
    """Where data lie: where type and dimensions do not say how many there are, they reach to the next tensor's."""
    base, end = made.position + layout.padding(made.position, made.alignment), len(made.data)
    starts = sorted({entry.offset for entry in entries})
    for one in entries:
        kind, shape = BY_ID.get(one.type), layout.turned(one.dims)
        size = bytes_wanted(kind, shape)
        if size is None:
            following = bisect_right(starts, one.offset)
            size = (starts[following] if following < len(starts) else end) - one.offset
        start = min(base + one.offset, end)
        stop = min(start + max(size, 0), end)
        yield Stored(one.name.decode("utf-8", "surrogateescape"), kind, shape, start, stop, made.order)
