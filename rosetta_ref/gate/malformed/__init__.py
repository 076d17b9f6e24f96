"""Malformed files: the rules of the formats broken one at a time, files cut short, sizes that nobody has.

Each is made from a valid file, its twin, by a few edits; `from_file` takes any file, a converter's own output too, since some
converters read nothing else. Read `broken` first (what a malformed file is), then the formats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.walk import bytes_behind
from rosetta_ref.gate.malformed import apr, gguf, safetensors
from rosetta_ref.gate.malformed.broken import CUT_SOURCE, MAY_ACCEPT, MUST_REFUSE, Edit, Field, Malformed, cuts

__all__ = ["MAY_ACCEPT", "MUST_REFUSE", "Malformed", "NoTwinError", "from_file"]

_Found = tuple[str, str, str, Sequence[Edit]]


#: What a file may hold that somebody else wrote: each rule makes much of it anew, and here nothing limits time and memory.
_BYTES, _COUNT = 4 << 20, 1000


class NoTwinError(RosettaError):
    """A malformed file is made from a valid one that holds data, and of a converter's own output only where that is small."""


def from_file(path: Path, seed: int, *, everywhere: bool = False, foreigner: bool = False) -> list[Malformed]:
    """The malformed files that can be made of a valid file or Hugging Face directory; the same for the same arguments.

    Cuts are one of each kind of field, or with `everywhere` before and in each. Raises NoTwinError for a file without data, for
    one that cannot be taken apart, and where it is a `foreigner`, one that somebody else wrote, for a large one.
    """
    if foreigner:
        _require_few(path, "bytes", bytes_behind(path), _BYTES)
    format = sniff(path)  # noqa: A001
    made = {"gguf": _of_gguf, "apr": _of_apr, "safetensors": _of_safetensors}[format]
    try:
        return list(made(path, seed, everywhere, foreigner))
    except NoTwinError:
        raise
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, RecursionError, RosettaError) as error:
        raise NoTwinError(f"it cannot be taken apart: {error!r}", file=path) from error


def _require_few(path: Path, what: str, count: int, most: int = _COUNT) -> None:
    if count > most:
        raise NoTwinError(
            f"it holds {count:,} {what}, where {most:,} are few enough to break each rule in turn", file=path
        )


def _data(path: Path) -> bytes:
    with foreign.open_file(path) as file:
        return file.read()


def _of_gguf(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    data = _data(path)
    for what, count in zip(("tensors", "keys"), struct.unpack_from("<QQ", data, 8), strict=True) if foreigner else ():
        _require_few(path, what, count)
    file = gguf.Gguf.of(data)
    _require(path, file.infos)
    yield from _all(path, path.name, gguf.RULES.broken(file))
    yield from _all(path, path.name, _cuts("gguf", data, file.fields, seed, everywhere))


def _of_apr(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    data = _data(path)
    if foreigner:
        _require_few(path, "tensors", *struct.unpack_from("<I", data, 8))
    file = apr.Apr.of(data)
    _require(path, file.by_data)
    for rule, verdict, source, edits in apr.RULES.broken(file):
        yield Malformed(rule, verdict, source, path, path.name, tuple(file.sealed(edits)))
    yield from _all(path, path.name, apr.CHECKSUMS.broken(file))
    yield from _all(path, path.name, _cuts("apr", data, file.fields, seed, everywhere))


def _require(path: Path, tensors: Sequence[object]) -> None:
    if not tensors:
        raise NoTwinError("it holds no tensor with data, so there is nothing to break", file=path)


def _cuts(format: str, data: bytes, fields: Sequence[Field], seed: int, everywhere: bool) -> Iterator[_Found]:  # noqa: A002
    for rule, verdict, edits in cuts(len(data), fields, seed, everywhere=everywhere):
        yield f"{format}/{rule}", verdict, CUT_SOURCE, edits


def _all(twin: Path, file: str, found: Iterable[_Found]) -> Iterator[Malformed]:
    for rule, verdict, source, edits in found:
        yield Malformed(rule, verdict, source, twin, file, tuple(edits))


def _of_safetensors(path: Path, seed: int, everywhere: bool, foreigner: bool) -> Iterator[Malformed]:
    """The last of the files, and the index where there is one."""
    index = (
        path
        if path.name.endswith(".index.json")
        else next(iter(path.glob("*.index.json")), None)
        if path.is_dir()
        else None
    )
    folder = path if path.is_dir() else path.parent
    if index is not None:
        data = _data(index)
        content = foreign.json_object(data, file=index, what="the index")
        size, name = len(data), max(content["weight_map"].values())
        if Path(name).name != name:
            raise NoTwinError(f"the index names {name!r}, outside of the directory", file=index)
        if foreigner:
            _require_few(index, "tensors", len(content["weight_map"]))
        weights = folder / name
        for rule, made, source in safetensors.INDEX:
            yield Malformed(rule, MUST_REFUSE, source, path, index.name, ((0, size, made(content)),))
    else:
        weights = max(path.glob("*.safetensors")) if path.is_dir() else path
    data = _data(weights)
    file = safetensors.Safetensors.of(data)
    if foreigner:
        _require_few(weights, "tensors", len(file.header))
    _require(weights, file.names)
    yield from _all(path, weights.name, safetensors.RULES.broken(file))
    yield from _all(path, weights.name, _cuts("safetensors", data, file.fields, seed, everywhere))
