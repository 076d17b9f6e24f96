"""The rules of SafeTensors, broken one at a time: in a file, and in the index of a directory."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.formats.safetensors import fields
from rosetta_ref.gate.malformed.broken import (
    MUST_REFUSE,
    Edit,
    Field,
    Malformed,
    NoTwinError,
    Row,
    Rules,
    content_of,
    cut_short,
    made,
    require_data,
    require_few,
)

DOCUMENT = "https://github.com/huggingface/safetensors#format"
LIBRARY = "https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs"
_METADATA = "__metadata__"


@dataclass(frozen=True)
class Safetensors:
    """A valid file, taken apart: its header as JSON, and where the data begin."""

    data: bytes
    header: dict[str, Any]
    start: int

    @classmethod
    def of(cls, data: bytes) -> Safetensors:
        """Take a file apart."""
        size = int.from_bytes(data[:8], "little")
        return cls(data, foreign.json_object(data[8 : 8 + size], what="the header"), 8 + size)

    @property
    def fields(self) -> list[Field]:
        """The parts of the file: the length, the header, its entries, the data of each tensor."""
        walked = fields.walk(self.data)
        spans = {tensor.name: Field("data", tensor.start, tensor.stop) for tensor in walked.tensors}
        found = [Field({"json": "header"}.get(one.what, one.what), one.offset, one.end) for one in walked.found]
        for name in self.header:
            at = self.data.find(json.dumps(name, ensure_ascii=False).encode(), 8, self.start)
            found += [Field("entry", at, self.start)] if at > 0 else []
            found += [spans[name]] if name != _METADATA else []
        return found

    @property
    def names(self) -> list[str]:
        """The tensors in the order of their data, those without data left out."""
        found = [name for name, entry in self.header.items() if name != _METADATA and all(entry["shape"])]
        return sorted(found, key=lambda name: self.header[name]["data_offsets"])

    def raw(self, header: bytes) -> list[Edit]:
        """Another header before the same data."""
        return [(0, self.start, len(header).to_bytes(8, "little") + header)]

    def text(self, header: dict[str, Any] | None = None) -> bytes:
        """A header as text, as the library writes one: padded with spaces."""
        made = json.dumps(self.header if header is None else header, ensure_ascii=False, separators=(",", ":")).encode()
        return made + b" " * (-len(made) % 8)

    def entry(self, change: Callable[[dict[str, Any]], object]) -> list[Edit] | None:
        """Another header, with a change to the entry of the last tensor."""
        if not self.names:
            return None
        header = copy.deepcopy(self.header)
        change(header[self.names[-1]])
        return self.raw(self.text(header))


def _length(number: int) -> list[Edit]:
    return [(0, 8, (number % 2**64).to_bytes(8, "little"))]


def _set(key: str, value: Any) -> Callable[[Safetensors], list[Edit] | None]:
    return lambda file: file.entry(lambda entry: entry.update({key: value}))


def _without(key: str) -> Callable[[Safetensors], list[Edit] | None]:
    return lambda file: file.entry(lambda entry: entry.pop(key))


def _more_rows(entry: dict[str, Any]) -> None:
    entry["shape"] = [2 * entry["shape"][0], *entry["shape"][1:]] if entry["shape"] else [2]


def _shifted(by: int) -> Callable[[Safetensors], list[Edit] | None]:
    """The spans of the last tensor begin and end that much later (or earlier)."""

    def change(entry: dict[str, Any]) -> None:
        entry["data_offsets"] = [offset + by for offset in entry["data_offsets"]]

    return lambda file: file.entry(change)


def _overlap(file: Safetensors) -> list[Edit] | None:
    """The last tensor begins where the one before it begins, and ends as far from there."""
    if len(file.names) < 2:
        return None
    before = file.header[file.names[-2]]["data_offsets"][0]

    def change(entry: dict[str, Any]) -> None:
        first, last = entry["data_offsets"]
        entry["data_offsets"] = [before, before + last - first]

    return file.entry(change)


def _hole(file: Safetensors) -> list[Edit] | None:
    edits = _shifted(8)(file)
    if edits is None:
        return None
    at = file.start + file.header[file.names[-1]]["data_offsets"][0]
    return [*edits, (at, at, bytes(8))]


def _twice(file: Safetensors) -> list[Edit] | None:
    """The name of the last tensor again, with the span of another one of its size, or with half of its own."""
    if not file.names:
        return None
    name = file.names[-1]
    first, last = file.header[name]["data_offsets"]
    other = dict(
        file.header[name], shape=[(last - first) // 2], dtype="U8", data_offsets=[first, first + (last - first) // 2]
    )
    return _appended(file, name, other)


def _twice_alike(file: Safetensors) -> list[Edit] | None:
    return _appended(file, file.names[-1], file.header[file.names[-1]]) if file.names else None


def _appended(file: Safetensors, name: str, entry: dict[str, Any]) -> list[Edit]:
    more = f",{json.dumps(name)}:{json.dumps(entry)}}}".encode()
    return file.raw(file.text().rstrip()[:-1] + more)


def _metadata(value: Any) -> Callable[[Safetensors], list[Edit]]:
    return lambda file: file.raw(
        file.text({_METADATA: value, **{n: file.header[n] for n in file.header if n != _METADATA}})
    )


_MUST: tuple[Row[Safetensors], ...] = (
    ("length-past-the-end", lambda file: _length(len(file.data)), "The header ends inside the file"),
    ("length-huge", lambda file: _length(2**40), "A header has at most 100 MB"),
    ("length-overflows", lambda file: _length(2**64 - 8), "A header has at most 100 MB"),
    ("length-zero", lambda file: [(0, file.start, bytes(8))], "The header is a JSON object"),
    ("header-no-json", lambda file: file.raw(file.text()[:-9]), "The header is a JSON object"),
    ("header-a-list", lambda file: file.raw(b"[" + file.text() + b"]"), "The header is a JSON object"),
    ("header-nested", lambda file: file.raw(b"[" * 100_000), "The header is a JSON object"),
    ("header-no-utf-8", lambda file: file.raw(b'{"\xff\xfe' + file.text()[2:]), "The header is UTF-8"),
    ("dtype-missing", _without("dtype"), "An entry has a dtype"),
    ("shape-missing", _without("shape"), "An entry has a shape"),
    ("offsets-missing", _without("data_offsets"), "An entry has data_offsets"),
    ("dtype-unknown", _set("dtype", "F31"), "A dtype is one of the format's"),
    ("dtype-of-ggml", _set("dtype", "Q4_K"), "A dtype is one of the format's"),
    ("shape-larger-than-the-data", lambda file: file.entry(_more_rows), "A span has the bytes of shape and dtype"),
    ("shape-negative", _set("shape", [-1]), "A shape is of unsigned integers"),
    ("shape-not-whole", _set("shape", [1.5]), "A shape is of unsigned integers"),
    ("shape-overflows", _set("shape", [2**32, 2**32]), "The size of a tensor fits 64 bits"),
    ("offsets-past-the-end", _shifted(2**30), "The data lies inside the file"),
    ("offsets-overflow", _set("data_offsets", [2**64 - 16, 2**64 - 8]), "The data lies inside the file"),
    ("offsets-negative", _set("data_offsets", [-8, 8]), "Offsets are unsigned"),
    ("offsets-reversed", lambda file: file.entry(lambda e: e["data_offsets"].reverse()), "A span ends behind its beginning"),
    ("tensors-overlap", _overlap, "Tensors lie one behind the other"),
    ("name-twice", _twice, "Duplicate keys are disallowed"),
)  # fmt: skip
_MAY: tuple[Row[Safetensors], ...] = (
    ("name-twice-alike", _twice_alike, "Duplicate keys are disallowed; with the same span, the library takes them"),
    ("tensors-with-a-hole", _hole, "No holes; other readers take each span as it is"),
    ("trailing-bytes", lambda file: [(len(file.data), len(file.data), bytes(8))], "The data is covered; others do not look"),
    ("leading-spaces", lambda file: file.raw(b"  " + file.text()), "The header begins with {; the library takes spaces"),
    ("header-padded-with-nul", lambda file: file.raw(file.text().rstrip() + bytes(8)), "Padding is spaces; others take NUL"),
    ("byte-order-mark", lambda file: file.raw(b"\xef\xbb\xbf" + file.text()), "The header begins with {"),
    ("metadata-with-a-number", _metadata({"step": 1}), "__metadata__ is text to text; others do not look"),
    ("metadata-empty", _metadata({}), "__metadata__ is text to text, and may be empty"),
    ("entry-with-more", _set("extra", 1), "An entry has three keys; others do not look"),
)  # fmt: skip
RULES: Rules[Safetensors] = Rules(
    "safetensors",
    *([(name, breaks, f"{rule}: {DOCUMENT}, {LIBRARY}") for name, breaks, rule in rows] for rows in (_MUST, _MAY)),
)


# The index of a directory


def _index(**change: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda index: json.dumps(index | change).encode()


def _mapped(file: str) -> Callable[[dict[str, Any]], bytes]:
    """The last tensor in another file."""

    def made(index: dict[str, Any]) -> bytes:
        names = list(index["weight_map"])
        return json.dumps(index | {"weight_map": index["weight_map"] | {names[-1]: file}}).encode()

    return made


def _elsewhere(index: dict[str, Any]) -> bytes:
    """The last tensor in a file of the set that does not hold it."""
    return _mapped(next(iter(index["weight_map"].values())))(index)


_TRANSFORMERS = "https://huggingface.co/docs/transformers/main/en/big_models#sharding"
#: Name, the new index of an old one, and the rule.
INDEX: Sequence[tuple[str, Callable[[dict[str, Any]], bytes], str]] = tuple(
    (f"safetensors/index-{name}", made, f"{rule}: {_TRANSFORMERS}")
    for name, made, rule in (
        ("no-json", lambda index: json.dumps(index).encode()[:-2], "An index is JSON"),
        ("without-a-map", lambda index: b'{"metadata": {}}', "An index has a weight_map"),
        ("map-a-list", _index(weight_map=[]), "A weight_map is an object"),
        ("names-a-missing-file", _mapped("model-00009-of-00009.safetensors"), "Every file that is named is there"),
        ("names-a-file-outside", _mapped("../../outside.safetensors"), "Files lie in the directory"),
        ("names-the-wrong-file", _elsewhere, "A tensor is in the file that is named"),
    )
)


def of_file(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    """All that can be made of the last of the files, and of the index where there is one. Raises NoTwinError, ValueError."""
    index = path if path.name.endswith(".index.json") else None
    if path.is_dir():
        index = next(iter(path.glob("*.index.json")), None)
    folder = path if path.is_dir() else path.parent
    if index is not None:
        data = content_of(index)
        content = foreign.json_object(data, file=index, what="the index")
        size, name = len(data), max(content["weight_map"].values())
        if Path(name).name != name:
            raise NoTwinError(f"the index names {name!r}, outside of the directory", file=index)
        if foreigner:
            require_few(index, "tensors", len(content["weight_map"]))
        weights = folder / name
        for rule, new, source in INDEX:
            yield Malformed(rule, MUST_REFUSE, source, path, index.name, ((0, size, new(content)),))
    else:
        weights = max(path.glob("*.safetensors")) if path.is_dir() else path
    data = content_of(weights)
    file = Safetensors.of(data)
    if foreigner:
        require_few(weights, "tensors", len(file.header))
    require_data(weights, file.names)
    yield from made(path, weights.name, RULES.broken(file))
    yield from made(path, weights.name, cut_short("safetensors", len(data), file.fields, seed, everywhere))
