"""docs/types.md says what the layouts say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.quant import TYPES
from rosetta_ref.quant.document import diagram, document

ROOT = Path(__file__).parents[1]


def test_the_document_is_current() -> None:
    assert (ROOT / "docs" / "types.md").read_text("utf-8") == document()


def test_the_readme_leads_to_it() -> None:
    assert "(docs/types.md)" in (ROOT / "README.md").read_text("utf-8")


def test_no_type_is_forgotten() -> None:
    text = document()
    for name, kind in TYPES.items():
        assert text.count(f"\n| {name} | {'-' if kind.id is None else kind.id} | ") == 1
        assert (f"\n### {name}\n" in text) == (not kind.is_scalar)


def test_what_is_said_of_some_types() -> None:
    """Read off ggml's own structs, not off the layouts."""
    text = document()
    assert "| Q4_K | 12 | 256 | 144 | 4.5 | yes | " in text
    assert "| Q6_K | 14 | 256 | 210 | 6.5625 | yes | " in text
    assert "| IQ2_XXS | 16 | 256 | 66 | 2.0625 | yes | libggml | - | [grid]" in text
    assert "| F4 | - | 2 | 1 | 4 | - | - | " in text
    assert "| AprQ8 | - | all n | 4 + n | 8 + 32/n | yes | yes | 1.70141e+38 | [aprender]" in text
    assert diagram(TYPES["Q3_K"]).splitlines() == [
        "0         32        96        108   110",
        "+---------+---------+---------+-----+",
        "| hmask   | qs      | scales  | d   |",
        "| 32 x u8 | 64 x u8 | 12 x u8 | f16 |",
        "+---------+---------+---------+-----+",
    ]


@pytest.mark.parametrize("name", [name for name, kind in TYPES.items() if kind.elements > 1])
def test_links_lead_to_files(name: str) -> None:
    line = next(line for line in document().splitlines() if line.startswith(f"| {name} |"))
    _, link, target = line.partition("](")
    assert not link or (ROOT / "docs" / target.split(")")[0]).is_file()
