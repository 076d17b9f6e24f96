"""Every member of the zoo, from a small input: the least that shows it, a script that writes it, a folder that can be replayed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.named import made
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.folder import folder as folders
from rosetta_ref.reduce.folder.expected import load
from rosetta_ref.reduce.folder.replay import FAILED, FIXED, replay
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Found, Oracle
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.shrink import failure_of, shrink
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from tests.support.large import pair_of, smallest
from tests.support.minimal import Minimal, least

#: Files that our own reader refuses are reduced as envelopes, in test_shrink_malformed.
MALFORMED = (
    "truncation-accepted", "shard-taken-for-whole", "shards-by-pattern", "every-file-of-the-folder", "missing-shard-left-out",
)  # fmt: skip
CALLS = 64


#: One of each way in which a reduction goes; the rest by night.
EVERY_RUN = frozenset(
    {"q5_0-interleaved", "first-block-only", "alignment-key-ignored", "big-endian-block-swapped-whole", "stale-shard-wins",
     "shape-not-reversed", "k-permuted-as-q", "tokenizer-dropped"}
)  # fmt: skip
EACH = [
    member.id if member.id in EVERY_RUN else pytest.param(member.id, marks=pytest.mark.slow)
    for member in MEMBERS.values()
    if not member.waiting_for and member.id not in MALFORMED
]


@pytest.mark.parametrize("name", EACH)
def test_the_least_that_shows_it(name: str, tmp_path: Path) -> None:
    member = MEMBERS[name]
    source = smallest(member, tmp_path / "small")
    with Workspace() as work:
        oracle = Oracle(converter(member), pair_of(member, source)[1], work)
        fingerprint, seen = failure_of(oracle, source)
        search = Search(oracle, fingerprint, inputs.read(source), seen)
        shrink(search)
        assert least(name).holds(Minimal.of(search)), Minimal.of(search)
        assert oracle.calls <= CALLS
        assert search.nbytes <= inputs.size_of(source)
        assert {name, *member.alike} & set(fingerprint.cause), fingerprint
        place = folders.write(Found(fingerprint, search.seen, "small"), oracle, tmp_path / fingerprint.name)
    _is_built(place, tmp_path / "built")
    assert replay(place, converter(member)).word == FAILED
    assert replay(place, made(bundled.entry("reference"))).word == FIXED


def _is_built(folder: Path, to: Path) -> None:
    """build.py writes exactly the input, wherever it stands."""
    to.mkdir()
    (to / "build.py").write_bytes((folder / "build.py").read_bytes())
    subprocess.run([sys.executable, "-S", str(to / "build.py")], check=True, cwd=folder.parent)
    files = load(folder).files
    built = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()} - {"build.py"}
    assert built == files.keys()
    for file in files:
        assert (to / file).read_bytes() == (folder / file).read_bytes(), file
