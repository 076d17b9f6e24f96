"""Which failures of a run get a folder: the worst first, one of each cause, as many as the time of a call allows, the rest named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.named import made
from rosetta_ref.gate.findings import FALSIFIED, Finding, Result
from rosetta_ref.gate.run.engine import Failure
from rosetta_ref.reduce import reproductions
from rosetta_ref.reduce.reproductions import CALLS, FEWEST, MOST, Reproductions
from rosetta_ref.reduce.run import Asked


class Runs:
    """In the place of the search: what it is asked, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fits: bool = True) -> None:
        self.asked: list[Asked] = []
        self.fits = fits
        self.spends: tuple[Reproductions, float] | None = None
        monkeypatch.setattr(reproductions, "run", self)

    def __call__(self, converter: Any, asked: Asked) -> Any:
        self.asked.append(asked)
        if self.spends is not None:
            self.spends[0].left -= asked.budget.calls * self.spends[1]
        cause = () if self.fits else ("another",)
        return SimpleNamespace(
            folder=Path(f"folder-{len(self.asked)}"), found=SimpleNamespace(fingerprint=SimpleNamespace(cause=cause))
        )

    @property
    def kinds(self) -> list[str | None]:
        return [asked.wanted.kind for asked in self.asked]


def failure(folder: Path, kind: str, *, count: int = 1, size: int = 10, seconds: float = 0.0, type: str = "F32",  # noqa: A002
            pair: str = "G-S", diagnosis: str | None = None) -> Failure:  # fmt: skip
    source = folder / f"{len([*folder.iterdir()])}.gguf"
    source.write_bytes(b"x" * size)
    found = Finding(kind, "F-CONV-003", "", "a.weight", type, type, count)
    result = Result(f"F-CONV-003/{source.stem}", "F-CONV-003", FALSIFIED, findings=[found])
    result.seconds, result.diagnosis = seconds, diagnosis
    return Failure(pair, source, None, None, [result])


def all_of(folder: Path) -> Reproductions:
    return Reproductions(made(bundled.entry("reference")), folder / "out")


def test_the_worst_first_and_of_those_the_largest_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    given = [
        failure(tmp_path, "lossy-unasked", count=9000, size=1),
        failure(tmp_path, "key-lost", size=2),
        failure(tmp_path, "values", count=5, size=3),
        failure(tmp_path, "rows-permuted", count=700, size=500),
        failure(tmp_path, "unreadable", size=1),
    ]
    all_of(tmp_path)(given)
    assert runs.kinds == ["rows-permuted", "values", "unreadable", "key-lost", "lossy-unasked"]


def test_a_cause_has_one_folder_and_it_is_the_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    same = [
        failure(tmp_path, "values", size=50, diagnosis="stale"), failure(tmp_path, "nan", size=20, pair="G-A", diagnosis="stale"),
        failure(tmp_path, "values", size=30, type="F16", diagnosis="stale"),
    ]  # fmt: skip
    unknown = [failure(tmp_path, "values", type=kind, pair=pair) for kind in ("F32", "F16") for pair in ("G-S", "G-A")]
    done = all_of(tmp_path)
    monkeypatch.setattr(reproductions.Look, "fits", lambda look, found: True)
    done([*same, *unknown])
    assert len(runs.asked) == 3
    assert sum(asked.model == same[1].source for asked in runs.asked) == 1
    folders = {one.results[0].reproduction for one in same}
    assert len(folders) == 1
    assert None not in folders
    assert len({one.results[0].reproduction for one in unknown}) == 2
    assert done.notes == []


@pytest.mark.parametrize(
    ("seconds", "calls", "folders"),
    [(0.01, CALLS, MOST), (0.3, 11, MOST), (1.0, None, 3), (3.0, None, 1), (30.0, None, 0)],
)
def test_the_budget_goes_by_the_time_of_a_call(
    seconds: float, calls: int | None, folders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(monkeypatch)
    kinds = ["values", "lost", "nan", "shape", "label", "size", "transposed", "type", "twice", "invented"]
    done = all_of(tmp_path)
    runs.spends = done, seconds
    done([failure(tmp_path, kind, seconds=seconds) for kind in kinds])
    assert len(runs.asked) == min(folders, MOST)
    if calls is not None:
        assert runs.asked[0].budget.calls == calls
    assert all(FEWEST <= asked.budget.calls <= CALLS for asked in runs.asked)
    if folders:
        assert runs.asked[0].budget.calls * seconds <= 30
    (said,) = done.notes
    assert said.startswith(f"no reproduction of {len(kinds) - len(runs.asked)} causes, since ")
    assert ("8 folders are enough" in said) == (folders == MOST)


def test_what_is_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    done = all_of(tmp_path)
    runs.spends = done, 3.0
    done([failure(tmp_path, kind, seconds=3.0) for kind in ("lossy-unasked", "values")])
    assert done.notes == ["no reproduction of 1 cause, since they would take more than 30 s: lossy-unasked F32"]
