"""Importance matrices: how much each column of a matrix matters, as llama-imatrix measured it on a text.

A GGUF file of `general.type` imatrix. For a matrix NAME it has two F32 tensors: NAME.in_sum2, the sums of squares of what the
columns were multiplied with, a row an expert, and NAME.counts, how many times each expert was asked. The weight of a column is
their quotient in float32, with the count rounded to a whole number; all weights of an expert that was never asked are 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rosetta_ref import foreign, limits
from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.mix_table import EMBEDDINGS
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.quant.block import Floats

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS, _CHUNKS, _CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
#: llama.cpp hands these texts around in fields of 128 bytes, the last of which is 0.
_LONGEST = 127


class LegacyImatrixError(RosettaError):
    """An importance matrix is a GGUF file."""


class NotImatrixError(RosettaError):
    """An importance matrix has general.type imatrix, the keys imatrix.datasets, .chunk_count and .chunk_size, and an entry."""


class ImatrixEntryError(RosettaError):
    """An entry is two F32 tensors: finite sums that are not negative, in as many equal rows as there are counts."""


class ImatrixSizeError(RosettaError):
    """An importance matrix has one weight for each column of a matrix, and of each expert's."""


class ForeignImatrixError(RosettaError):
    """An importance matrix is one of this model: it has an entry for some matrix of it."""


class MissingImportanceError(RosettaError):
    """A type of very few bits is only made with an importance matrix that has an entry for the tensor."""


@dataclass(frozen=True)
class Imatrix:
    """The weights by the name of the matrix, flat: the columns of one expert after those of another."""

    path: Path
    weights: Mapping[str, Floats]
    datasets: tuple[str, ...]
    chunks: int

    def of(self, tensor: Tensor) -> Floats | None:
        """The weights of a tensor's columns, of shape (experts, columns); None where the matrix has no entry for it.

        Raises ImatrixSizeError, but for embeddings: theirs are left out then, as llama.cpp does.
        """
        weights = self.weights.get(tensor.name)
        if weights is None:
            return None
        experts = tensor.shape[-3] if len(tensor.shape) > 2 else 1
        if weights.size != experts * tensor.shape[-1]:
            if tensor.name in EMBEDDINGS:
                return None
            raise ImatrixSizeError(
                f"{weights.size} weights for {experts} x {tensor.shape[-1]} columns", file=self.path, tensor=tensor.name
            )
        return weights.reshape(experts, tensor.shape[-1])

    def keys(self) -> dict[str, Value]:
        """The keys that llama-quantize leaves in the model."""
        made = {"quantize.imatrix.file": Value.scalar(Kind.STRING, _short(str(self.path)))}
        if self.datasets:
            made["quantize.imatrix.dataset"] = Value.scalar(Kind.STRING, _short(self.datasets[0]))
        made["quantize.imatrix.entries_count"] = Value.scalar(Kind.U32, len(self.weights))
        if self.chunks > 0:
            made["quantize.imatrix.chunks_count"] = Value.scalar(Kind.U32, self.chunks)
        return made


def _short(text: str) -> str:
    return text.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "ignore")


def read_imatrix(path: str | Path) -> Imatrix:
    """Read an importance matrix whole.

    Raises an error of this module, that of a damaged GGUF file, NotAFileError, UnreadableTextError or LimitExceededError.
    """
    path = Path(path)
    _refuse_legacy(path)
    with gguf.read(path) as archive:
        datasets, chunks = _facts(archive, path)
        nbytes = sum(tensor.nbytes for tensor in archive.tensors.values())
        limits.require("imatrix-bytes", nbytes, "the tensors", file=path)
        names = [name.removesuffix(_SUMS) for name in archive.tensors if name.endswith(_SUMS)]
        names += [
            stem
            for name in archive.tensors
            if name.endswith(_COUNTS) and (stem := name.removesuffix(_COUNTS)) + _SUMS not in archive.tensors
        ]
        if not names:
            raise NotImatrixError("no tensor is a sum of squares", file=path)
        return Imatrix(path, {name: _weights(archive, name, path) for name in names}, datasets, chunks)


def _refuse_legacy(path: Path) -> None:
    """The form before GGUF has no magic: the number of entries, then the length of the first name and the name itself."""
    path.lstat()  # a path where nothing is: an OSError, as of every command
    with foreign.open_file(path) as file:  # waits for no pipe
        head = file.read(8 + 64)
    length = int.from_bytes(head[4:8], "little")
    name = head[8 : 8 + length]
    if head[:4] != b"GGUF" and 0 < length < 256 and name and all(0x20 <= byte < 0x7F for byte in name):
        raise LegacyImatrixError(
            "this is the form before GGUF (.dat)", file=path, offset=0,
            hint="llama-imatrix --in-file OLD.dat --output-format gguf -o NEW.gguf makes one of it.",
        )  # fmt: skip


def _facts(archive: Archive, path: Path) -> tuple[tuple[str, ...], int]:
    """The datasets and the number of chunks that the matrix was measured on."""
    kind = archive.metadata.get("general.type")
    if kind is None or kind.plain() != "imatrix":
        raise NotImatrixError(f"general.type is {None if kind is None else shown(kind.plain())}", file=path)
    expected = {_DATASETS: (Kind.ARRAY, Kind.STRING), _CHUNKS: (Kind.U32, None), _CHUNK_SIZE: (Kind.U32, None)}
    for key, what in expected.items():
        value = archive.metadata.get(key)
        if value is None or (value.kind, value.item) != what:
            raise NotImatrixError(f"{key} is {'missing' if value is None else f'of kind {value.kind.name}'}", file=path)
    return tuple(archive.metadata[_DATASETS].plain()), int(archive.metadata[_CHUNKS].plain())


def _weights(archive: Archive, name: str, path: Path) -> Floats:
    parts = []
    for suffix in (_SUMS, _COUNTS):
        tensor = archive.tensors.get(name + suffix)
        if tensor is None or tensor.type.name != "F32":
            what = "missing" if tensor is None else f"{tensor.type.name}, not F32"
            raise ImatrixEntryError(f"{name}{suffix} is {what}", file=path, tensor=name)
        parts.append(tensor.values().reshape(-1))
    sums, counts = parts
    for suffix, values in ((_SUMS, sums), (_COUNTS, counts)):
        if not np.all(np.isfinite(values) & (values >= 0)):
            raise ImatrixEntryError(f"{name}{suffix} has NaN, Inf or a negative number", file=path, tensor=name)
    if not sums.size or not counts.size or sums.size % counts.size:
        raise ImatrixEntryError(f"{sums.size} sums and {counts.size} counts", file=path, tensor=name)
    # C's lround: half away from zero.
    asked = np.floor(counts.astype(np.float64) + 0.5).astype(np.float32)[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weights = np.where(asked > 0, sums.reshape(counts.size, -1) / asked, np.float32(1)).astype(np.float32)
    return weights.reshape(-1)
