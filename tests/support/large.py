"""Inputs of about 100 MB that show the bug of a member of the zoo: made of SmolLM2 where that shows it, else generated and padded.

What an input looks like is taken from the member's smallest one: the format, the type, alignment, byte order, shards. A model is cut
to as many layers and tokens as make 100 MB in its type.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.passes.resize import resize
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.sizes import Sizes, sizes_of
from rosetta_ref.zoo import Member
from tests.support import smollm

SIZE = 100_000_000
#: Layers and tokens that make 100 MB of a float type; blocks take all of the model.
_CUT = {"F32": (4, 16384), "F16": (6, 49152), "BF16": (6, 49152)}
_LETTERS = {name: letter for letter, name in LETTERS.items()}


def smallest(member: Member, folder: Path) -> Path:
    """Its smallest input."""
    assert member.shown_by is not None
    folder.mkdir(parents=True, exist_ok=True)
    return member.shown_by(folder)


def pair_of(member: Member, source: Path) -> tuple[str, str]:
    """The formats between which the member converts that input."""
    kind = inputs.detect.sniff(source)
    pair = next(pair for pair in member.pairs if pair[0] == _LETTERS[kind])
    return kind, LETTERS[pair[-1]]


def large(member: Member, small: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Large inputs like a small one, each with a word for where it comes from; the first that shows the bug is to be taken."""
    if member.id in _BROKEN:
        yield "SmolLM2", _BROKEN[member.id](folder)
        return
    like = inputs.read(small)
    with suppress(RosettaError, ValueError, KeyError):  # of another architecture, or a type that nothing encodes
        yield "SmolLM2", _of_smollm(like, folder / "smollm")
    more = padded(like)
    more = _headed(more) if "general.alignment" in more.metadata else more
    yield "generated", inputs.write(more, folder / "generated", "large")


