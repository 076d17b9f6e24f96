"""The folder `rosetta/` beside Hugging Face weights: the original blocks and the exact metadata.

`rosetta/blocks.safetensors` holds, as U8 and under their GGUF names, the bytes of each tensor that the weights alone cannot
give back. `rosetta/source.json` holds:

| key | value |
|---|---|
| `version` | 1 |
| `weights` | the file names of the weights it belongs to |
| `companions` | SHA-256 of each companion file as written |
| `metadata` | the GGUF metadata, typed and in order (`architectures.typed_json`) |
| `tensors` | by GGUF name, in order: `type`, `shape`, `name` in the weights or null, `crc32` of its bytes there, `kept` |

How they come back is the business of `restore`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.architectures.typed_json import metadata_from_json, metadata_to_json
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.beside import NOTHING, kind_of, read_beside, require_inside
from rosetta_ref.convert.companions import is_companion
from rosetta_ref.convert.record import few
from rosetta_ref.convert.structure import require, require_tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.quant import TYPES, BlockType

FOLDER = "rosetta"
BLOCKS = "blocks.safetensors"
SOURCE = "source.json"
_REMOVE = "Remove the folder to go on without it."
_STORED = {
    "weights": [str],
    "companions": {...: str},
    "metadata": [dict],
    "tensors": {...: {"type": str, "shape": [int], "name": (None, str), "crc32": (None, str), "kept": bool}},
}


class BadKeptError(RosettaError):
    """`rosetta/source.json` and `rosetta/blocks.safetensors` are as this tool writes them, and belong together."""


@dataclass(frozen=True)
class Record:
    """What `source.json` says of a tensor: as it was, its name in the weights (None: it is not there), and its digest there."""

    type: BlockType
    shape: tuple[int, ...]
    name: str | None
    crc32: int | None
    kept: bool


@dataclass
class Kept:
    """What comes back: metadata, and for each GGUF name its record and, where it was kept, its original tensor."""

    metadata: dict[str, Any]
    records: dict[str, Record]
    blocks: dict[str, Tensor]
    companions_changed: list[str]


def needs_keeping(original: Tensor, written: Tensor | None, *, exact: bool) -> bool:
    """Whether the weights alone cannot give back the original bytes; `exact` says that no value was rounded."""
    if written is None:
        return True
    if original.type.name == written.type.name:
        return False
    # BF16 within F32 is a shift, there and back. F16 goes through hardware that quiets NaN, so it is kept.
    widened = (original.type.name, written.type.name) == ("BF16", "F32")
    narrowed = exact and original.type.name == "F32" and written.type.name in ("BF16", "F16")
    return not (widened or narrowed)


def blocks_archive(model: Archive, names: list[str]) -> Archive:
    """The archive of `rosetta/blocks.safetensors`: those tensors of the model as bytes."""
    tensors = {}
    for name in names:
        tensor = model.tensors[name]
        tensors[name] = Tensor(name, TYPES["U8"], (tensor.nbytes,), tensor.source, tensor.file, tensor.offset)
    return Archive("safetensors", {"format": "rosetta"}, tensors)


def source_json(
    model: Archive,
    hf_names: Mapping[str, str],
    sums: Mapping[str, int],
    kept: list[str],
    *,
    weights: list[str],
    companions: Mapping[str, bytes],
) -> bytes:
    """The text of `rosetta/source.json`; `sums` gives the CRC-32 of each tensor of the weights by its name there."""
    wanted = set(kept)
    tensors = {
        name: {
            "type": tensor.type.name,
            "shape": list(tensor.shape),
            "name": hf_names.get(name),
            "crc32": f"{sums[hf_names[name]]:08x}" if name in hf_names else None,
            "kept": name in wanted,
        }
        for name, tensor in model.tensors.items()
    }
    record = {
        "version": 1,
        "weights": weights,
        "companions": {name: _sha256(data) for name, data in companions.items()},
        "metadata": metadata_to_json(model.metadata),
        "tensors": tensors,
    }
    return json.dumps(record, allow_nan=False).encode()  # without indent: the C encoder, ten times as fast


def read_kept(archive: Archive, folder: Path, files: Mapping[str, bytes], notes: list[str]) -> Kept | None:
    """What is kept for these weights; None where nothing is, or where it belongs to other weights (a note says so).

    Raises BadKeptError for a folder that cannot be read.
    """
    path = folder / FOLDER / SOURCE
    if kind_of(folder / FOLDER) is NOTHING or kind_of(path) is NOTHING:
        return None
    try:
        stored = _stored(read_beside(folder, f"{FOLDER}/{SOURCE}"), path)
        weights, companions = stored["weights"], stored["companions"]
        _require_names(weights, companions)
        records = {name: _record(name, said) for name, said in stored["tensors"].items()}
        metadata = metadata_from_json(stored["metadata"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadKeptError(
            f"cannot be read: {type(error).__name__}: {error}", file=path, hint=_REMOVE
        ) from error  # fmt: skip
    here = {part.map.path.name for part in archive.parts}
    if set(weights) != here:
        notes.append(f"{path} belongs to {few(weights)}, not to {few(here)}: left aside")
        return None
    blocks = _blocks(folder, records)
    now = {name: _sha256(data) for name, data in files.items() if not name.endswith(".index.json")}
    changed = sorted(name for name in companions.keys() | now.keys() if companions.get(name) != now.get(name))
    if not companions and now:  # written with --keep-names: the files beside are somebody else's
        notes.append(f"{few(now)} is left aside: {path} was written with --keep-names")
        changed = []
    return Kept(metadata, records, blocks, changed)


def _stored(data: bytes, path: Path) -> dict[str, Any]:
    stored = foreign.json_object(data, file=path, halves=True)
    require(stored, _STORED)
    return stored


def _require_names(weights: list[str], companions: Mapping[str, str]) -> None:
    """Raise ValueError where a name is not one that a file of a model can have."""
    for name in weights:  # any name that `convert` was told to write
        if name in ("", ".", "..") or any(letter in name for letter in "/\\\0"):
            raise ValueError(f"weights names {name[:200]!r}")
    for name in companions:
        if not is_companion(name):
            raise ValueError(f"companions names {name[:200]!r}")


def _record(tensor: str, said: Mapping[str, Any]) -> Record:
    require_tensor(dict(said), tensor)
    name, crc = said["name"], said["crc32"]
    if name is None and not said["kept"]:
        raise ValueError(f"{tensor[:200]} is neither kept nor in the weights")
    kind, shape = TYPES[said["type"]], tuple(said["shape"])
    try:
        kind.nbytes(shape)
    except RosettaError as error:
        raise ValueError(f"{tensor[:200]}: {error.problem}") from error
    return Record(kind, shape, name, None if crc is None else int(crc, 16), said["kept"])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blocks(folder: Path, records: Mapping[str, Record]) -> dict[str, Tensor]:
    kept = {name: record for name, record in records.items() if record.kept}
    if not kept:
        return {}
    path = folder / FOLDER / BLOCKS
    require_inside(path, folder)
    blocks = safetensors.read(path)
    found = {}
    for name, record in kept.items():
        raw = blocks.tensors.get(name)
        if raw is None or raw.nbytes != record.type.nbytes(record.shape):
            raise BadKeptError("its original blocks are missing or of another size", file=path, tensor=name)
        found[name] = Tensor(name, record.type, record.shape, raw.source, raw.file, raw.offset)
    return found
