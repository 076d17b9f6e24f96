"""What a GGUF file has no place for, carried in it all the same: keys under `rosetta.`, which llama.cpp ignores.

A Hugging Face directory that becomes GGUF or APR leaves its companion files here verbatim (deflated), with the types,
shards, `__metadata__` and order of its tensors, so that the way back gives the directory again. The keys also hold a digest of the
model's own metadata: when somebody edits that, the stored files no longer speak for the model, and are made anew.

| key | value |
|---|---|
| `rosetta.safetensors` | JSON text: shards (file, `__metadata__`, names and types in order), and tensors that GGUF leaves out |
| `rosetta.files` | the names of the companion files |
| `rosetta.file.NAME` | the bytes of one of them, deflated (zlib) |
| `rosetta.digest` | SHA-256 of the metadata that was made of those files |
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert.structure import require, require_tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES

PREFIX = "rosetta."
_SHARDS, _FILES, _FILE, _DIGEST = "rosetta.safetensors", "rosetta.files", "rosetta.file.", "rosetta.digest"
#: Keys that describe the encoding, not the model: requantising changes them and no file of the directory.
_ENCODING = ("general.file_type", "general.quantization_version", "general.alignment")
_LARGEST_INLINE = 1 << 20
_RECORD = {
    "shards": [{"file": str, "metadata": (None, {...: str}), "tensors": {...: str}}],
    "left_out": {...: {"type": str, "shape": [int]}},
}


class BadExtraError(RosettaError):
    """The `rosetta.*` keys are as this tool writes them."""


class LeftOutTensorError(RosettaError):
    """A tensor without a place in GGUF is only carried where it is small, or a copy of another one."""


@dataclass(frozen=True)
class Directory:
    """A Hugging Face directory as remembered: shards in order, tensors left out of GGUF, companion files."""

    shards: list[dict[str, Any]]
    left_out: dict[str, dict[str, Any]]
    files: dict[str, bytes]

    @property
    def types(self) -> dict[str, str]:
        """Types of all tensors by Hugging Face name, in stored order."""
        return {name: kind for shard in self.shards for name, kind in shard["tensors"].items()}


def remember(model: Archive, source: Archive, files: Mapping[str, bytes], hf_names: Mapping[str, str]) -> None:
    """Add the keys to a model made of a Hugging Face directory; `hf_names` maps its tensors to their names there."""
    shards = [
        {
            "file": part.map.path.name,
            "metadata": part.metadata,
            "tensors": {name: source.tensors[name].type.name for name in part.names},
        }
        for part in source.parts
    ]
    kept = set(hf_names.values())
    left_out = {name: _left_out(tensor, source) for name, tensor in source.tensors.items() if name not in kept}
    digest = fingerprint(model.metadata)
    text = json.dumps({"shards": shards, "left_out": left_out}, ensure_ascii=False)
    model.metadata[_SHARDS] = Value.scalar(Kind.STRING, text)
    model.metadata[_FILES] = Value.array(Kind.STRING, list(files))
    for name, data in files.items():
        model.metadata[_FILE + name] = Value.array(Kind.U8, np.frombuffer(zlib.compress(data, 6), np.uint8))
    model.metadata[_DIGEST] = Value.scalar(Kind.STRING, digest)


def recall(model: Archive, notes: list[str]) -> Directory | None:
    """The remembered directory, or None where there is none or the model's metadata changed since (then a note says so).

    Raises BadExtraError for keys that cannot be read.
    """
    if _SHARDS not in model.metadata:
        return None
    try:
        record = json.loads(model.metadata[_SHARDS].data)
        names = model.metadata[_FILES].data
        files = {name: zlib.decompress(model.metadata[_FILE + name].data.tobytes()) for name in names}
        digest = model.metadata[_DIGEST].data
        require(record, _RECORD)
        directory = Directory(record["shards"], record["left_out"], files)
        _require_left_out(directory)
    except (KeyError, ValueError, zlib.error, TypeError, AttributeError, RecursionError) as error:
        raise BadExtraError(
            f"cannot be read: {error!r}", file=model.path, hint="--no-extra-keys leaves them out."
        ) from error
    if not all(_is_plain(name) for name in [*files, *(s["file"] for s in directory.shards)]):
        raise BadExtraError("a stored file name is not a plain name", file=model.path)
    if digest != fingerprint(model.metadata):
        notes.append("metadata changed since the Hugging Face files were stored: they are made anew")
        return None
    return directory


def _require_left_out(directory: Directory) -> None:
    """Raise ValueError where a tensor that was left out cannot be made again."""
    for name, record in directory.left_out.items():
        require_tensor(record, name)
        if "copy_of" in record:
            if record["copy_of"] not in directory.types.keys() - directory.left_out.keys():
                raise ValueError(f"{name} is a copy of nothing")
        elif len(base64.b64decode(record["base64"], validate=True)) != TYPES[record["type"]].nbytes(record["shape"]):
            raise ValueError(f"{name} has another size")


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in the directory itself."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return name not in ("", ".", "..") and not any(letter in name for letter in "/\\\0")


def strip(metadata: Mapping[str, Value]) -> dict[str, Value]:
    """The metadata without `rosetta.*` keys."""
    return {key: value for key, value in metadata.items() if not key.startswith(PREFIX)}


def fingerprint(metadata: Mapping[str, Value]) -> str:
    """SHA-256 of the metadata that says what the model is, in hex."""
    digest = hashlib.sha256()
    for key, value in sorted(strip(metadata).items()):
        if key in _ENCODING:
            continue
        digest.update(f"{key}\0{value.kind}\0{value.item}\0".encode("utf-8", "surrogateescape"))
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Value) -> bytes:
    if isinstance(value.data, str):
        return value.data.encode("utf-8", "surrogateescape")
    if isinstance(value.data, list):
        parts = [_bytes_of(x) if isinstance(x, Value) else x.encode("utf-8", "surrogateescape") for x in value.data]
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return bytes(value.data.tobytes())


def _left_out(tensor: Tensor, source: Archive) -> dict[str, Any]:
    """How a tensor that GGUF leaves out (a tied head stored twice, a rotary buffer) is remembered."""
    record: dict[str, Any] = {"type": tensor.type.name, "shape": list(tensor.shape)}
    for name, other in source.tensors.items():
        same = tensor.name == "lm_head.weight" and name.endswith("embed_tokens.weight")
        if (
            same
            and (other.type, other.shape) == (tensor.type, tensor.shape)
            and np.array_equal(other.data, tensor.data)
        ):
            return record | {"copy_of": name}
    if tensor.nbytes > _LARGEST_INLINE:
        raise LeftOutTensorError(
            f"{tensor.nbytes} bytes that GGUF has no place for", file=tensor.file, tensor=tensor.name
        )
    return record | {"base64": base64.b64encode(tensor.data.tobytes()).decode()}


def left_out_tensor(name: str, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    """A tensor that GGUF left out, as it was remembered."""
    kind, shape = TYPES[record["type"]], tuple(record["shape"])
    if "copy_of" in record:
        return replace(tensors[record["copy_of"]], name=name)
    return Tensor.of(name, kind, shape, base64.b64decode(record["base64"]))
