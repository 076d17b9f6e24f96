"""What rounding alone loses, by sample and type: measured by NumPy's `astype` and ggml's own quantiser, and stored.

`benchmarks/rounding.py` writes the table; nothing of `rosetta_ref.quant` has a part in it. `answers` are the figures of `verify`
(`FIGURES`, in this order), the worst of so many seeds; `blocks` how far a block may be off: the root of the mean square of its
errors over that of its numbers, and its largest error over their largest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

#: How many times what ggml's quantiser loses of the worst block is tolerated of any other quantiser's.
TOLERATED = 2.0
#: At most so much of a block may be lost in any type: who writes zeros loses all of it.
MOST = 0.97
#: Types with the blocks of another one.
_ALIKE = {"AprQ4": "Q4_0"}
FILE = Path(__file__).with_name("rounding.json")
#: By sample and type, or by type.
Answers = Mapping[str, Mapping[str, list[float]]]
Blocks = Mapping[str, list[float]]


def text(versions: Mapping[str, str], seeds: int, answers: Answers, blocks: Blocks) -> str:
    """The file, a line for each type, with four digits."""

    def rows(table: Blocks, indent: str) -> str:
        lines = (f"{indent}{json.dumps(kind)}: {[float(f'{x:.4g}') for x in row]}" for kind, row in table.items())
        return ",\n".join(lines)

    samples = ",\n".join(f'  {json.dumps(name)}: {{\n{rows(row, "   ")}\n  }}' for name, row in answers.items())
    head = f'{{\n "versions": {json.dumps(dict(versions))},\n "seeds": {seeds},\n'
    return f'{head} "answers": {{\n{samples}\n }},\n "blocks": {{\n{rows(blocks, "  ")}\n }}\n}}\n'


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """What is stored."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def tolerance(kind: str) -> tuple[float, float] | None:
    """How far any block of a type may be off: the root of the mean square of its errors over that of its numbers, and its largest
    error over their largest. None for a type that nobody measured."""
    row = table()["blocks"].get(_ALIKE.get(kind, kind))
    return None if row is None else (min(TOLERATED * row[0], MOST), TOLERATED * row[1])
