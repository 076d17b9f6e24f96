"""Files that cannot be judged: a source that should have been refused, an output that nobody can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rosetta_ref.diagnosis.cause import NOT_KNOWN, Diagnosis, cause_of
from rosetta_ref.diagnosis.replay import Job, Replay, complaint, replays
from rosetta_ref.formats.detect import format_of_target, sniff
from rosetta_ref.gate.judge.view import UnreadableError, View, look
from rosetta_ref.zoo import Member


def unreadable(source: Path, output: Path, zoo: Sequence[Member], folder: Path) -> list[Diagnosis]:
    """The members that do the same, where source or output cannot be read."""
    job = Job(source, sniff(source), format_of_target(output) if not output.is_dir() else "safetensors")
    try:
        view, why = look(output), ""
    except UnreadableError as error:
        view, why = None, complaint(error)
    with replays(zoo, job, None, folder) as made:
        same = [replay.member for replay in made if _same_whole(replay, view, why)]
    if view is not None:
        view.close()
    names = tuple(view.tensors) if view is not None else ()
    facts = (why,) if why else ()
    if not same:
        return [Diagnosis(names, (NOT_KNOWN,), facts)]
    same.sort(key=lambda member: member.ours)
    return [Diagnosis(names, (cause_of(same[0], tuple(member.id for member in same[1:])),), facts)]


def _same_whole(replay: Replay, view: View | None, why: str) -> bool:
    if view is None or replay.view is None:
        return view is replay.view and replay.unreadable == why
    names = view.tensors.keys()
    return bool(names) and names == replay.view.tensors.keys() and all(replay.same(view, name) for name in names)
