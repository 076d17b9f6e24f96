"""What came of a case: the outcome, what was expected and compared, and what was found, at the finest level that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.errors import SHOWN
from rosetta_ref.gate.kinds import kind_of

CORROBORATED, FALSIFIED, SKIPPED, TIMEOUT, CRASHED = "Corroborated", "Falsified", "Skipped", "Timeout", "Crashed"
OUTCOMES = (CORROBORATED, FALSIFIED, SKIPPED, TIMEOUT, CRASHED)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    `kind` is a row of `kinds.KINDS`; `gate` is the gate that it falsifies; `first` is the first difference: {index, offset,
    expected, actual} with hex texts. Raises UnknownKindError for any other kind.
    """

    kind: str
    gate: str
    detail: str
    tensor: str | None = None
    source_type: str | None = None
    target_type: str | None = None
    count: int = 0
    first: Mapping[str, Any] | None = None
    #: The pair of the first leg of a chain that shows it, "G-A".
    leg: str = ""
    #: The largest error of a number that is wrong: how bad it is, for the reducer.
    error: float = 0.0

    def __post_init__(self) -> None:
        """Kinds are those of the table; names and words of a file may be of any length, and stand in every report."""
        kind_of(self.kind)
        for name in ("detail", "tensor", "source_type", "target_type"):
            if len(text := getattr(self, name) or "") > SHOWN:
                object.__setattr__(self, name, f"{text[:SHOWN]}... ({len(text):,} characters)")

    def __str__(self) -> str:
        where = f"tensor {self.tensor!r}: " if self.tensor else ""
        leg = f" (on the leg {self.leg})" if self.leg else ""
        return f"{where}{self.kind}: {self.detail}{leg}"


@dataclass
class Result:
    """A case with its verdict. `expected` and `compared` count `unit` (elements, keys, tokens, refusals, tensors, bytes).

    `case` is stable over runs and versions: "F-CONV-001/q4_k/two-rows/index-coded". A Corroborated result has compared > 0.
    """

    case: str
    gate: str
    outcome: str
    reason: str = ""
    unit: str = "elements"
    expected: int = 0
    compared: int = 0
    nbytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    source_types: tuple[str, ...] = ()
    target_types: tuple[str, ...] = ()
    #: What was reported although it is right: narrowed, decoded, carried, re-encoded, with counts.
    notes: dict[str, int] = field(default_factory=dict)
    sample: str = ""
    source_format: str = ""
    target_format: str = ""
    seconds: float = 0.0
    memory: int = 0
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    #: Zoo id and link, where the failure has a name.
    diagnosis: str | None = None
    link: str | None = None
    reproduction: Path | None = None
    seed: int = 0
    #: Bytes on the disk, at most, of a command.
    disk: int = 0
    #: Skipped because nobody claims it, and for no other reason: such a skip needs no pin.
    unclaimed: bool = False
