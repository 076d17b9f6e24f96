"""The types that this package cannot encode, encoded by ggml's own library, where `llama-cpp-python` is installed.

Nothing of this package has a say in those bytes, so they judge nothing: `TYPES[name].encode` stays None, and whoever
comes here says so in a report. The library runs in a process of its own, because it ends the process that it runs in on NaN, on Inf
and on numbers that its search does not expect.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks, BlockType, Encoder, Floats, RaggedRowError
from rosetta_ref.quant.encoding import ImportanceError

#: Types that ggml does not encode without an importance matrix.
NEEDS_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")

_CHILD = """
import ctypes, sys
path, number, rows, columns, size = sys.argv[1], *map(int, sys.argv[2:])
data = bytearray(sys.stdin.buffer.read())
values = (ctypes.c_char * len(data)).from_buffer(data)
matrix = ctypes.byref(values, 4 * rows * columns) if len(data) > 4 * rows * columns else None
blocks = ctypes.create_string_buffer(size)
quantize = ctypes.CDLL(path).ggml_quantize_chunk
quantize.restype = ctypes.c_size_t
quantize.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
if quantize(number, values, blocks, 0, rows, columns, matrix) != size:
    sys.exit(3)
sys.stdout.buffer.write(blocks.raw)
"""


class LibraryError(RosettaError):
    """ggml's library gives blocks for ordinary numbers only."""


@cache
def library() -> Path | None:
    """The file of ggml's library, None where llama-cpp-python is not installed. Nothing is imported."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return None
    found = (Path(spec.origin).parent / "lib").glob("*ggml-base.*")
    return min(found, key=lambda path: len(path.name), default=None)


def name() -> str:
    """What to call it in a report."""
    return f"libggml of llama-cpp-python {version('llama-cpp-python')}"


def encoder(kind: BlockType) -> Encoder | None:
    """An encoder for a type of ggml's, None where the library is not there."""
    path = library()
    if path is None or kind.id is None:
        return None

    def encode(values: Any, importance: Any = None) -> Blocks:
        x = np.ascontiguousarray(values, np.float32)
        columns = x.shape[-1]
        if columns % kind.elements:
            raise RaggedRowError(f"a row of {columns} elements is not a whole number of {kind.name} blocks")
        if not x.size:
            return np.zeros((*x.shape[:-1], columns // kind.elements), kind.dtype)
        made = _run(path, kind, x.reshape(-1, columns), _matrix(kind, importance, columns))
        return kind.blocks(made).reshape(*x.shape[:-1], -1)

    return encode


def _matrix(kind: BlockType, importance: Any, columns: int) -> Floats:
    if importance is None:
        if kind.name in NEEDS_IMPORTANCE:
            raise ImportanceError(f"ggml does not encode {kind.name} without an importance matrix")
        return np.empty(0, np.float32)
    weights = np.ascontiguousarray(importance, np.float32)
    if weights.shape != (columns,):
        raise ImportanceError(f"an importance of shape {weights.shape} is not one weight for each of {columns} columns")
    return weights


def _run(path: Path, kind: BlockType, x: Floats, matrix: Floats) -> bytes:
    size = x.size // kind.elements * kind.block_bytes
    numbers = [str(number) for number in (kind.id, *x.shape, size)]
    done = subprocess.run(
        [sys.executable, "-S", "-c", _CHILD, str(path), *numbers],
        input=x.tobytes() + matrix.tobytes(),
        capture_output=True,
        env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        check=False,
    )
    if done.returncode or len(done.stdout) != size:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise LibraryError(f"{name()} gave up on {kind.name}: {' '.join(said) or f'exit code {done.returncode}'}")
    return done.stdout