def _of_smollm(like: Given, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = max(like.tensors.values(), key=lambda tensor: tensor.nbytes).type.name
    stated = like.metadata.get("general.architecture")
    if (isinstance(stated, Value) and stated.data == "qwen2") or "qwen2" in repr(like.companions.get("config.json")):
        raise ValueError("SmolLM2 is a llama model")
    sizes = sizes_of(like)
    layers = sizes.layers if sizes is not None else 0
    source = _floats(kind, layers, folder) if kind in _CUT else _blocks(kind, like.format, folder)
    if like.format != inputs.detect.sniff(source):
        target = folder / ("model.apr" if like.format == "apr" else "model")
        convert(source, target, keep_blocks=False, extra_keys=False)
        source = target
    return inputs.write(_like(inputs.read(source), like), folder / "like", "large")


def _floats(kind: str, least: int, folder: Path) -> Path:
    """As many layers and tokens as make 100 MB; more layers and fewer tokens where the bug needs that."""
    given = inputs.read(smollm.variant("BF16"))
    old = sizes_of(given)
    assert old is not None
    layers, tokens = _CUT[kind] if least <= _CUT[kind][0] else (least, 1024)
    made = resize(given, old, replace(old, layers=layers, tokens=tokens))
    encode = TYPES[kind].encode
    assert encode is not None

    def retyped(tensor: Tensor) -> Tensor:
        wanted = tensor.type.name == "BF16" and kind != "BF16"
        return Tensor.of(tensor.name, TYPES[kind], tensor.shape, encode(tensor.values())) if wanted else tensor

    return inputs.write(made.with_tensors(retyped), folder, "floats")


def _blocks(kind: str, face: str, folder: Path) -> Path:
    source = smollm.variant("Q4_1")
    if kind == "Q4_1":
        return source
    target = folder / ("blocks.apr" if face == "apr" and TYPES[kind].id is None else "blocks.gguf")
    convert(smollm.variant("BF16"), target, type=kind, pure=True, extra_keys=False)
    return target


def _like(given: Given, like: Given) -> Given:
    """With the alignment, the byte order and the files of the small one."""
    if (alignment := like.metadata.get("general.alignment")) is not None and given.format == "gguf":
        given = given.with_metadata({**given.metadata, "general.alignment": alignment})
        given = _headed(given)
    if like.big_endian:
        given = replace(given, big_endian=True)
    return _in_parts(given, like) if len(like.parts) > 1 else given


def _headed(given: Given) -> Given:
    """With a name so long that the header ends in the first half of an alignment of 64."""
    for length in range(64):
        name = Value.scalar(Kind.STRING, "m" * length)
        made = given.with_metadata({**given.metadata, "general.name": name})
        if 0 < _header_end(made) % 64 <= 32:
            return made
    raise ValueError("no header ends there")


def _header_end(given: Given) -> int:
    """Where the header ends, by the sizes in the file."""
    size = 24 + sum(24 + len(name.encode()) + 8 * len(tensor.shape) for name, tensor in given.tensors.items())
    for key, value in given.metadata.items():
        size += 8 + len(key.encode()) + 4 + _nbytes(value)
    return size


def _nbytes(value: Value) -> int:
    if value.kind is Kind.STRING:
        return 8 + len(value.data.encode())
    if value.kind is not Kind.ARRAY:
        return int(value.data.nbytes)
    items = sum(8 + len(item.encode()) for item in value.data) if value.item is Kind.STRING else value.data.nbytes
    return 12 + int(items)


def _in_parts(given: Given, like: Given) -> Given:
    """Halves in two files; where the small one has stale copies, one of the first file's tensors in the second, with other data."""
    names = list(given.tensors)
    half = len(names) // 2
    parts = [{name: given.tensors[name] for name in group} for group in (names[:half], names[half:])]
    if any(name in part for place, part in enumerate(like.parts) for name in like.index if like.index[name] != place):
        first = parts[0][names[0]]
        data = first.data.copy()
        data[first.type.block_bytes - 1 :: first.type.block_bytes] ^= 0x80
        parts[1][first.name] = Tensor.of(first.name, first.type, first.shape, data)
    index = {name: place for place, group in enumerate((names[:half], names[half:])) for name in group}
    return replace(given, parts=tuple(parts), index=index)


# Files that are to be refused


def _cut(folder: Path) -> Path:
    """Without its last byte."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "large.gguf"
    path.write_bytes(smollm.variant("Q4_1").read_bytes()[:-1])
    return path


def _flagged(folder: Path) -> Path:
    """With the flag of a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "large.apr"
    convert(smollm.variant("Q4_1"), path, extra_keys=False)
    data = bytearray(path.read_bytes())
    data[6] |= 0x10
    data[40:44] = zlib.crc32(data[44:64], zlib.crc32(data[:40])).to_bytes(4, "little")
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    path.write_bytes(data)
    return path


_BROKEN: dict[str, Callable[[Path], Path]] = {"truncation-accepted": _cut, "shard-taken-for-whole": _flagged}


# Generated


def padded(like: Given) -> Given:
    """The small input, and so much more that it has 100 MB: a wider inner layer of a model, further tensors of any other file."""
    sizes = sizes_of(like)
    return _inner(like, sizes) if sizes is not None else _more(like)


def _inner(given: Given, old: Sizes) -> Given:
    """The inner layer as wide as makes 100 MB, its rows the old ones again and again."""
    per_row = 3 * old.layers * old.width * given.tensors[_ffn(given)].type.block_bytes
    inner = old.inner * (SIZE // (per_row * old.inner) + 1)
    new = replace(old, inner=inner)

    def wider(tensor: Tensor) -> Tensor:
        name = (mapping.canonical_name(tensor.name) or "").split(".")
        if len(name) != 4 or name[2] not in ("ffn_gate", "ffn_up", "ffn_down"):
            return tensor
        blocks = tensor.type.blocks(tensor.data).reshape(tensor.shape)
        times = inner // old.inner
        tiled = np.tile(blocks, (1, times) if name[2] == "ffn_down" else (times, 1))
        return Tensor.of(tensor.name, tensor.type, tiled.shape, tiled.reshape(-1))

    return resize(given.with_tensors(wider), old, new)


def _ffn(given: Given) -> str:
    return next(name for name in given.tensors if (mapping.canonical_name(name) or "").endswith("ffn_up.weight"))


def _more(given: Given) -> Given:
    """Further tensors behind those that are there, numbers from one."""
    count = 25
    values = np.arange(1, SIZE // 4 // count + 1, dtype=np.float32)
    names = [f"z{number:02}.weight" for number in range(count)]
    more = {name: Tensor.of(name, TYPES["F32"], (1000, len(values) // 1000), values) for name in names}
    parts = (*given.parts[:-1], {**given.parts[-1], **more})
    last = len(given.parts) - 1
    index = {**given.index, **dict.fromkeys(more, last)} if given.index else {}
    return replace(given, parts=parts, index=index)
