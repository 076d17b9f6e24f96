"""Decoding against gguf-py and ggml, one thread: `python benchmarks/decode.py [--elements 16] [--types Q4_K Q6_K] [--markdown]`.

The sides take turns in one process, after a turn that does not count; the figure is the median. Time is what the processor gave
this thread, so that others on the machine matter less. Scales are ordinary numbers: NaN
and subnormals slow NumPy down, and no model has many. gguf-py allocates its result, since it has no way to be given
one; this package is timed both ways, and both ratios are printed: on a virtual machine fresh memory costs as much as the
decoding. `fast` is its way with numba, into `out=`.

`--memory` prints instead what decoding needs beside blocks and result, in a process of its own for each type and side.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
RATIOS = ("x gguf-py", "allocating", "x ggml", "fast x ggml")
#: The README's table: its types, and of each column its title and where it is among those above.
SHORT = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q4_0", "IQ4_XS", "BF16", "F16")
COLUMNS = {"NumPy": 0, "gguf-py": 3, "times": 5, "`fast`": 2, "ggml": 4, "times ": 8}
MEMORY = ("plain", "fast", "gguf-py")


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


def seconds(sides: list[Callable[[], Any]], turns: int, clock: Callable[[], float] = time.thread_time) -> list[float]:
    """The median time of each side over the turns after the first; sides of several threads need the clock on the wall."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(turns + 1):
        for side, taken in zip(sides, times, strict=True):
            start = clock()
            side()
            taken.append(clock() - start)
    return [statistics.median(taken[1:]) for taken in times]


def _rows(kind: BlockType, data: Any) -> Any:
    """As gguf-py is given them. It works on 16 rows at a time: rows as long as a model has, or the measurement slows it down."""
    return data.reshape(-1, 4096 // kind.elements * kind.block_bytes)


def measure(kind: BlockType, elements: int, turns: int, rows: Callable[[str], Any] | None) -> list[float]:
    data = ordinary(kind, elements)
    blocks, out = kind.blocks(data), np.zeros(elements, np.float32)
    raw = _rows(kind, data)
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


def speeds(name: str, elements: int, turns: int, rows: Callable[[str], Any] | None) -> list[float]:
    """GB of float32 a second for each of `SIDES`, then `RATIOS`; NaN for what there is not."""
    taken = measure(TYPES[name], elements, turns, rows)
    taken += [math.nan] * (len(SIDES) - len(taken))
    if not has_kernel(name):
        taken[2] = math.nan
    if name in ALONE:
        taken[3] = math.nan
    plain, allocating, compiled, gguf_py, ggml = taken
    ratios = gguf_py / plain, gguf_py / allocating, ggml / plain, ggml / compiled
    return [*(elements * 4 / t / 1e9 for t in taken), *ratios]


def extra_memory(name: str, elements: int, side: str) -> float:
    """MB at the peak of decoding, over what was there before and the result. For a process of its own; Linux."""
    kind, few = TYPES[name], min(elements, 1 << 20)
    os.environ["ROSETTA_FAST"] = "1" if side == "fast" else "0"
    data = np.tile(ordinary(kind, few), elements // few)
    if side == "fast":
        kind.decode(kind.blocks(data)[:2])  # loads numba
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    if side == "gguf-py":
        result = gguf.dequantize(_rows(kind, data), gguf.GGMLQuantizationType[name])
    else:
        result = kind.decode(kind.blocks(data))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before - result.nbytes) / 1e6


def memory(name: str, elements: int) -> list[float]:
    """`extra_memory` of each of `MEMORY`; NaN for what there is not."""
    figures = []
    for side in MEMORY:
        there = {"plain": True, "fast": has_kernel(name), "gguf-py": name not in ALONE}[side]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            figures.append(alone.submit(extra_memory, name, elements, side).result() if there else math.nan)
    return figures


def line(name: str, figures: list[float], digits: int, markdown: bool) -> str:
    cells = ["-" if math.isnan(figure) else f"{figure:.{digits}f}" for figure in figures]
    return row(name, cells, markdown)


def row(name: str, cells: Sequence[str], markdown: bool) -> str:
    return f"| {' | '.join((name, *cells))} |" if markdown else f"{name:8}" + "".join(f"{cell:>12}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=64, help="millions (2^20) of elements")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--types", nargs="+", metavar="TYPE")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--markdown", action="store_true", help="a table for a document")
    parser.add_argument("--short", action="store_true", help="the README's table")
    options = parser.parse_args()
    elements, rows, markdown = options.elements << 20, ggml_rows(), options.markdown or options.short
    titles = MEMORY if options.memory else tuple(COLUMNS) if options.short else (*SIDES, *RATIOS)
    if not options.short:
        what = "MB beside blocks and result" if options.memory else f"GB/s of float32, median of {options.turns} turns"
        print(f"{options.elements} x 2^20 elements; {what}\n")
    print(row("type", titles, markdown))
    if markdown:
        print("|---" * (len(titles) + 1) + "|")
    for name in options.types or (SHORT if options.short else NAMES):
        figures = memory(name, elements) if options.memory else speeds(name, elements, options.turns, rows)
        if options.short:
            figures = [figures[column] for column in COLUMNS.values()]
        print(line(name, figures, 1 if options.memory else 2, markdown), flush=True)


if __name__ == "__main__":
    main()
