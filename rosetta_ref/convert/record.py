"""A Hugging Face directory as a GGUF or APR file remembers it: the JSON of `rosetta.safetensors`, checked when it comes back.

It may come from anybody. So no name in it becomes a path unchecked, nothing in it is written more than once, and each tensor that
it brings along is as large as it says.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import foreign, limits
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert import originals
from rosetta_ref.convert.companions import is_weights
from rosetta_ref.convert.structure import require, require_tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES

_RECORD = {
    "shards": [{"file": str, "metadata": (None, {...: str}), "tensors": {...: str}}],
    "left_out": {...: {"type": str, "shape": [int]}},
}
_OPTIONAL: dict[str, Any] = {
    "keys": (None, [str]), "encoding": (None, {...: dict}), "files_sha256": (None, str),
    "originals": (None, originals.STRUCTURE),
}  # fmt: skip
_LARGEST_INLINE = 1 << 20
_HEAD, _EMBEDDING, _BUFFER = "lm_head.weight", "embed_tokens.weight", ".rotary_emb.inv_freq"


class LeftOutTensorError(RosettaError):
    """A tensor without a place in GGUF is only carried where it is small, or a copy of another one."""


@dataclass(frozen=True)
class Directory:
    """A Hugging Face directory as remembered: shards in order, tensors left out of GGUF, companion files.

    `files_sha256` is the digest of the companions as stored. `keys` are the names of the metadata that was made of it, in order;
    `encoding` has the values, as typed JSON, of those that speak of the encoding. `originals` is what the model does not
    give back of its tensors. All four are None in files of older versions.
    """

    shards: list[dict[str, Any]]
    left_out: dict[str, dict[str, Any]]
    files: dict[str, bytes] = field(default_factory=dict)
    keys: list[str] | None = None
    encoding: dict[str, Any] | None = None
    files_sha256: str | None = None
    originals: dict[str, dict[str, Any]] | None = None

    @property
    def types(self) -> dict[str, str]:
        """Types of all tensors by Hugging Face name, in stored order."""
        return {name: kind for shard in self.shards for name, kind in shard["tensors"].items()}

    @property
    def file_names(self) -> list[str]:
        """The names of the files with weights, in order."""
        return [shard["file"] for shard in self.shards]

    def header(self, notes: list[str]) -> dict[str, str]:
        """The `__metadata__` of all files in one; a note names the keys that files have different values for."""
        joined: dict[str, str] = {}
        torn: set[str] = set()
        for shard in self.shards:
            for key, value in (shard["metadata"] or {}).items():
                if joined.setdefault(key, value) != value:
                    torn.add(key)
        if torn:
            notes.append(
                f"__metadata__ differs between the files of the directory, the first one's is taken: {few(torn)}"
            )
        return joined


def few(names: Iterable[str], most: int = 8) -> str:
    """Names in a note: sorted, a few of them, each cut.

    >>> few(["b", "a"]), few("cab", 2)
    ('a, b', 'a, b and 1 more')
    """
    ordered = sorted(names)
    shown = ", ".join(name if len(name) <= 80 else f"{name[:80]}..." for name in ordered[:most])
    return shown + (f" and {len(ordered) - most:,} more" if len(ordered) > most else "")


def record_of(source: Archive, kept: set[str], file_names: list[str]) -> dict[str, Any]:
    """What is remembered of the weights of a directory; `kept` are the tensors that have a place in GGUF."""
    shards = [
        {
            "file": name,
            "metadata": part.metadata,
            "tensors": {name: source.tensors[name].type.name for name in part.names},
        }
        for part, name in zip(source.parts, file_names, strict=True)
    ]
    embeddings = [tensor for name, tensor in source.tensors.items() if name.endswith(_EMBEDDING)]
    left_out = {name: _left_out(tensor, embeddings) for name, tensor in source.tensors.items() if name not in kept}
    inline = sum(len(record.get("base64", "")) for record in left_out.values())
    limits.require("left-out-bytes", inline, "tensors that GGUF has no place for", file=source.path)
    return {"shards": shards, "left_out": left_out}


def _left_out(tensor: Tensor, embeddings: list[Tensor]) -> dict[str, Any]:
    """How a tensor that GGUF leaves out (a tied head stored twice, a rotary buffer) is remembered."""
    record: dict[str, Any] = {"type": tensor.type.name, "shape": list(tensor.shape)}
    for other in embeddings if tensor.name == _HEAD else ():
        if (other.type, other.shape) == (tensor.type, tensor.shape) and np.array_equal(other.data, tensor.data):
            return record | {"copy_of": other.name}
    if tensor.nbytes > _LARGEST_INLINE:
        raise LeftOutTensorError(
            f"{tensor.nbytes} bytes that GGUF has no place for", file=tensor.file, tensor=tensor.name
        )
    return record | {"base64": base64.b64encode(tensor.data.tobytes()).decode()}


def directory_of(text: str, file: str | Path | None) -> Directory:
    """The directory of a record, without its companions. Raises ValueError, or an error of `foreign` or of a limit."""
    record = foreign.json_object(text.encode("utf-8", "surrogateescape"), file=file, what="the record")
    require(record, _RECORD)
    optional: dict[str, Any] = {key: record.get(key) for key in _OPTIONAL}
    require(optional, _OPTIONAL)
    directory = Directory(record["shards"], record["left_out"], **optional)
    _require_shards(directory, file)
    _require_left_out(directory)
    originals.require_stored(directory.originals or {}, directory.types)
    return directory


def _require_shards(directory: Directory, file: str | Path | None) -> None:
    limits.require("shards", len(directory.shards), "the record", file=file)
    if not directory.shards:
        raise ValueError("it has no file with weights")
    names = directory.file_names
    for name in names:
        if not is_weights(name):
            raise ValueError(f"{name!r} is no name of a file with weights")
    if len({name.lower() for name in names}) != len(names):
        raise ValueError("it names a file with weights twice")
    if len(directory.types) != sum(len(shard["tensors"]) for shard in directory.shards):
        raise ValueError("a tensor is in two files")


def _require_left_out(directory: Directory) -> None:
    """Raise ValueError where a tensor that was left out cannot be made again.

    Only the head is a copy: else one large tensor could be written a thousand times.
    """
    types = directory.types
    for name, record in directory.left_out.items():
        require_tensor(record, name)
        if types.get(name) != record["type"]:
            raise ValueError(f"{name} is in no file with that type")
        if "copy_of" in record:
            other = record["copy_of"]
            if name != _HEAD or not isinstance(other, str) or not other.endswith(_EMBEDDING):
                raise ValueError(f"{name} is a copy of what it cannot be")
            if types.get(other) != record["type"] or other in directory.left_out:
                raise ValueError(f"{name} is a copy of nothing")
        elif name != _HEAD and not name.endswith(_BUFFER):
            raise ValueError(f"{name} has a place in GGUF")
        elif len(_inline(record, name)) != TYPES[record["type"]].nbytes(record["shape"]):
            raise ValueError(f"{name} has another size")


def _inline(record: Mapping[str, Any], name: str) -> bytes:
    text = record.get("base64")
    if not isinstance(text, str):
        raise ValueError(f"{name} has no bytes")  # noqa: TRY004 (as any other place that is not as it should be)
    return base64.b64decode(text, validate=True)


def left_out_tensor(name: str, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    """A tensor that GGUF left out, as it was remembered. Raises LeftOutTensorError where it is a copy of another shape."""
    kind, shape = TYPES[record["type"]], tuple(record["shape"])
    if "copy_of" not in record:
        return Tensor.of(name, kind, shape, _inline(record, name))
    other = tensors[record["copy_of"]]
    if other.shape != shape:
        raise LeftOutTensorError(f"a copy of {list(other.shape)} is {list(shape)}", tensor=name)
    return replace(other, name=name)
