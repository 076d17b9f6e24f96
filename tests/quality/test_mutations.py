"""Does the suite see a mistake in a codec? Each mutation of `mutations` must turn a property and, separately, a differential test red."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.quant import BY_ID, TYPES
from tests.quality.breaking import killer, mutated
from tests.quality.mutations import ALONE, MUTATIONS, Mutation

CASES = [(name, mutation) for mutation in MUTATIONS for name in mutation.types.split()]
SIDES = ("properties", "differential")
PLAIN_NUMBERS = ("F32", "F64", "I8", "I16", "I32", "I64")


@pytest.fixture(autouse=True)
def numpy_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_FAST", "0")


@pytest.mark.parametrize(
    # Every fifth one, and all by night.
    ("name", "mutation"),
    [pytest.param(*case, marks=[] if i % 5 == 0 else pytest.mark.slow) for i, case in enumerate(CASES)],
    ids=[f"{name}-{mutation.way}-{mutation.what}" for name, mutation in CASES],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_mistake_is_seen(name: str, mutation: Mutation, tmp_path: Path, record_property) -> None:
    lost, _, why = mutation.lost.partition(": ")
    seen = {side: f"none, {why}" if side == lost else killer(mutation, name, side, tmp_path) for side in SIDES}
    line = f"{name}, {mutation.way}, {mutation.place}, {mutation.what}: " + "; ".join(
        f"{k}: {v}" for k, v in seen.items()
    )
    record_property("mutation", line)
    print(line)
    survived = [side for side in SIDES if seen[side] is None]
    assert not survived, (
        f"{name}: nobody among the {', '.join(survived)} tests sees {mutation.new!r} for {mutation.old!r}"
    )


def test_every_codec_is_broken_enough() -> None:
    """Each type of ggml and of APR with a codec: at least three mutations of its decoder, and three of its encoder, that both sides see.

    Of plain numbers only the properties judge, and their codecs are two lines that all share: two mutations each way.
    """
    judged = Counter((name, mutation.way) for name, mutation in CASES if not mutation.lost)
    alone = Counter((name, mutation.way) for name, mutation in CASES if mutation.lost == ALONE)
    for name in (*(kind.name for kind in BY_ID.values()), "AprQ4", "AprQ8"):
        ways = [way for way in ("decode", "encode") if getattr(TYPES[name], way)]
        least, counted = (1, alone) if name in PLAIN_NUMBERS else (3, judged)
        counts = {way: counted[name, way] for way in ways}
        print(f"{name}: " + ", ".join(f"{way} {count}" for way, count in counts.items()))
        assert all(count >= least for count in counts.values()), (name, counts)


def test_a_table_out_of_date_is_an_error() -> None:
    """A fragment that is not there, or twice; a place that is not there."""
    good = MUTATIONS[0]
    mutated(good)
    for bad in ({"old": "nowhere"}, {"old": "o"}, {"place": "scalars:nothing"}, {"new": good.old}):
        with pytest.raises(LookupError):
            mutated(replace(good, **bad))
