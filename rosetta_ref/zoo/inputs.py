"""Inputs by the id of a member: the smallest that shows its bug, and one that hides it."""

from __future__ import annotations

from pathlib import Path

from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.member import Make, WaitingError


def smallest(member_id: str, folder: Path) -> Path:
    """Make the smallest input that shows the bug below a folder. Raises WaitingError, and KeyError for an unknown member."""
    return _made(MEMBERS[member_id].shown_by, member_id, folder)


def blind(member_id: str, folder: Path) -> Path | None:
    """Make an input on which the member and the reference write the same below a folder; None where there is none."""
    member = MEMBERS[member_id]
    return (
        None if member.hidden_by is None and member.waiting_for is None else _made(member.hidden_by, member_id, folder)
    )


def _made(make: Make | None, member_id: str, folder: Path) -> Path:
    if make is None:
        raise WaitingError(f"{member_id} waits for {MEMBERS[member_id].waiting_for}")
    folder.mkdir(parents=True, exist_ok=True)
    return make(folder)
