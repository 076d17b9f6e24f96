"""Two archives side by side: what differs, where, and by how much.

Tensors are paired by name, never by position. Those of one type are compared by their bytes, others by what they decode to,
bit for bit, NaN for NaN. Files of different formats are compared as the canonical models that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.streaming import byte_of, each, index_of, value_chunks

#: Metadata that tells of the encoding or of a file's name: files of different formats need not agree on it.
_ENCODING = frozenset({
    "general.file_type", "general.quantization_version", "general.alignment", "general.name", "general.size_label",
})  # fmt: skip


class NothingComparedError(RosettaError):
    """A verdict counts what it compared, and nothing compared is an error."""


@dataclass(frozen=True)
class Place:
    """The first place where two tensors differ, on one side: file, byte, and what stands there in hex and decoded."""

    file: Path | None
    offset: int | None
    hex: str
    value: float | None

    def __str__(self) -> str:
        shown = self.hex if self.value is None else f"{self.hex} ({self.value:g})"
        return shown if self.offset is None else f"{shown} at byte {self.offset:#x} of {self.file}"


@dataclass(frozen=True)
class Difference:
    """How a pair of tensors differs. `what` is type, shape, values or bytes; `count` is of elements (of bytes for bytes)."""

    tensor: str
    what: str
    detail: str
    count: int = 0
    index: tuple[int, ...] | None = None
    first: tuple[Place, Place] | None = None
    largest_error: float | None = None

    def __str__(self) -> str:
        text = f"tensor {self.tensor!r}: {self.what} differ: {self.detail}"
        if self.first is not None:
            text += f"; first at {self.index}: {self.first[0]}, {self.first[1]}"
        return text if self.largest_error is None else f"{text}; largest error {self.largest_error:g}"

    def to_json(self) -> dict[str, Any]:
        """The difference as plain JSON values; an error that is no number is text."""
        first = None
        if self.first is not None:
            first = [vars(p) | {"file": p.file and str(p.file), "value": _plain(p.value)} for p in self.first]
        return vars(self) | {
            "index": self.index and list(self.index),
            "first": first,
            "largest_error": _plain(self.largest_error),
        }


@dataclass
class Comparison:
    """What two archives have in common. `names` maps names of tensors in b to those in a, where they differ."""

    compared: int = 0
    equal: int = 0
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    types: dict[str, tuple[str, str]] = field(default_factory=dict)
    metadata_compared: int = 0
    metadata_only_a: list[str] = field(default_factory=list)
    metadata_only_b: list[str] = field(default_factory=list)
    metadata_differ: dict[str, tuple[str, str]] = field(default_factory=dict)
    same_format: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs. Between formats a `general.*` key (names, authors) may be on one side only."""
        one_sided = [
            key
            for key in self.metadata_only_a + self.metadata_only_b
            if self.same_format or not key.startswith("general.")
        ]
        return not (self.only_a or self.only_b or self.differences or self.metadata_differ or one_sided)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return (
            {"same": self.same}
            | vars(self)
            | {"differences": [difference.to_json() for difference in self.differences]}
        )


