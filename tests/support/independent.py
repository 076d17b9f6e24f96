"""Comparisons of model files by readers that nobody here wrote: gguf-py and the safetensors library.

Each gives the number of things compared, and fails where that is nothing.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors
from safetensors import safe_open


class GGUFReader(gguf.GGUFReader):
    """gguf-py's reader on a plain array over the mapped file: each of its many slices as a memmap takes twice as long."""

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, mapped: np.memmap) -> None:
        self._data = mapped.view(np.ndarray)


@lru_cache(maxsize=2)
def gguf_content(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, bytes], dict[str, tuple[Any, ...]]]:
    """Keys in order with their types, keys with their bytes (types, lengths included), tensors with their SHA-256."""
    reader = GGUFReader(path)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    types = {name: tuple(kind.name for kind in field.types) for name, field in fields.items()}
    values = {name: b"".join(part.tobytes() for part in field.parts) for name, field in fields.items()}
    tensors = {t.name: (t.tensor_type.name, tuple(int(n) for n in t.shape), _sum(t.data)) for t in reader.tensors}
    return types, values, tensors


def _sum(data: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(data).view(np.uint8)).hexdigest()


def assert_same_gguf(*, found: Path, expected: Path) -> tuple[int, int]:
    """The same keys, types, values, tensors and orders, bit for bit; gives the numbers of tensors and of keys.

    Files that are equal byte by byte need only one reading; gguf-py takes seconds for a vocabulary.
    """
    __tracebackhide__ = True
    want = gguf_content(expected)
    assert want[2], "no tensors: nothing was compared"
    assert want[0], "no metadata: nothing was compared"
    assert found.resolve() != expected.resolve(), "a file compared with itself"
    if filecmp.cmp(found, expected, shallow=False):
        return len(want[2]), len(want[0])
    got = gguf_content(found)
    assert list(got[0].items()) == list(want[0].items()), "metadata keys, their types or their order"
    assert [key for key in want[1] if got[1][key] != want[1][key]] == [], "metadata values"
    assert list(got[2]) == list(want[2]), "tensor names or their order"
    heads = [(name, got[2][name][:2], t[:2]) for name, t in want[2].items() if got[2][name][:2] != t[:2]]
    assert heads == [], "tensor types or shapes"
    assert [name for name, t in want[2].items() if got[2][name][2] != t[2]] == [], "tensor bytes"
    return len(want[2]), len(want[0])


def safetensors_content(path: Path) -> tuple[dict[str, str] | None, dict[str, tuple[str, list[int], bytes]]]:
    """`__metadata__`, and tensors with type, shape and bytes."""
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    loaded = safetensors.deserialize(path.read_bytes())
    return metadata, {name: (t["dtype"], t["shape"], bytes(t["data"])) for name, t in loaded}


def assert_same_directory(*, found: Path, expected: Path) -> tuple[int, int]:
    """The same files: weights equal tensor by tensor with types and `__metadata__`, all others byte for byte.

    Gives the numbers of tensors and of other files.
    """
    __tracebackhide__ = True
    names = sorted(p.relative_to(expected).as_posix() for p in expected.rglob("*") if p.is_file())
    also = sorted(p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file())
    assert also == names, "the files of the directory"
    tensors = others = 0
    for name in names:
        if name.endswith(".safetensors"):
            got, want = safetensors_content(found / name), safetensors_content(expected / name)
            assert got[0] == want[0], f"__metadata__ of {name}"
            assert sorted(got[1]) == sorted(want[1]), f"tensor names of {name}"
            assert [key for key in want[1] if got[1][key] != want[1][key]] == [], f"tensors of {name}"
            tensors += len(want[1])
        else:
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name
            others += 1
    assert tensors, "no tensors: nothing was compared"
    assert others, "no other files: nothing was compared"
    return tensors, others


def save_safetensors(
    path: Path, tensors: Mapping[str, tuple[str, Sequence[int], bytes]], metadata: dict[str, str] | None = None
) -> None:
    """Write a file with the safetensors library itself: tensors as (type, shape, bytes), BF16 included."""
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    spec = getattr(safetensors, "TensorSpec", None)  # since 0.8; dictionaries before
    buffers = {name: np.frombuffer(data, np.uint8) for name, (_, _, data) in tensors.items()}
    described: dict[str, Any] = {}
    for name, (kind, shape, data) in tensors.items():
        head = {"dtype": names[kind], "shape": list(shape)}
        buffer = buffers[name]
        described[name] = (
            spec(**head, data_ptr=buffer.ctypes.data, data_len=buffer.nbytes) if spec else head | {"data": data}
        )
    safetensors.serialize_file(described, path, metadata)
