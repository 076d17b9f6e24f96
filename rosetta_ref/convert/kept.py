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

from rosetta_ref.architectures.typed_json import metadata_from_json, metadata_to_json
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert.structure import require
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.quant import TYPES, BlockType

FOLDER = "rosetta"
BLOCKS = "blocks.safetensors"
SOURCE = "source.json"
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
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_bytes())
        require(stored, _STORED)
        weights, companions = set(stored["weights"]), dict(stored["companions"])
        records = {name: _record(said) for name, said in stored["tensors"].items()}
        metadata = metadata_from_json(stored["metadata"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, RosettaError) as error:
        raise BadKeptError(
            f"cannot be read: {error!r}", file=path, hint="Remove the folder to go on without it."
        ) from error
    here = {part.map.path.name for part in archive.parts}
    if weights != here:
        notes.append(f"{path} belongs to {', '.join(sorted(weights))}, not to {', '.join(sorted(here))}: left aside")
        return None
    now = {name: _sha256(data) for name, data in files.items() if not name.endswith(".index.json")}
    changed = sorted(name for name in companions.keys() | now.keys() if companions.get(name) != now.get(name))
    if not companions:  # written with --keep-names: the files beside are somebody else's
        changed = []
    return Kept(metadata, records, _blocks(folder / FOLDER / BLOCKS, records), changed)


def _record(said: Mapping[str, Any]) -> Record:
    name, shape, crc = said["name"], said["shape"], said["crc32"]
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {shape!r}")
    if not (isinstance(name, str) or (name is None and said["kept"] is True)):
        raise ValueError(f"name {name!r}, kept {said['kept']!r}")
    return Record(TYPES[said["type"]], tuple(shape), name, None if crc is None else int(crc, 16), said["kept"] is True)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blocks(path: Path, records: Mapping[str, Record]) -> dict[str, Tensor]:
    kept = {name: record for name, record in records.items() if record.kept}
    if not kept:
        return {}
    blocks = safetensors.read(path)
    found = {}
    for name, record in kept.items():
        raw = blocks.tensors.get(name)
        if raw is None or raw.nbytes != record.type.nbytes(record.shape):
            raise BadKeptError("its original blocks are missing or of another size", file=path, tensor=name)
        found[name] = Tensor(name, record.type, record.shape, raw.source, raw.file, raw.offset)
    return found