def compare(
    a: Archive,
    b: Archive,
    names: Mapping[str, str] | None = None,
    *,
    metadata: bool = True,
    same_format: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare two archives, tensor by tensor; `names` maps names in `a` to names in `b` where they are not the same.

    Without `same_format` the archives are canonical models of files in different formats: keys of the encoding are left
    out, and `general.*` keys that only one side has do not count. Raises NothingComparedError where no tensor is in both.
    """
    result = Comparison(same_format=same_format, notes=list(dict.fromkeys(a.notes + b.notes)))
    names = names or {}
    pairs = [
        (tensor, b.tensors[names.get(name, name)])
        for name, tensor in a.tensors.items()
        if names.get(name, name) in b.tensors
    ]
    paired = {other.name for _, other in pairs}
    result.only_a = [name for name in a.tensors if names.get(name, name) not in b.tensors]
    result.only_b = [name for name in b.tensors if name not in paired]
    if not pairs:
        problem = f"no tensor of {len(a.tensors)} is among the {len(b.tensors)} of {b.path}"
        raise NothingComparedError(problem, file=a.path)
    found = each(lambda pair: _difference(*pair), pairs, sum(tensor.nbytes for tensor, _ in pairs))
    for (tensor, other), difference in zip(pairs, found, strict=True):
        result.compared += 1
        if tensor.type.name != other.type.name:
            result.types[tensor.name] = (tensor.type.name, other.type.name)
        if difference is None:
            result.equal += 1
        else:
            result.differences.append(difference)
        if progress is not None:
            progress(tensor.nbytes)
    if metadata:
        _compare_metadata(a, b, result)
    return result


def _compare_metadata(a: Archive, b: Archive, result: Comparison) -> None:
    def counts(key: str) -> bool:
        return result.same_format or not (key in _ENCODING or key.startswith("rosetta."))

    result.metadata_only_a = [key for key in a.metadata if key not in b.metadata and counts(key)]
    result.metadata_only_b = [key for key in b.metadata if key not in a.metadata and counts(key)]
    for key, value in a.metadata.items():
        if key in b.metadata and counts(key):
            result.metadata_compared += 1
            if value != b.metadata[key]:
                result.metadata_differ[key] = (shown(value), shown(b.metadata[key]))


def shown(value: Any, width: int = 60) -> str:
    """A metadata value on one line."""
    kind = ""
    if isinstance(value, Value):
        kind = f"{value.kind.name}{f' of {value.item.name}' if value.item is not None else ''} "
        if not isinstance(value.data, str) and hasattr(value.data, "__len__") and len(value.data) > width:
            return f"{kind}[{len(value.data):,} values]"
        value = (
            str(value.data) if value.kind is Kind.F32 else value.plain()
        )  # float32 has fewer digits than Python prints
    text = value if isinstance(value, str) else repr(value)
    text = text.replace("\n", "\\n")
    return kind + (text if len(text) <= width else text[: width - 3] + "...")


def _plain(number: float | None) -> float | str | None:
    return number if number is None or np.isfinite(number) else str(number)


def _difference(a: Tensor, b: Tensor) -> Difference | None:
    if a.shape != b.shape:
        return Difference(a.name, "shapes", f"{list(a.shape)} and {list(b.shape)}")
    same_type = a.type.name == b.type.name
    if same_type and _same_bytes(a, b):
        return None
    if a.type.decode is None or b.type.decode is None:
        if not same_type:
            return Difference(a.name, "types", f"{a.type.name} and {b.type.name}, of which not both can be decoded")
        return _byte_difference(a, b)
    found = _value_difference(a, b)
    return found if found is not None or not same_type else _byte_difference(a, b)


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    if a.nbytes != b.nbytes:
        return False
    for start, stop in a.spans():
        equal = np.array_equal(a.source.read(start, stop), b.source.read(start, stop))
        a.source.release(start, stop)
        b.source.release(start, stop)
        if not equal:
            return False
    return True


def _byte_difference(a: Tensor, b: Tensor) -> Difference:
    """Bytes differ where numbers do not, or cannot be had: padding, a NaN's payload, a type that is only carried."""
    if a.nbytes != b.nbytes:
        return Difference(a.name, "sizes", f"{a.nbytes} and {b.nbytes} bytes")
    count, first = 0, None
    for start, stop in a.spans():
        places = np.flatnonzero(a.source.read(start, stop) != b.source.read(start, stop))
        count += len(places)
        if first is None and len(places):
            first = start + int(places[0])
    assert first is not None
    element = min(a.type.sized(a.count).first_beside(first), max(a.count - 1, 0))
    places_of = (_place(a, first, None), _place(b, first, None))
    return Difference(a.name, "bytes", f"{count:,} of {a.nbytes:,} bytes", count, index_of(a, element), places_of)


def _value_difference(a: Tensor, b: Tensor) -> Difference | None:
    count, largest, first = 0, 0.0, None
    with np.errstate(all="ignore"):
        for (start, x), (_, y) in zip(value_chunks(a), value_chunks(b), strict=True):
            wrong = _unequal(x, y)
            if not wrong.any():
                continue
            count += int(wrong.sum())
            if first is None:
                place = int(np.argmax(wrong))
                first = (start + place, float(x[place]), float(y[place]))
            errors = np.abs(x[wrong].astype(np.float64) - y[wrong])
            largest = float(np.nan if np.isnan(errors).any() or np.isnan(largest) else max(largest, errors.max()))
    if first is None:
        return None
    element, left, right = first
    places = (_place(a, byte_of(a, element), left), _place(b, byte_of(b, element), right))
    detail = f"{count:,} of {a.count:,} elements ({a.type.name}, {b.type.name})"
    return Difference(a.name, "values", detail, count, index_of(a, element), places, largest)


def _unequal(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the bits differ and not both are NaN: a sign of zero counts, a NaN's payload may not survive a type."""
    wrong: NDArray[np.bool_] = (x.view(np.uint32) != y.view(np.uint32)) & ~(np.isnan(x) & np.isnan(y))
    return wrong


def _place(tensor: Tensor, byte: int, value: float | None) -> Place:
    """What is stored there: one number for a scalar type, the bits of the decoded value for a block, else one byte."""
    if value is None:
        width = 1
    elif tensor.type.is_scalar:
        width = tensor.type.block_bytes
    else:
        width = 0
    if width:
        stored = int.from_bytes(tensor.source.read(byte, byte + width).tobytes(), "little")
    else:
        stored, width = int(np.float32(value).view(np.uint32)), 4
    offset = None if tensor.offset is None else tensor.offset + byte
    return Place(tensor.file, offset, f"{stored:#0{2 * width + 2}x}", value)
