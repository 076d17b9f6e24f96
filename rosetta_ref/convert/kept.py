"""The folder `rosetta/` beside Hugging Face weights: the original blocks and the exact metadata, and how they come back.

`rosetta/blocks.safetensors` holds, as U8 and under their GGUF names, the bytes of each tensor that the weights alone cannot
give back. `rosetta/source.json` holds:

| key | value |
|---|---|
| `version` | 1 |
| `weights` | the file names of the weights it belongs to |
| `companions` | SHA-256 of each companion file as written |
| `metadata` | the GGUF metadata, typed and in order (`architectures.typed_json`) |
| `tensors` | by GGUF name, in order: `type`, `shape`, `name` in the weights or null, `sha256` of its bytes there, `kept` |

A tensor of the weights whose digest still matches gets its original bytes; one that was changed is taken from the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.architectures.typed_json import metadata_from_json, metadata_to_json
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert.check import sha256_all
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.quant import TYPES

FOLDER = "rosetta"
BLOCKS = "blocks.safetensors"
SOURCE = "source.json"


class BadKeptError(RosettaError):
    """`rosetta/source.json` and `rosetta/blocks.safetensors` are as this tool writes them, and belong together."""


class MissingWeightError(RosettaError):
    """Every tensor that `rosetta/source.json` names is in the weights."""


@dataclass
class Kept:
    """What comes back: metadata, and for each GGUF name its record and, where it was kept, its original tensor."""

    metadata: dict[str, Any]
    records: dict[str, dict[str, Any]]
    blocks: dict[str, Tensor]
    changed: list[str] = field(default_factory=list)
    companions_changed: list[str] = field(default_factory=list)


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
    sums: Mapping[str, str],
    kept: list[str],
    *,
    weights: list[str],
    companions: Mapping[str, bytes],
) -> bytes:
    """The text of `rosetta/source.json`; `sums` gives the SHA-256 of each tensor of the weights by its name there."""
    wanted = set(kept)
    tensors = {
        name: {
            "type": tensor.type.name,
            "shape": list(tensor.shape),
            "name": hf_names.get(name),
            "sha256": sums[hf_names[name]] if name in hf_names else None,
            "kept": name in wanted,
        }
        for name, tensor in model.tensors.items()
    }
    record = {
        "version": 1,
        "weights": weights,
        "companions": {name: hashlib.sha256(data).hexdigest() for name, data in companions.items()},
        "metadata": metadata_to_json(model.metadata),
        "tensors": tensors,
    }
    return json.dumps(record, allow_nan=False).encode()  # without indent: the C encoder, ten times as fast


def read_kept(archive: Archive, folder: Path, files: Mapping[str, bytes], notes: list[str]) -> Kept | None:
    """What is kept for these weights; None where nothing is, or where it belongs to other weights (a note says so).

    Raises BadKeptError for a folder that cannot be read, MissingWeightError where a recorded tensor is gone.
    """
    path = folder / FOLDER / SOURCE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_bytes())
        weights, records = set(record["weights"]), dict(record["tensors"])
        companions = record["companions"]
        metadata = metadata_from_json(record["metadata"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadKeptError(
            f"cannot be read: {error!r}", file=path, hint="Remove the folder to go on without it."
        ) from error
    here = {part.map.path.name for part in archive.parts}
    if weights != here:
        notes.append(f"{path} belongs to {', '.join(sorted(weights))}, not to {', '.join(sorted(here))}: left aside")
        return None
    kept = Kept(metadata, records, _blocks(folder / FOLDER / BLOCKS, records))
    _find_changes(kept, archive)
    kept.companions_changed = [
        name
        for name, digest in companions.items()
        if name in files and hashlib.sha256(files[name]).hexdigest() != digest
    ]
    return kept


def _blocks(path: Path, records: Mapping[str, dict[str, Any]]) -> dict[str, Tensor]:
    names = [name for name, record in records.items() if record["kept"]]
    if not names:
        return {}
    blocks = safetensors.read(path)
    found = {}
    for name in names:
        kind, shape = TYPES[records[name]["type"]], tuple(records[name]["shape"])
        raw = blocks.tensors.get(name)
        if raw is None or raw.nbytes != kind.nbytes(shape):
            raise BadKeptError("its original blocks are missing or of another size", file=path, tensor=name)
        found[name] = Tensor(name, kind, shape, raw.source, raw.file, raw.offset)
    return found


def _find_changes(kept: Kept, archive: Archive) -> None:
    named = {name: record["name"] for name, record in kept.records.items() if record["name"] is not None}
    for name, weight in named.items():
        if weight not in archive.tensors:
            raise MissingWeightError(f"{name} came from it", file=archive.path, tensor=weight)
    sums = sha256_all(archive.tensors[weight] for weight in named.values())
    kept.changed = [name for name, weight in named.items() if sums[weight] != kept.records[name]["sha256"]]
