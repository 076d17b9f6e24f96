"""Encoding against ggml's one thread: `python benchmarks/encode.py [--elements 4] [--types Q4_K Q6_K] [--turns 5]`.

The sides take turns in one process, after a turn that does not count; the figure is the median. Data are Gaussian, the matrix is
what squares of activations look like. Q8_1 and Q8_K are measured against `quantize_row_*_ref`, the others against
`ggml_quantize_chunk`.

`here` is plain NumPy, `fast` the same with numba, both in one thread; `cores` is numba in as many threads as `convert` uses, each
with the spans of the tensor that it gets there. `x ggml` stands once for each.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from decode import by, ggml_library, seconds

from rosetta_ref.archive import Tensor
from rosetta_ref.quant import TYPES, BlockType, fast
from rosetta_ref.recode import encoded
from rosetta_ref.streaming import THREADS

NAMES = [
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"),
    *("IQ4_NL", "IQ4_XS"),
]
ALONE = ("Q8_0", "Q8_1", "Q8_K")  # no matrix
COLUMNS = 4096
SIDES = ("here", "fast", "cores", "ggml")


def by_ggml(kind: BlockType, rows: Any, importance: Any, library: Any) -> Callable[[], None]:
    out = np.zeros(rows.size // kind.elements, kind.dtype)

    def encode() -> None:
        if kind.name in ("Q8_1", "Q8_K"):
            row = getattr(library, f"quantize_row_{kind.name.replace('Q', 'q')}_ref")
            row(ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(rows.size))
            return
        matrix = None if importance is None else ctypes.c_void_p(importance.ctypes.data)
        shape = [ctypes.c_int64(n) for n in (0, *rows.shape)]
        pointers = (ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        library.ggml_quantize_chunk(kind.id, *pointers, *shape, matrix)

    return encode


def on_all_cores(kind: BlockType, rows: Any, importance: Any) -> Callable[[], None]:
    """As `convert` does it: spans of a tensor's bytes, made as they are asked for; smaller ones, since the tensor is."""
    stored = Tensor.of("t", TYPES["F32"], rows.shape, rows)
    made = encoded(stored, kind.name, None if importance is None else importance[None])
    row = kind.nbytes((COLUMNS,))
    spans = list(made.spans(max(made.nbytes // (8 * THREADS) // row, 1) * row))

    def encode() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda span: made.source.read(*span), spans))

    return encode


def measure(kind: BlockType, rows: Any, importance: Any, turns: int, library: Any) -> list[float]:
    """Seconds of each of the sides; NaN for numba where the type has no kernel."""
    encode = kind.encode
    assert encode is not None
    sides = [by("0", lambda: encode(rows, importance)), by_ggml(kind, rows, importance, library)]
    if kind.name not in fast.ENCODED or not fast.available():
        here, ggml = seconds(sides, turns, time.perf_counter)
        return [here, math.nan, math.nan, ggml]
    sides[1:1] = [by("1", lambda: encode(rows, importance)), by("1", on_all_cores(kind, rows, importance))]
    return seconds(sides, turns, time.perf_counter)


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
    print(f"{options.elements} x 2^20 elements, median of {options.turns} turns, {THREADS} threads; ns an element")
    titles = (*SIDES, *(f"{side} x ggml" for side in SIDES[:3]))
    print(f"{'type':16}" + "".join(f"{title:>14}" for title in titles))
    for name in options.types:
        for matrix in (None,) if name in ALONE else (None, importance):
            taken = measure(TYPES[name], rows, matrix, options.turns, library)
            figures = [*(t / rows.size * 1e9 for t in taken), *(taken[-1] / t for t in taken[:3])]
            label = f"{name}{'' if matrix is None else ', matrix'}"
            line = f"{label:16}" + "".join(f"{figure:14.2f}" for figure in figures)
            print(line.replace("nan", "  -"), flush=True)


if __name__ == "__main__":
    main()
