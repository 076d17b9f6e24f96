"""Chains of conversions: what may stand at the end is what their legs may do, one after the other.

A leg that rounds, decodes, or drops what its target has no place for is right by its own rule, and then the end is not the start
again. So each leg is judged from the files in between, whose types are read from them; and the end against the start, in all that
no leg may change: names, shapes, which tensors there are, every tensor that no leg has rounded, and the words that arrive. Who
claims `lossless` has to give back everything, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.judge import mapping, values
from rosetta_ref.gate.judge.cache import Judgements
from rosetta_ref.gate.judge.metadata import NO_PLACE, compare_keys, judge_metadata
from rosetta_ref.gate.judge.question import Leg
from rosetta_ref.gate.judge.shift import SHIFTED
from rosetta_ref.gate.judge.tensors import Judged, gate_of
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.kinds import About, named
from rosetta_ref.gate.pairs import letters

#: What a leg does to a tensor without changing one number. All else that is right, or that an entry does not promise, rounds.
_EXACT = frozenset(
    {values.CARRIED, values.WIDENED, values.DECODED, values.REPACKED, values.EXACTLY, "tied", "from the configuration"}
)
#: Kinds of findings that say "other numbers", which is what rounding makes.
OF_NUMBERS = named(About.NUMBERS)


@dataclass(frozen=True)
class Chain:
    """A walk from a file to another one. Raises UnreadableError for a file on the way that nobody can read."""

    legs: Sequence[Leg]
    judgements: Judgements

    @property
    def lossless(self) -> bool:
        """Whether everything has to come back."""
        return self.judgements.entry.lossless

    def rounded(self) -> dict[str, str]:
        """Tensors whose numbers changed on the way, as they may, with what was done to them; none that some leg got wrong."""
        found: dict[str, str] = {}
        exact = _EXACT | {SHIFTED} if self.lossless else _EXACT  # what a sum rounds away can be kept beside it
        for leg in self.legs:
            done = self._of(leg).by_tensor
            found |= {name: how for name, how in done.items() if how not in exact}
        wrong = {finding.tensor for finding in self.wrong()}
        return {name: how for name, how in found.items() if name not in wrong}

    def wrong(self) -> Iterator[Finding]:
        """Tensors that a leg gets wrong, leg by leg. What they are called, and which there are, is asked at the end."""
        for leg in self.legs:
            gate = gate_of(*leg.steps)
            yield from (replace(each, leg=letters(leg.steps)) for each in self._of(leg).findings if each.gate == gate)

    def metadata(self) -> list[Finding]:
        """What is wrong with configuration and tokenizer at the end."""
        start, end = self.legs[0].source, self.legs[-1].target
        with look(start) as source, look(end) as target:
            if self.lossless and source.format == target.format:
                return [self._placed(finding) for finding in compare_keys(source, target).findings]
            found = [self._placed(finding) for finding in judge_metadata(source, target).findings]
        return [each for each in found if self.lossless or each.leg or not self._had_no_place(each)]

    def _had_no_place(self, finding: Finding) -> bool:
        """Whether a fact that no leg has lost or changed had no place in a format on the way, or was made up again behind it."""
        by_name = finding.detail.partition(": ")[0] in NO_PLACE and self._through_a_directory
        return finding.kind.endswith("-lost") or by_name

    @property
    def _through_a_directory(self) -> bool:
        return any(of(leg.steps[1]).has_companions for leg in self.legs[:-1])

    def ends(self, gate: str) -> Judged:
        """The tensors of the end against those of the start, and what the legs have found."""
        start, end = self.legs[0].source, self.legs[-1].target
        with look(start) as source, look(end) as target:
            judged = self.judgements.of(source, target, gate=gate)
            if self.lossless and source.format == target.format:
                judged.findings += retyped(judged, gate)
        excuse(judged, self.rounded())
        if self._through_a_directory and not self.lossless:  # `metadata` looks at what was computed anew, to some ulps
            excuse(judged, dict.fromkeys(mapping.FROM_CONFIGURATION, "from the configuration"))
        wrong = list(self.wrong())
        told = {finding.tensor for finding in wrong}
        judged.findings = wrong + [self._placed(each) for each in judged.findings if each.tensor not in told]
        return judged

    def _of(self, leg: Leg) -> Judged:
        return self.judgements.tensors(leg.source, leg.target)

    def _placed(self, finding: Finding) -> Finding:
        """With the first leg that shows the same; a number that is lost has another name in each format."""
        for leg in self.legs:
            if finding.tensor is not None:
                same = (finding.kind, finding.tensor) in {(each.kind, each.tensor) for each in self._of(leg).findings}
            else:
                found = self.judgements.metadata(leg.source, leg.target).findings
                details = {each.detail for each in found if each.kind == finding.kind}
                same = finding.detail in details or (finding.kind == "number-lost" and bool(details))
            if same:
                return replace(finding, leg=letters(leg.steps))
        return finding


def excuse(judged: Judged, rounded: dict[str, str]) -> None:
    """Take it that tensors which were rounded on the way have other numbers, and say what was done to them."""
    excused = [each for each in judged.findings if each.tensor in rounded and each.kind in OF_NUMBERS]
    for name in {str(finding.tensor) for finding in excused}:
        judged.done[rounded[name]] += 1
    judged.findings = [finding for finding in judged.findings if finding not in excused]


def retyped(judged: Judged, gate: str) -> Iterator[Finding]:
    """Tensors that came back as another type: bit for bit is more than the same numbers."""
    for name, (before, after) in judged.types.items():
        if before != after and not judged.of(name):
            yield Finding("type", gate, f"it came back as {after}", name, before, after)
