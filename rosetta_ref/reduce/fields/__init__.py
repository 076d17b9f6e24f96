"""What every byte of a small file is: its fields in file order, whose bytes joined are the file's.

The walk goes by the tables of the formats and shares nothing else with their readers, and it never raises: what it does not
understand is a field too. Read `field` first, then `stored` (how a tensor's data split into the fields of its blocks), then one
module for each format.
"""

from __future__ import annotations

from rosetta_ref.reduce.fields import apr, gguf, safetensors
from rosetta_ref.reduce.fields.field import Claims, Field, tiled
from rosetta_ref.reduce.fields.stored import Stored

__all__ = ["Field", "Stored", "format_of", "tensors", "walk"]

_EXPLAIN = {"gguf": gguf.explain, "apr": apr.explain, "safetensors": safetensors.explain}
_MAGICS = {b"GGUF": "gguf", b"APR": "apr"}


def walk(data: bytes, format: str) -> list[Field]:  # noqa: A002 (as in archive.Archive)
    """The fields of a file; of one that is none of the three formats, the whole as text or bytes."""
    claims, _ = _explained(data, format)
    return list(tiled(claims))


def tensors(data: bytes, format: str) -> list[Stored]:  # noqa: A002
    """The tensors that its table names, in that order, as far as their data are there."""
    return _explained(data, format)[1]


def format_of(name: str, data: bytes) -> str:
    """The format of a file by its first bytes, else by its name; "other" where neither says."""
    for magic, known in _MAGICS.items():
        if data.startswith(magic):
            return known
    suffix = name.rpartition(".")[2].lower()
    return suffix if suffix in _EXPLAIN else "other"


def _explained(data: bytes, name: str) -> tuple[Claims, list[Stored]]:
    claims = Claims(bytes(data))
    if name in _EXPLAIN:
        return claims, _EXPLAIN[name](claims)
    claims.take(len(data), "text" if _is_text(data) else "bytes")
    return claims, []


def _is_text(data: bytes) -> bool:
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False
