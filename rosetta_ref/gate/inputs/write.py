"""A sample in each of the formats: the same weights as each format holds them, and what stands beside them.

Names, rows and numbers go by `mapping`. A Hugging Face directory has one float type, as real ones have: 1-D tensors, which GGUF
keeps in F32, are narrowed to the type of the embedding where that is exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.formats.gguf.layout import SPLIT_COUNT, SPLIT_KINDS, SPLIT_NUMBER, SPLIT_TENSORS
from rosetta_ref.formats.gguf.split import part_name
from rosetta_ref.gate.inputs.big_endian import big_endian
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.claims import apr_metadata_of
from rosetta_ref.gate.judge.shift import shifted
from rosetta_ref.quant import BlockType

_NARROW = ("F16", "BF16")


def write(sample: Sample, format: str, folder: Path, safetensors_as: str = "directory") -> Path:  # noqa: A002
    """Write that face into a folder; the path to give to a converter: a file, or a Hugging Face directory.

    A sample of several shards is the first file of a GGUF set, or the index of a SafeTensors one where a file is asked for.
    Raises ValueError for a face that the sample does not have.
    """
    if format not in sample.formats:
        raise ValueError(f"sample {sample.name} has no {format} face; it has {', '.join(sample.formats)}")
    folder.mkdir(parents=True, exist_ok=True)
    return _WRITERS[format](sample, folder, safetensors_as)


def apr_face(sample: Sample) -> Archive:
    """The sample as aprender's importers name it: its own keys, names by architecture, GGUF's rows (rope_type 0) or halves (2).

    Halves in a llama file are what an import of the Hugging Face directory gives.
    """
    if sample.halves_in_apr:
        tensors = hugging_face_face(sample).tensors
    else:
        tensors = _renamed(
            sample.model, {name: mapping.apr_name(name, sample.architecture) for name in sample.model.tensors}
        )
    if sample.architecture is None:
        return Archive("apr", {"name": sample.name, "model_type": "other"}, tensors)
    metadata = apr_metadata_of(sample.model.metadata)
    metadata |= {"rope_type": mapping.HALVES} if sample.halves_in_apr else {}
    return Archive("apr", metadata | {"tied_embeddings": mapping.HEAD not in sample.model.tensors}, tensors)


def hugging_face_face(sample: Sample) -> Archive:
    """The tensors of the Hugging Face directory: renamed, q and k in halves, none that config.json makes.

    Tensors that are no model stay as they are.
    """
    model = sample.model
    if sample.architecture is None:
        return Archive("safetensors", {"format": "pt"}, dict(model.tensors))
    kept = {name: tensor for name, tensor in model.tensors.items() if name not in mapping.FROM_CONFIGURATION}
    base = model.tensors[mapping.EMBEDDING].type
    turned = {name: _in_halves(tensor, mapping.row_heads(name, model.metadata)) for name, tensor in kept.items()}
    turned |= {
        name: shifted(tensor, -role.plus)
        for name, tensor in turned.items()
        if (role := mapping.role_of(name, sample.architecture)) is not None and role.plus
    }
    narrow = {name: _narrowed(tensor, base) for name, tensor in turned.items()}
    names = {name: mapping.hugging_face_name(name, sample.architecture) or name for name in kept}
    return Archive("safetensors", {"format": "pt"}, _renamed(replace(model, tensors=narrow), names))


def _renamed(model: Archive, names: dict[str, str]) -> dict[str, Tensor]:
    return {names[name]: replace(tensor, name=names[name]) for name, tensor in model.tensors.items()}


def _in_halves(tensor: Tensor, heads: int | None) -> Tensor:
    if heads is None:
        return tensor
    rows = mapping.to_halves(tensor.data.reshape(tensor.shape[0], -1), heads)
    return Tensor.of(tensor.name, tensor.type, tensor.shape, rows)


def _narrowed(tensor: Tensor, base: BlockType) -> Tensor:
    if len(tensor.shape) > 1 or tensor.type.name != "F32" or base.name not in _NARROW:
        return tensor
    assert base.encode is not None
    made = Tensor.of(tensor.name, base, tensor.shape, base.encode(tensor.values()))
    return made if np.array_equal(made.values(), tensor.values()) else tensor


def _apr(sample: Sample, folder: Path, _safetensors_as: str) -> Path:
    apr.write(apr_face(sample), folder / "model.apr")
    return folder / "model.apr"


def _gguf(sample: Sample, folder: Path, _safetensors_as: str) -> Path:
    if sample.big_endian:
        (folder / "model.gguf").write_bytes(big_endian(sample.model))
        return folder / "model.gguf"
    if sample.shards == 1:
        gguf.write(sample.model, folder / "model.gguf")
        return folder / "model.gguf"
    groups = list(_groups(sample.model, sample.shards))
    paths = [folder / part_name("model", number + 1, len(groups)) for number in range(len(groups))]
    for number, (path, names) in enumerate(zip(paths, groups, strict=True)):
        keys = dict(sample.model.metadata) if number == 0 else {}
        counts = {SPLIT_NUMBER: number, SPLIT_COUNT: len(groups), SPLIT_TENSORS: len(sample.model.tensors)}
        keys |= {key: Value.scalar(SPLIT_KINDS[key], value) for key, value in counts.items()}
        gguf.write(Archive("gguf", keys, {name: sample.model.tensors[name] for name in names}), path, part=True)
    return paths[0]


def _hugging_face(sample: Sample, folder: Path, safetensors_as: str) -> Path:
    folder = folder / "model" if safetensors_as == "directory" else folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in sample.companions.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    face = hugging_face_face(sample)
    if sample.shards == 1:
        safetensors.write(face, folder / "model.safetensors")
        return folder if safetensors_as == "directory" else folder / "model.safetensors"
    groups = list(_groups(face, sample.shards))
    files = [f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    for place, (file, names) in enumerate(zip(files, groups, strict=True)):
        tensors = {name: face.tensors[name] for name in names}
        if (
            sample.stale
        ):  # the first of the next file, in this one: whoever takes the first, or the last, that comes, takes it
            name = groups[(place + 1) % len(groups)][0]
            tensors[name] = _stale(face.tensors[name])
        safetensors.write(replace(face, tensors=tensors), folder / file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in face.tensors.values())},
        "weight_map": {name: file for file, names in zip(files, groups, strict=True) for name in names},
    }
    (folder / safetensors.INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n")
    return folder if safetensors_as == "directory" else folder / safetensors.INDEX_NAME


_WRITERS: dict[str, Callable[[Sample, Path, str], Path]] = {"gguf": _gguf, "apr": _apr, "safetensors": _hugging_face}


def _stale(tensor: Tensor) -> Tensor:
    """An older state of it: every number of the other sign."""
    data = tensor.data.copy()
    data[tensor.type.block_bytes - 1 :: tensor.type.block_bytes] ^= 0x80
    return Tensor.of(tensor.name, tensor.type, tensor.shape, data)


def _groups(model: Archive, count: int) -> Iterator[tuple[str, ...]]:
    """The names of the tensors in that many runs, none empty."""
    names = tuple(model.tensors)
    bounds = [len(names) * place // count for place in range(count + 1)]
    for start, stop in pairwise(bounds):
        yield names[start:stop]
