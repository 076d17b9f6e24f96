"""Bad verifiers: each lets the member through that its record names, and a comparison that counts does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.archive import Archive
from rosetta_ref.compare import compare
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.inputs import smallest
from rosetta_ref.zoo.member import is_model
from rosetta_ref.zoo.trial.canary import CANARY
from rosetta_ref.zoo.trial.verifiers import VERIFIERS, Verifier

LETTING = [verifier for verifier in VERIFIERS.values() if verifier.lets_through is not None]
SUFFIXES = {"G": ".gguf", "A": ".apr", "S": ".safetensors"}


def outputs(member_id: str, folder: Path) -> tuple[Archive, Archive, Archive]:
    """The source of a member's smallest input, the right output and the wrong one."""
    member, source = MEMBERS[member_id], smallest(member_id, folder)
    suffix = "" if member.pairs[0][-1] == "S" and is_model(source) else SUFFIXES[member.pairs[0][-1]]
    for name, wrong in (("right", False), ("wrong", True)):
        member.convert(source, folder / f"{name}{suffix}", wrong=wrong)
    return open_archive(source), open_archive(folder / f"right{suffix}"), open_archive(folder / f"wrong{suffix}")


@pytest.mark.parametrize("verifier", LETTING, ids=lambda verifier: verifier.id)
def test_it_lets_its_member_through(verifier: Verifier, tmp_path: Path) -> None:
    source, right, wrong = outputs(verifier.lets_through, tmp_path)
    expected = source if verifier.id == "same-flaw-on-both-sides" else right
    assert verifier.corroborates(expected, wrong)
    assert compare(right, wrong).differences
    for archive in (source, right, wrong):
        archive.close()


#: Members that a verifier sees: it is bad at one thing, not at all.
SEEN = {
    "nothing-compared-all-match": "q5_0-interleaved",
    "statistics-only": "q5_0-interleaved",
    "shape-only": "shape-not-reversed",
    "bare-inf-in-json": "q5_0-interleaved",
}


@pytest.mark.parametrize("verifier_id", SEEN)
def test_it_sees_others(verifier_id: str, tmp_path: Path) -> None:
    source, right, wrong = outputs(SEEN[verifier_id], tmp_path)
    assert VERIFIERS[verifier_id].corroborates(right, right)
    assert not VERIFIERS[verifier_id].corroborates(right, wrong)
    for archive in (source, right, wrong):
        archive.close()


def test_the_same_flaw_calls_the_right_output_wrong(tmp_path: Path) -> None:
    source, right, _ = outputs("q4_0-packs-neighbours", tmp_path)
    assert not VERIFIERS["same-flaw-on-both-sides"].corroborates(source, right)


def test_wolf_is_cried_over_zeros(tmp_path: Path) -> None:
    CANARY.convert(CANARY.hidden_by(tmp_path), tmp_path / "zeros.apr", wrong=False)
    with open_archive(tmp_path / "zeros.apr") as zeros, open_archive(tmp_path / "source.gguf") as source:
        assert source.tensors
        assert not VERIFIERS["cries-wolf"].corroborates(source, zeros)
    CANARY.convert(CANARY.shown_by(tmp_path), tmp_path / "numbers.apr", wrong=False)
    with open_archive(tmp_path / "numbers.apr") as numbers, open_archive(tmp_path / "source.gguf") as source:
        assert VERIFIERS["cries-wolf"].corroborates(source, numbers)


def test_every_bad_verifier_is_here() -> None:
    assert len(VERIFIERS) == 8
    assert {verifier.lets_through for verifier in LETTING} <= MEMBERS.keys()
    assert [verifier.id for verifier in VERIFIERS.values() if verifier.lets_through is None] == ["cries-wolf"]


@pytest.mark.parametrize("suffix", ["apr", "safetensors"])
def test_the_canary_swaps_two_bytes(suffix: str, tmp_path: Path) -> None:
    source = CANARY.shown_by(tmp_path)
    outs = tmp_path / f"right.{suffix}", tmp_path / f"wrong.{suffix}"
    for out, wrong in zip(outs, (False, True), strict=True):
        CANARY.convert(source, out, wrong=wrong)
    with open_archive(outs[0]) as right, open_archive(outs[1]) as wrong_:
        (a,), (b,) = right.tensors.values(), wrong_.tensors.values()
        assert sorted(a.data.tolist()) == sorted(b.data.tolist())
        assert int((a.data != b.data).sum()) == 2
    assert "canary" not in MEMBERS
