"""What was judged of conversions, kept while the cases that ask for it come one after the other."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.judge.facts import Asked
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.tensors import Judged, judge
from rosetta_ref.gate.judge.view import View, look

_JUDGE, _JUDGE_METADATA = judge, judge_metadata


def are_replaced() -> bool:
    """Whether another judge stands in the place of ours, as the zoo puts bad ones there: those are in this process alone."""
    return judge is not _JUDGE or judge_metadata is not _JUDGE_METADATA


def both(source: View, target: View) -> tuple[Judged, Asked]:
    """Tensors and metadata of files that are open, by the judges that are in place."""
    return judge(source, target), judge_metadata(source, target)


#: The conversions of one model, with all its chains, are fewer.
_KEPT = 64


class Judgements:
    """The judge, told what an entry claims.

    `tensors(source, target)` and `metadata(source, target)` take the paths of one conversion, and judge it once; `asked=` is the
    type that a quantiser was asked for. All raise UnreadableError.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.tensors = lru_cache(_KEPT)(self._tensors)
        self.metadata = lru_cache(_KEPT)(self._metadata)

    def of(self, source: View, target: View, *, gate: str | None = None, asked: str | None = None) -> Judged:
        """The tensors of files that are open; nothing is kept."""
        entry = self.entry
        return judge(source, target, gate=gate, lossless=entry.lossless, asked=asked, loses=entry.loses)

    def _tensors(self, source: Path, target: Path, *, asked: str | None = None) -> Judged:
        with look(source) as one, look(target) as other:
            return self.of(one, other, asked=asked)

    @staticmethod
    def _metadata(source: Path, target: Path) -> Asked:
        with look(source) as one, look(target) as other:
            return judge_metadata(one, other)
