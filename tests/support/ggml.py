"""ggml's own block functions by ctypes: nothing of llama.cpp is imported, only its smallest library is opened."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np


class _TypeTraits(ctypes.Structure):
    """The head of `struct ggml_type_traits` in ggml.h."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None, "llama-cpp-python is part of the test extra"
    assert spec.origin is not None
    found = sorted((Path(spec.origin).parent / "lib").glob("libggml-base.*"), key=lambda path: len(path.name))
    assert found, "llama_cpp/lib holds no libggml-base"
    ggml = ctypes.CDLL(str(found[0]))
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(_TypeTraits)
    ggml.ggml_get_type_traits.argtypes = [ctypes.c_int]
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return ggml


def sizes(number: int) -> tuple[str, int, int]:
    """Name, elements and bytes of a block of that ggml type id (0..42 only: ggml does not check)."""
    traits = library().ggml_get_type_traits(number).contents
    return (traits.type_name or b"").decode(), traits.blck_size, traits.type_size


def decode(number: int, data: bytes, count: int) -> np.ndarray:
    """`count` float32 out of blocks of that ggml type id."""
    name, elements, size = sizes(number)
    assert count % elements == 0, name
    assert len(data) == count // elements * size, name
    traits = library().ggml_get_type_traits(number).contents
    row = traits.to_float if traits.to_float else getattr(library(), f"dequantize_row_{name}")
    source = np.frombuffer(data, np.uint8).copy()
    values = np.full(count, np.float32(12345.678))
    row(ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(count))
    return values


def encode(number: int, values: np.ndarray, importance: np.ndarray | None = None) -> bytes:
    """Rows of float32, shape (rows, columns), as blocks: by `ggml_quantize_chunk`, or where that aborts, by `quantize_row_*_ref`."""
    rows = np.ascontiguousarray(values, np.float32)
    name, elements, size = sizes(number)
    blocks = np.zeros(rows.size // elements * size, np.uint8)
    if name in ("q8_1", "q8_K"):
        assert importance is None
        row = getattr(library(), f"quantize_row_{name}_ref")
        row(ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(blocks.ctypes.data), ctypes.c_int64(rows.size))
        return blocks.tobytes()
    matrix = None
    if importance is not None:
        assert importance.shape == (rows.shape[1],)
        matrix = np.ascontiguousarray(importance, np.float32)
    done = library().ggml_quantize_chunk(
        number, rows.ctypes.data, blocks.ctypes.data, 0, *rows.shape, None if matrix is None else matrix.ctypes.data
    )
    assert done == blocks.size
    return blocks.tobytes()
