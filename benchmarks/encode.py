"""Encoding against ggml, one thread: `python benchmarks/encode.py [--elements 4] [--types Q4_K Q6_K] [--turns 5]`.

The sides take turns in one process, after a turn that does not count; the figure is the median. Data are Gaussian, the matrix is
what squares of activations look like. Q8_1 and Q8_K are measured against `quantize_row_*_ref`, the others against
`ggml_quantize_chunk`.
"""

from __future__ import annotations

import argparse
import ctypes
from typing import Any

import numpy as np
from decode import ggml_library, seconds

from rosetta_ref.quant import TYPES, BlockType

NAMES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"]
ALONE = ("Q8_0", "Q8_1", "Q8_K")  # no matrix
COLUMNS = 4096


def measure(kind: BlockType, rows: Any, importance: Any, turns: int, library: Any) -> list[float]:
    out = np.zeros(rows.size // kind.elements, kind.dtype)
    assert kind.encode is not None
    encode = kind.encode

    def ggml() -> None:
        if kind.name in ("Q8_1", "Q8_K"):
            row = getattr(library, f"quantize_row_{kind.name.replace('Q', 'q')}_ref")
            row(ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(rows.size))
            return
        matrix = None if importance is None else ctypes.c_void_p(importance.ctypes.data)
        shape = [ctypes.c_int64(n) for n in (0, *rows.shape)]
        pointers = (ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        library.ggml_quantize_chunk(kind.id, *pointers, *shape, matrix)

    return seconds([lambda: encode(rows, importance), ggml], turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=4, help="millions (2^20) of elements")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--types", nargs="+", default=NAMES, metavar="TYPE")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((options.elements * 2**20 // COLUMNS, COLUMNS)).astype(np.float32)
    importance = (rng.standard_normal(COLUMNS) ** 2).astype(np.float32)
    library = ggml_library()
    if library is None:
        parser.error("needs llama-cpp-python")
    print(f"{options.elements} x 2^20 elements, median of {options.turns} turns; ns an element")
    print(f"{'type':16}{'here':>8}{'ggml':>8}{'x ggml':>9}")
    for name in options.types:
        for matrix in (None,) if name in ALONE else (None, importance):
            here, ggml = measure(TYPES[name], rows, matrix, options.turns, library)
            label = f"{name}{'' if matrix is None else ', matrix'}"
            print(f"{label:16}{here / rows.size * 1e9:8.1f}{ggml / rows.size * 1e9:8.1f}{ggml / here:9.2f}", flush=True)


if __name__ == "__main__":
    main()
