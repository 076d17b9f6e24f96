"""A folder once more: it is fixed, the same failure, another one, or nothing that can be judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rosetta_ref import evidence
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.gate.judge.chains import OF_NUMBERS
from rosetta_ref.gate.kinds import About, named
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.folder.expected import Expected, copy, load, wrong
from rosetta_ref.reduce.folder.output import keep_output
from rosetta_ref.reduce.search.candidate import Oracle, Seen, same_failure

FIXED, FAILED, DIFFERENTLY, ERROR = "FIXED", "FAILED", "FAILED DIFFERENTLY", "ERROR"
EXIT = {FIXED: 0, FAILED: 1, DIFFERENTLY: 1, ERROR: 2}
#: Findings about a run that gave nothing to compare.
_NOTHING = named(About.RUN)


@dataclass(frozen=True)
class Replayed:
    """What a replay says, and why."""

    word: str
    detail: str
    expected: Expected
    seen: Seen

    @property
    def exit_code(self) -> int:
        """0 fixed, 1 failed, 2 where nothing was compared."""
        return EXIT[self.word]


def replay(
    folder: Path, converter: Converter, *, keep: Path | None = None, safetensors_as: str | None = None
) -> Replayed:
    """Convert a folder's input and hold the result against the failure that it is about; `keep` gets the output.

    `safetensors_as` asks for another form of SafeTensors than the folder says.

    Raises FolderError, NotAFileError and its kin, LimitExceededError, and OSError.
    """
    expected = load(folder)
    with Workspace() as work:
        # A copy: a converter may write beside its input, and the folder is somebody's test.
        source = copy(folder, expected, work.path / "given")
        told, gate = _told(converter, expected, safetensors_as), expected.fingerprint.gate
        asked = Oracle(told, expected.target_format, work, expected.asked, gate)
        seen = asked.look(source)
        word, detail = _said(expected, seen)
        if keep is not None and seen.target is not None:
            keep_output(seen.target, keep)
        return Replayed(word, detail, expected, seen)


def _told(converter: Converter, expected: Expected, safetensors_as: str | None) -> Converter:
    """The converter, asked for SafeTensors in the form that the folder has, and judged by what was not promised then."""
    entry = converter.entry
    loses = tuple(dict.fromkeys((*entry.loses, *expected.loses)))
    converter.entry = replace(entry, safetensors_as=safetensors_as or expected.safetensors_as, loses=loses)
    return converter


def _same_numbers(expected: Expected, finding: Finding) -> bool:
    """Whether the same elements are wrong in the same way, as far as the first one tells: of a failure that has no name."""
    before, now = expected.wrong, evidence.plain(wrong(finding))
    first = before.get("first") or {}
    return before.get("count") == now["count"] and all(
        first.get(name) == now["first"].get(name) for name in ("index", "actual")
    )


def _said(expected: Expected, seen: Seen) -> tuple[str, str]:
    fingerprint = expected.fingerprint
    if same_failure(fingerprint, seen, asked=expected.asked):
        finding = next(finding for finding in seen.findings if fingerprint.fits(finding))
        if fingerprint.cause or finding.kind not in OF_NUMBERS or _same_numbers(expected, finding):
            return FAILED, str(finding)
        return DIFFERENTLY, f"{finding} as before, but other ones"
    if not seen.findings:
        if seen.compared:
            return FIXED, f"{seen.compared:,} elements compared"
        if seen.target is None and fingerprint.gate == SAFE:
            return FIXED, "it is refused, as it must be"
        return ERROR, "there was nothing to compare"
    first = seen.findings[0]
    return (ERROR if first.kind in _NOTHING else DIFFERENTLY), str(first)
