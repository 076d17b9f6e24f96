"""What runs every time, and what by night (`pytest -m slow`): repetitions of one question, of which each run asks a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def part(values: Iterable[Any], every: int = 2) -> list[Any]:
    """Each so-many-th value in every run, the others by night."""
    return [value if i % every == 0 else pytest.param(value, marks=pytest.mark.slow) for i, value in enumerate(values)]


def named(values: Iterable[str], always: Iterable[str]) -> list[Any]:
    """Those that are named in every run, the others by night. A name that is none of the values is an error."""
    values, always = list(values), set(always)
    assert always <= set(values), always - set(values)
    return [value if value in always else pytest.param(value, marks=pytest.mark.slow) for value in values]


def chessboard(rows: Sequence[str], columns: Sequence[str]) -> list[Any]:
    """Pairs: in every run the black squares, so that each row and each column is asked; the white ones by night."""
    return [
        pytest.param(row, column, marks=[] if (i + j) % 2 == 0 else pytest.mark.slow)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
