"""What rounding alone loses, by sample and type: measured with NumPy's `astype` and ggml's own quantiser, and stored.

`benchmarks/rounding.py` writes the table; nothing of `rosetta_ref.quant` has a part in it. `answers` are the figures of `verify`
(`FIGURES`, in this order), the worst of so many seeds; `blocks` how far a block may be off: the root of the mean square of its
errors over that of its numbers, and its largest error over their largest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

#: How many times what ggml's quantiser loses of the worst block is tolerated of any other quantiser's.
TOLERATED = 2.0
#: At most so much of a block may be lost in any type: who writes zeros loses all of it.
MOST = 0.97
#: How many times what a sample lost at its worst seed another seed, or another right quantiser, may lose.
MARGIN = 4.0
#: The figures of `answers`, in this order, and the least that each is taken to be: a best token more or less says nothing.
FIGURES = ("mean_kl", "kl_p99", "top1", "logit", "perplexity")
LEAST = {"top1": 0.01, "perplexity": 1e-3}
#: Types with the blocks of another one.
_ALIKE = {"AprQ4": "Q4_0"}
FILE = Path(__file__).with_name("rounding.json")
#: By sample and type, or by type.
Answers = Mapping[str, Mapping[str, list[float]]]
Blocks = Mapping[str, list[float]]


def text(versions: Mapping[str, str], seeds: int, samples: Mapping[str, str], answers: Answers, blocks: Blocks) -> str:
    """The file, a line for each type, with four digits; `samples` are the digests of those that were measured."""

    def rows(table: Blocks, indent: str) -> str:
        lines = (f"{indent}{json.dumps(kind)}: {[float(f'{x:.4g}') for x in row]}" for kind, row in table.items())
        return ",\n".join(lines)

    rows_of = ",\n".join(f"  {json.dumps(name)}: {{\n{rows(row, '   ')}\n  }}" for name, row in answers.items())
    head = f'{{\n "versions": {json.dumps(dict(versions))},\n "seeds": {seeds},\n "samples": {json.dumps(dict(samples))},\n'
    return f'{head} "answers": {{\n{rows_of}\n }},\n "blocks": {{\n{rows(blocks, "  ")}\n }}\n}}\n'


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """What is stored."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def answers(sample: str, kind: str) -> dict[str, float] | None:
    """How far the answers of a sample may be off that is rounded to a type, by figure: at most so much, but for top1, at least.

    None where nobody measured it.
    """
    row = table()["answers"].get(sample, {}).get(_ALIKE.get(kind, kind))
    return None if row is None else _limits([row])


def worst_answers(kind: str) -> dict[str, float] | None:
    """The same for the sample that loses most by that type."""
    rows = [row[kind] for row in table()["answers"].values() if kind in row]
    return _limits(rows) if rows else None


def _limits(rows: Sequence[Sequence[float]]) -> dict[str, float]:
    limits = {}
    for name, figures in zip(FIGURES, zip(*rows, strict=True), strict=True):
        lost = 1 - min(figures) if name == "top1" else max(figures)
        lost = MARGIN * max(lost, LEAST.get(name, 0.0))
        limits[name] = 1 - lost if name == "top1" else lost
    return limits


def tolerance(kind: str) -> tuple[float, float] | None:
    """How far any block of a type may be off; None for a type that nobody measured.

    The root of the mean square of its errors over that of its numbers, and its largest error over their largest.
    """
    row = table()["blocks"].get(_ALIKE.get(kind, kind))
    return None if row is None else (min(TOLERATED * row[0], MOST), TOLERATED * row[1])
