"""A conversion that is killed at any step it takes on the disk leaves the old target or the new one, and the next run is right.

What a step is, and what is right, is said in `tests/support/kill_points.py`, which prints the counts of all of them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from rosetta_ref.convert.publish import journal, steps
from rosetta_ref.convert.publish.place import Place
from tests.support.kill_points import SCENARIOS, Scenario, Workshop, a_few, every, try_scenario

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each kill is that of a forked process")


def kill(workshop: Workshop, scenario: Scenario, quick: Path, choose: object) -> None:
    folder = Path(tempfile.mkdtemp(dir=quick))
    counts = try_scenario(workshop, scenario, folder, choose)  # type: ignore[arg-type]
    print(f"{scenario.name}: {sum(counts.steps.values())} kills, {dict(counts.left)}")
    assert counts.steps, "nothing was killed"
    assert counts.wrong == []


#: Those of every run: each way to get to a place once.
SOME = [
    one
    for one in SCENARIOS
    if one.name
    in (
        "a directory", "a directory, without exchange", "a file with companions and a manifest",
        "an APR file, its manifest elsewhere",
    )
]  # fmt: skip


@pytest.mark.parametrize("scenario", SOME, ids=lambda scenario: scenario.name)
def test_a_few_steps(workshop: Workshop, scenario: Scenario, quick: Path) -> None:
    kill(workshop, scenario, quick, a_few(3))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_step(workshop: Workshop, scenario: Scenario, quick: Path) -> None:
    kill(workshop, scenario, quick, every)


def test_a_mixture_is_seen(workshop: Workshop, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files renamed one after the other, companions first, without a journal: what the old publishing did."""

    def careless(self: Place, names: list[str], old: list[str], manifest: str | None) -> None:
        for name in steps.in_order(names, self.target.name):
            (self.target.parent / name).parent.mkdir(exist_ok=True)
            os.replace(self.tree / name, self.target.parent / name)

    monkeypatch.setattr(Place, "_one_by_one", careless)
    scenario = next(one for one in SCENARIOS if one.name == "a file with companions")
    counts = try_scenario(workshop, scenario, Path(tempfile.mkdtemp(dir=quick)), a_few(8))
    assert [line for line in counts.wrong if "a mixture that is read" in line]


def test_a_run_that_sweeps_nothing_is_seen(workshop: Workshop, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "read", lambda *_: None)
    scenario = next(one for one in SCENARIOS if one.name == "a GGUF file with a manifest")
    counts = try_scenario(workshop, scenario, Path(tempfile.mkdtemp(dir=quick)), a_few(6))
    assert counts.wrong
