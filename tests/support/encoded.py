"""A GGUF file or SafeTensors directory with its matrices in another type: by NumPy's astype, or by ggml's own quantiser."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.formats.detect import sniff
from rosetta_ref.quant import TYPES
from tests.support import ggml

#: ggml's numbers, typed from ggml.h, and those of `enum llama_ftype` in llama.h.
NUMBERS = {"Q4_0": 2, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "IQ4_NL": 20}
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q5_1": 9, "Q8_0": 7, "Q4_K": 14, "Q6_K": 18, "IQ4_NL": 25}
_FILE_TYPE = "general.file_type"


def data_of(kind: str, values: np.ndarray) -> bytes | None:
    """Those float32 numbers in a type; None where rows are no whole blocks."""
    rows = np.ascontiguousarray(values, np.float32)
    with np.errstate(all="ignore"):
        if kind == "F32":
            return rows.tobytes()
        if kind == "F16":
            return rows.astype(np.float16).tobytes()
        if kind == "BF16":
            bits = rows.view(np.uint32).astype(np.uint64)
            nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
            return np.where(np.isnan(rows), bits >> 16 | 0x40, nearest).astype(np.uint16).tobytes()
    if rows.shape[-1] % ggml.sizes(NUMBERS[kind])[1] or not np.isfinite(rows).all():
        return None
    return ggml.encode(NUMBERS[kind], rows.reshape(-1, rows.shape[-1]))


def floats_of(tensor: Tensor) -> np.ndarray | None:
    """The numbers of a tensor of floats or of blocks, by NumPy and ggml; None for all others."""
    kind, data = tensor.type, tensor.data.tobytes()
    if kind.name in ("F32", "F16"):
        return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[kind.name]).astype(np.float32).reshape(tensor.shape)
    if kind.name == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    if kind.is_scalar or kind.id is None:
        return None
    return ggml.decode(kind.id, data, tensor.count).reshape(tensor.shape)


def encoded(path: Path, kind: str, folder: Path) -> Path:
    """A copy of an output with every matrix in that type, as converters do it: vectors stay in F32 in GGUF."""
    file = path / "model.safetensors" if path.is_dir() else path
    form = sniff(file)
    module = {"gguf": gguf, "safetensors": safetensors}[form]
    folder.mkdir(parents=True)
    with module.read(file) as archive:
        tensors = {name: _in(kind, tensor, form) for name, tensor in archive.tensors.items()}
        metadata = dict(archive.metadata)
        if _FILE_TYPE in metadata and any(tensor.type.name == kind for tensor in tensors.values()):
            metadata[_FILE_TYPE] = Value.scalar(Kind.U32, FILE_TYPES[kind])
        made = Archive(form, metadata, tensors)
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        module.write(made, folder / path.name / "model.safetensors" if path.is_dir() else folder / path.name)
    return folder / path.name


def _in(kind: str, tensor: Tensor, form: str) -> Tensor:
    copied = replace(Tensor.of(tensor.name, tensor.type, tensor.shape, tensor.data.copy()))
    values = floats_of(tensor)
    if values is None or (len(tensor.shape) < 2 and form == "gguf"):
        return copied
    data = data_of(kind, values)
    return copied if data is None else Tensor.of(tensor.name, TYPES[kind], tensor.shape, np.frombuffer(data, np.uint8))
