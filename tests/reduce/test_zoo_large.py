"""Every member of the zoo, from a file of about 100 MB: of SmolLM2 where that shows the bug, else a generated one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.named import made
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.folder.replay import FAILED, FIXED, replay
from rosetta_ref.reduce.passes.malformed import Malformed, is_malformed, shrink_malformed
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Oracle
from rosetta_ref.reduce.search.failure import Fingerprint
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.shrink import failure_of, shrink
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.adapter import converter
from tests.support.large import large, pair_of, smallest
from tests.support.minimal import Minimal, least

pytestmark = pytest.mark.real
CALLS = 64


def shown(member: Member, folder: Path) -> tuple[str, Path]:
    """The first large input that shows the bug: a refusal, or nothing wrong, shows none."""
    small = smallest(member, folder / "small")
    for word, path in large(member, small, folder):
        with Workspace(folder) as work:
            seen = Oracle(converter(member), pair_of(member, small)[1], work).look(path)
        if seen.findings and seen.target is not None:
            assert inputs.size_of(path) > 40_000_000
            return word, path
    raise AssertionError("no large input shows it")


def named(fingerprint: Fingerprint, member: Member) -> bool:
    """By its own name, or by that of one which does the very same."""
    return bool({member.id, *member.alike} & set(fingerprint.cause))


#: Members that take directories which no reader takes: the reducer has no lies about directories.
DIRECTORIES = ("shards-by-pattern", "every-file-of-the-folder", "missing-shard-left-out")


@pytest.mark.parametrize(
    "name", [member.id for member in MEMBERS.values() if not member.waiting_for and member.id not in DIRECTORIES]
)
def test_the_least_that_shows_it(name: str, tmp_path: Path) -> None:
    member = MEMBERS[name]
    word, path = shown(member, tmp_path)
    target = pair_of(member, path)[1]
    with Workspace(tmp_path) as work:
        oracle = Oracle(converter(member), target, work)
        fingerprint, seen = failure_of(oracle, path)
        if is_malformed(fingerprint):
            broken = Malformed.of(oracle, fingerprint, seen)
            shrink_malformed(broken)
            assert len(broken.best.tensors) == 1
            assert not broken.best.metadata
            assert len(broken.best.lies) == 1
        else:
            search = Search(oracle, fingerprint, inputs.read(path), seen)
            shrink(search)
            assert least(name, word).holds(Minimal.of(search)), Minimal.of(search)
            assert named(search.fingerprint, member), search.fingerprint
        assert oracle.calls <= CALLS


def test_from_end_to_end(tmp_path: Path) -> None:
    member = MEMBERS["k-scales-bit-stream"]
    _, path = shown(member, tmp_path)
    found = run(converter(member), Asked(path, "safetensors", output=tmp_path / "out"))
    assert found.after == 256
    assert replay(found.folder, converter(member)).word == FAILED
    assert replay(found.folder, made(bundled.entry("reference"))).word == FIXED
