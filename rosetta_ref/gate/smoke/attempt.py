"""One conversion of a sample in a place of its own, and a first look at what came of it: exit 0 alone is never believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.errors import RosettaError, unforeseen
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.converter.entry import Converter, Run
from rosetta_ref.gate.converter.said import reason_of
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.gate.run.workspace import Flaw, Snapshot, Workspace


@dataclass(frozen=True)
class Output:
    """What an output holds: its tensors by type."""

    path: Path
    types: Mapping[str, int] = field(default_factory=dict)

    @property
    def tensors(self) -> int:
        """How many there are."""
        return sum(self.types.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.types.items())


@dataclass(frozen=True)
class Attempt:
    """One conversion: what was tried, how the run ended, and what is wrong with its files, if anything is."""

    pair: str
    sample: str
    run: Run
    safetensors_as: str
    type: str | None = None
    flaw: Flaw | None = None
    output: Output | None = None
    #: Whether the input was an output of this converter.
    own: bool = False
    #: How many tensors the input has, where that is known.
    tensors: int | None = None

    @property
    def miscounts(self) -> bool:
        """Whether the output has fewer or more tensors than the input; a tied head that is written out is one more."""
        return self.output is not None and self.tensors is not None and self.output.tensors != self.tensors

    @property
    def works(self) -> bool:
        """Whether there is an output that can be looked at, of the right format, and the input is untouched."""
        return self.output is not None and self.flaw is None

    @property
    def reason(self) -> str:
        """Why it does not work, in one line: what is wrong with the files, or how the run ended and the reason that it gave."""
        if self.run.accepted:
            return str(self.flaw or "")
        said = reason_of(self.run)
        detail = self.run.detail or (f"exit code {self.run.exit_code}" if self.run.exit_code is not None else "")
        # A panic that was printed is in the detail; what follows it is advice.
        told = not said or said == detail or "and it printed: " in detail
        return ": ".join(filter(None, (self.run.outcome, detail, "" if told else said)))


def attempt(
    converter: Converter,
    work: Workspace,
    pair: str,
    source: Path,
    *,
    sample: str,
    safetensors_as: str = "directory",
    type: str | None = None,  # noqa: A002
) -> Attempt:
    """Convert a file or directory, and look at the files afterwards."""
    before = Snapshot(source)
    place = work.place(LETTERS[pair[-1]], safetensors_as=safetensors_as)
    run = converter.convert(source, place.dst, type=type)
    flaw, output = before.flaw(), None
    if run.accepted and flaw is None:
        flaw = place.flaw(before, may_be_equal=type is not None and pair[0] == pair[-1])  # F32 of F32 is a copy
        if flaw is None:
            flaw, output = _look(place.dst, LETTERS[pair[-1]], safetensors_as)
    return Attempt(pair, sample, run, safetensors_as, type, flaw, output)


def _look(path: Path, wanted: str, form: str) -> tuple[Flaw | None, Output | None]:
    """Open the output: it is of the format that was wanted, a file or a directory as asked for, and holds tensors with bytes."""
    try:
        found = sniff(path)
        if found != wanted:
            return Flaw("format", f"{path.name} is {found}"), None
        if of(wanted).has_companions and path.is_dir() != (form == "directory"):
            came = "directory" if path.is_dir() else "file"
            return Flaw("format", f"{path.name} is a {came}, where a {form} was asked for"), None
        # Whether its shapes stand the right way is not asked here.
        with open_archive(path, lenient=True, as_row_major=True) as archive:
            if not any(tensor.nbytes for tensor in archive.tensors.values()):
                return Flaw("empty", f"{path.name} has no tensor with a byte of data"), None
            return None, Output(path, Counter(tensor.type.name for tensor in archive.tensors.values()))
    except (RosettaError, OSError) as error:
        return Flaw("unreadable", str(error)), None
    except Exception as error:  # noqa: BLE001 (a reader fell over what a converter wrote)
        return Flaw("unreadable", f"the reader failed on it: {unforeseen(error)}"), None
