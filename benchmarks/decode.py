"""Decoding against gguf-py and ggml, one thread: `python benchmarks/decode.py [--elements 16] [--types Q4_K Q6_K]`.

The sides take turns in one process, after a turn that does not count; the figure is the median. Scales are ordinary numbers: NaN
and subnormals slow NumPy down, and no model has many. gguf-py allocates its result, since it has no way to be given
one; this package is timed both ways. `fast` is its way with numba, into `out=`; `x ggml` stands once for each. `extra MB` is what
decoding with NumPy takes beside its result at most, as Python's allocators count it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import math
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from rosetta_ref.quant import TYPES, BlockType, fast

NAMES = [
    *("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    *("TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0"),
]
#: What gguf-py does not decode.
ALONE = ("Q1_0", "Q2_0")
SIDES = ("into out=", "allocating", "fast", "gguf-py", "ggml")


def ordinary(kind: BlockType, elements: int) -> Any:
    """Random blocks with scales around 0.01."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, elements // kind.elements * kind.block_bytes, dtype=np.uint8)
    fields = data.view(kind.dtype)
    for name in ("d", "m", "dmin"):
        if name in (kind.dtype.names or ()) and kind.name != "NVFP4":
            fields[name] = rng.uniform(0.005, 0.02, fields.size)
    if kind.name == "NVFP4":
        fields["d"] = rng.integers(0x08, 0x30, fields["d"].shape)
    if kind.name == "MXFP4":
        fields["e"] = rng.integers(115, 122, fields.size)
    if kind.name == "IQ1_M":  # the four top nibbles make the f16 0x2000 and up, about 0.008
        fields["scales"] &= 0x0F
        fields["scales"][:, 7] |= 0x20
    if kind.name == "F16":
        fields["x"] = rng.standard_normal(fields.size)
    if kind.name == "BF16":
        fields["x"] = rng.standard_normal(fields.size).astype(np.float32).view(np.uint32) >> 16
    return data


def ggml_library() -> Any:
    """The library inside llama-cpp-python that holds the block types; None where that is not installed."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "lib").glob("libggml-base.*"), key=lambda path: len(path.name))
    return ctypes.CDLL(str(found[0]))


def ggml_rows() -> Callable[[str], Any] | None:
    """`dequantize_row_*` of that library."""
    library = ggml_library()
    if library is None:
        return None
    names = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}
    return lambda name: getattr(library, names.get(name) or f"dequantize_row_{name.lower().replace('_k', '_K')}")


def by(setting: str, decode: Callable[[], Any]) -> Callable[[], Any]:
    """Decoding with that setting of ROSETTA_FAST."""

    def run() -> Any:
        os.environ["ROSETTA_FAST"] = setting
        return decode()

    return run


def has_kernel(name: str) -> bool:
    return name in fast.NAMES and fast.available()


def seconds(sides: list[Callable[[], Any]], turns: int) -> list[float]:
    """The median time of each side over the turns after the first."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(turns + 1):
        for side, taken in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]


def measure(kind: BlockType, elements: int, turns: int, rows: Callable[[str], Any] | None) -> list[float]:
    data = ordinary(kind, elements)
    blocks, out = kind.blocks(data), np.zeros(elements, np.float32)
    # gguf-py works on 16 rows at a time: rows as long as a model has them, or it is slowed down by the measurement.
    raw = data.reshape(-1, 4096 // kind.elements * kind.block_bytes)
    sides: list[Callable[[], Any]] = [
        by("0", lambda: kind.decode(blocks, out=out)),
        by("0", lambda: kind.decode(blocks)),
        by("1", lambda: kind.decode(blocks, out=out)) if has_kernel(kind.name) else lambda: None,
        (lambda: None) if kind.name in ALONE else lambda: gguf.dequantize(raw, gguf.GGMLQuantizationType[kind.name]),
    ]
    if rows is not None:
        row, where = rows(kind.name), (ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        sides.append(lambda: row(*where, ctypes.c_int64(elements)))
    return seconds(sides, turns)


def extra_megabytes(kind: BlockType, elements: int) -> float:
    """The most memory that decoding takes beside the result that it makes."""
    blocks = kind.blocks(ordinary(kind, elements))
    by("0", lambda: kind.decode(blocks[:1]))()
    tracemalloc.start()
    made = kind.decode(blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak >= made.nbytes
    return (peak - made.nbytes) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=64, help="millions (2^20) of elements")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--types", nargs="+", default=NAMES, metavar="TYPE")
    options = parser.parse_args()
    elements, rows = options.elements << 20, ggml_rows()
    print(f"{options.elements} x 2^20 elements, median of {options.turns} turns; GB of float32 a second")
    ratios = ("x gguf-py", "x ggml", "fast x ggml", "extra MB")
    print(f"{'type':8}" + "".join(f"{title:>12}" for title in (*SIDES, *ratios)))
    for name in options.types:
        taken = measure(TYPES[name], elements, options.turns, rows)
        taken += [math.nan] * (len(SIDES) - len(taken))
        if not has_kernel(name):
            taken[2] = math.nan
        if name in ALONE:
            taken[3] = math.nan
        plain, _, compiled, gguf_py, ggml = taken
        figures = [*(elements * 4 / t / 1e9 for t in taken), gguf_py / plain, ggml / plain, ggml / compiled]
        figures.append(extra_megabytes(TYPES[name], elements))
        line = f"{name:8}" + "".join(f"{figure:12.2f}" for figure in figures)
        print(line.replace("nan", "  -"), flush=True)


if __name__ == "__main__":
    main()
