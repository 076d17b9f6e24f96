"""The fields of an APR file, in the words of `formats.apr.tables`: each section stands where the header says."""

from __future__ import annotations

import re
import zlib
from typing import Any

from rosetta_ref.formats.apr import tables
from rosetta_ref.quant import TYPES, BlockType
from rosetta_ref.reduce.fields.field import Claims, LostError, shown
from rosetta_ref.reduce.fields.safetensors import numbers, parsed
from rosetta_ref.reduce.fields.stored import Stored, claim_data


def explain(claims: Claims) -> list[Stored]:
    """Claim all fields; the tensors."""
    claims.alignment = tables.ALIGNMENT
    found: list[Stored] = []
    try:
        header = _header(claims)
        kinds = _kinds_beside(_metadata(claims, header))
        claims.position = header.index_offset
        for number in range(header.tensor_count):
            found.append(_entry(claims, number, header.data_offset, kinds))  # noqa: PERF401 (kept up to a lost place)
    except LostError as error:
        claims.lose(error)
    claim_data(claims, found)
    _footer(claims)
    return found


def _header(claims: Claims) -> tables.Header:
    if claims.data[:4] in tables.OTHERS:
        claims.take(4, "header.magic")
        raise LostError(tables.OTHERS[claims.data[:4]])
    codes = re.findall(r"\d*[a-zA-Z]", tables.HEADER.format)
    values: list[Any] = [claims.take(len(tables.MAGIC), "header.magic")]
    for name, code in zip(tables.Header._fields[1:], codes[1:], strict=False):
        meaning = (lambda flags: ", ".join(tables.flag_names(flags))) if name == "flags" else None
        values.append(claims.number(code, f"header.{name}", meaning))
    claims.take(tables.HEADER.size - claims.position, "header.reserved")
    return tables.Header(*values)


def _metadata(claims: Claims, header: tables.Header) -> dict[str, Any]:
    claims.position = header.metadata_offset
    try:
        return parsed(claims.take(header.metadata_size, "metadata"))
    except LostError as error:
        claims.lose(error)
        return {}


def _kinds_beside(metadata: dict[str, Any]) -> dict[str, tuple[BlockType, tuple[int, ...]]]:
    """The true types and shapes of ggml tensors that are stored as U8."""
    named = metadata.get(tables.GGML_TYPES)
    kinds = {}
    for name, entry in named.items() if isinstance(named, dict) else ():
        said = entry.get("type") if isinstance(entry, dict) else None
        kind = TYPES.get(said) if isinstance(said, str) else None
        shape = numbers(entry.get("shape")) if kind else None
        if kind is not None and shape is not None:
            kinds[name] = (kind, shape)
    return kinds


def _entry(claims: Claims, number: int, base: int, kinds: dict[str, tuple[BlockType, tuple[int, ...]]]) -> Stored:
    raw = claims.take(claims.number("H", f"index[{number}] / name length"), f"index[{number}] / name")
    name, label = raw.decode("utf-8", "surrogateescape"), f"index[{number}] {shown(raw)} /"
    code = claims.number("B", f"{label} type", _type_name)
    count = claims.number("B", f"{label} dimensions")
    shape = tuple(claims.number("Q", f"{label} dims[{i}]") for i in range(count))
    offset = claims.number("Q", f"{label} offset")
    size = claims.number("Q", f"{label} size")
    start = min(base + offset, len(claims.data))
    kind, shape = kinds.get(name, (tables.TYPES_BY_CODE.get(code), shape))
    return Stored(name, kind, shape, start, min(start + size, len(claims.data)))


def _type_name(code: int) -> str:
    return tables.TYPES_BY_CODE[code].name if code in tables.TYPES_BY_CODE else "no type"


def _footer(claims: Claims) -> None:
    """The checksum at the end, where the data leave just room for it, or where it is right. Some writers leave it out."""
    end = len(claims.data) - 4
    claimed = max((claim.end for claim in claims.found), default=0)
    wanted = zlib.crc32(claims.data[:end])
    is_right = claims.data[end:] == wanted.to_bytes(4, "little")
    if claims.room > 0 and (is_right or tables.aligned(claimed) == end):
        claims.position = end
        claims.number(
            "I", "footer.crc32", lambda _: "right" if is_right else f"not that of the bytes before, {wanted:#010x}"
        )
