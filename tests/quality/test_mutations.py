"""Does the suite see a mistake in a codec? Each mutation of `mutations` must turn a property and, separately, a differential test red."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rosetta_ref.quant import BY_ID, TYPES
from tests.quality.breaking import killer, mutated
from tests.quality.mutations import MUTATIONS, Mutation

CASES = [(name, mutation) for mutation in MUTATIONS for name in mutation.types.split()]
SIDES = ("properties", "differential")


@pytest.fixture(autouse=True)
def numpy_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_FAST", "0")


@pytest.mark.parametrize(
    ("name", "mutation"), CASES, ids=[f"{name}-{mutation.way}-{mutation.what}" for name, mutation in CASES]
)
def test_a_mistake_is_seen(name: str, mutation: Mutation, tmp_path: Path, record_property) -> None:
    dead = {side: killer(mutation, name, side, tmp_path) for side in SIDES}
    print(f"{name}, {mutation.way}: {mutation.what}: {dead}")
    assert all(dead.values())
