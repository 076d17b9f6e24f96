"""Correct converters that do it otherwise than the reference: the gate has nothing to say against any of them.

A thin slice of each in every run, the whole gate on ten seeds with `-m slow`.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.entry import Converter, Entry
from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Result
from rosetta_ref.gate.run.engine import run, samples_for
from tests.quality import correct

FOLDER = Path(correct.__path__[0])
NAMES = sorted(each.name for each in pkgutil.iter_modules([str(FOLDER)]) if not each.name.startswith("_"))


def converter_of(name: str) -> tuple[ModuleType, Converter]:
    """A converter as the gate has it. Its libraries are looked for first, since without them it cannot be imported."""
    for library in _needs(name):
        pytest.importorskip(library)
    module = importlib.import_module(f"tests.quality.correct.{name}")
    return module, named.made(Entry(name, function=f"tests.quality.correct.{name}:convert", **module.ENTRY))


def _needs(name: str) -> tuple[str, ...]:
    """The libraries that a module names in `NEEDS`, read without importing it."""
    for statement in ast.parse((FOLDER / f"{name}.py").read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "NEEDS":
            return tuple(ast.literal_eval(statement.value))
    raise AssertionError(f"{name} has no NEEDS")


def objections(results: Iterable[Result]) -> list[str]:
    """What is neither right nor skipped: with a correct converter, each one is a false alarm."""
    return [
        f"{each.case}: {each.outcome}: {each.reason} {'; '.join(f'{one.kind}: {one.detail}' for one in each.findings)}"
        for each in results
        if each.outcome not in (CORROBORATED, SKIPPED)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_correct_converter_passes(name: str) -> None:
    module, converter = converter_of(name)
    results = run(converter, only=module.CASES)
    assert objections(results) == []
    right = [each.case for each in results if each.outcome == CORROBORATED]
    for pattern in module.CASES:
        assert any(fnmatch(case, pattern) for case in right), f"{pattern}: no case of it was judged"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_correct_converter_passes_the_whole_gate_on_ten_seeds(name: str) -> None:
    _, converter = converter_of(name)
    for seed in range(10):
        results = run(converter, seed=seed, samples=samples_for(converter.entry, seed), jobs=os.cpu_count())
        assert objections(results) == [], f"seed {seed}"
        assert any(each.outcome == CORROBORATED for each in results)
