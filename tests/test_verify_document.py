"""docs/verify.md shows the measurements that the limits come from: each limit is at least the figure, and not four times as much."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.verify.limits import FIGURES, limits_for

DOCUMENT = (Path(__file__).parents[1] / "docs" / "verify.md").read_text("utf-8")


def measured() -> dict[str, dict[str, float]]:
    table = DOCUMENT.partition("| type | made as |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    made = {}
    for name, _, *cells in rows:
        numbers = [float(cell.removesuffix("%")) / (100 if cell.endswith("%") else 1) for cell in cells]
        made[name] = dict(zip(FIGURES, numbers, strict=True))
    return made


def test_the_table_is_read() -> None:
    assert len(measured()) == 13


@pytest.mark.parametrize("name", measured())
def test_limits_are_about_twice_what_was_measured(name: str) -> None:
    limits, figures = limits_for(name), measured()[name]
    for figure, value in figures.items():
        loss, allowed = (1 - value, 1 - limits[figure]) if figure == "top1" else (abs(value), limits[figure])
        assert loss <= allowed, figure
        assert allowed <= 4 * loss or figure == "top1", figure
