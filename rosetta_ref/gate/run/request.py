"""What is asked of a run, and what is made of its results: the same from the command line and from pytest."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from platform import machine, python_version

from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.entry import Converter, Entry
from rosetta_ref.gate.converter.fields import Flags
from rosetta_ref.gate.findings import CORROBORATED, SKIPPED, Result
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.report import expectations, files, summary, verdict
from rosetta_ref.gate.report.expectations import Expectation
from rosetta_ref.gate.report.patterns import literal
from rosetta_ref.gate.report.score import Score, Scored, score
from rosetta_ref.gate.report.verdict import RunVerdict

#: Seeds of a profile: one run is one seed.
PROFILES = {"default": 1, "nightly": 10}


def add_flags(parser: Flags) -> None:
    """The flags that say how much is asked, and where the answers go."""
    parser.add_argument("--case", action="append", default=[], metavar="PATTERN",
                        help="only the cases that match (F-CONV-001/*); may be repeated")  # fmt: skip
    parser.add_argument("--model", type=Path, action="append", default=[], metavar="FILE",
                        help="run every gate on this model as well; may be repeated")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default 0)")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="default",
                        help="default: one seed; nightly: ten, and large files")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write result.json, evidence.json and summary.md")
    parser.add_argument(
        "--reproductions",
        type=Path,
        metavar="FOLDER",
        help="where unexpected failures leave inputs (default: reproductions in OUTPUT, or rosetta-failures)",
    )
    parser.add_argument("--no-reproductions", action="store_true", help="leave none")


@dataclass(frozen=True)
class Request:
    """One run: a converter, what is asked of it, and what is expected."""

    converter: Converter
    seed: int = 0
    profile: str = "default"
    only: tuple[str, ...] = ()
    models: tuple[Path, ...] = ()
    output: Path | None = None
    expected: Sequence[Expectation] = field(default_factory=list)
    #: The flags that mean this converter.
    flags: tuple[str, ...] = ()
    #: Where unexpected failures leave small inputs; None: nowhere.
    reproductions: Path | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, *, drafting: bool = False) -> Request:
        """The request of the flags of `named.add_flags` and those here.

        While expectations are drafted, their reasons may be missing, and so may the file. Raises as `named.from_arguments`,
        ExpectationError and OSError.
        """
        converter = named.from_arguments(arguments)
        file = converter.entry.expectations
        known = file is not None and (file.exists() or not drafting)
        return cls(
            converter,
            seed=arguments.seed,
            profile=arguments.profile,
            only=tuple(arguments.case),
            models=tuple(arguments.model),
            output=arguments.output,
            expected=expectations.load(file, drafting=drafting) if file is not None and known else [],
            reproductions=_place(arguments) if not drafting else None,
            flags=tuple(named.flags(arguments, converter.entry.name)),
        )

    @property
    def seeds(self) -> range:
        """Those of the profile."""
        return range(self.seed, self.seed + PROFILES[self.profile])

    @cached_property
    def _real(self) -> list[Sample]:
        from rosetta_ref.gate.inputs.real import real_samples

        return real_samples(self.models)

    def samples(self, seed: int) -> list[Sample]:
        """What the converter is given with that seed: large and real models once, with the first. Raises UnreadableError."""
        from rosetta_ref.gate.run.engine import large_samples_for, samples_for

        entry, first = self.converter.entry, seed == self.seed
        large = large_samples_for(entry, seed) if first and self.profile == "nightly" else ()
        return [*samples_for(entry, seed), *large, *(self._real if first else ())]

    def in_force(self) -> list[Expectation]:
        """The expectations that hold today, here."""
        return verdict.in_force(self.expected, _today(), platform())[0]

    def is_expected(self, result: Result) -> bool:
        """Whether a failure is one of those that are expected."""
        return any(one.matches(result.case) for one in self.in_force())

    def judge(self, results: Sequence[Result], *, whole: bool) -> RunVerdict:
        """Hold results against what is expected; `whole`: every case of the gate is among them."""
        return verdict.judge(results, self.expected, _today(), facts=platform(), whole=whole)

    def reproduce(self, result: Result, entry: Entry) -> str:
        """The command that shows one failure again."""
        if not self.flags:
            return summary.reproduce(result, entry)
        if result.reproduction is not None:
            return shlex.join(["rosetta-ref", "replay", str(result.reproduction), *self.flags])
        only = [f"--case={literal(result.case)}", f"--seed={result.seed}", *(f"--model={path}" for path in self.models)]
        return shlex.join(["rosetta-ref", "gate", *self.flags, *only])

    def info(self, seconds: float, *, whole: bool) -> files.RunInfo:
        """What the run was."""
        return files.RunInfo(self.seed, self.profile, seconds=round(seconds, 3), whole=whole)

    def write(self, results: Sequence[Result], found: RunVerdict, info: files.RunInfo) -> None:
        """Write result.json, evidence.json and summary.md, where a folder for them was named."""
        if self.output is None:
            return
        entry = self.converter.entry
        self.output.mkdir(parents=True, exist_ok=True)
        files.write_result(self.output / "result.json", results, found, entry, info)
        files.write_evidence(self.output / "evidence.json", results, entry)
        text = summary.markdown(results, found, entry, points(results), reproduce=self.reproduce)
        (self.output / "summary.md").write_text(text, encoding="utf-8")


def first_bad(results: Iterable[Result]) -> list[Result]:
    """One result for each case, of those of several seeds: the first that is not Corroborated."""
    merged: dict[str, Result] = {}
    for result in results:
        before = merged.get(result.case)
        if before is None or before.outcome == CORROBORATED:
            merged[result.case] = result
    return list(merged.values())


def points(results: Sequence[Result]) -> Score | None:
    """The score; None where nothing was tested."""
    tested = any(result.outcome != SKIPPED for result in results)
    return score(Scored.of(result) for result in results) if tested else None


def platform() -> dict[str, str]:
    """What conditions of expectations may ask for."""
    return {"platform": sys.platform, "machine": machine(), "python": python_version()}


def _place(arguments: argparse.Namespace) -> Path | None:
    if arguments.no_reproductions:
        return None
    inside = arguments.output / "reproductions" if arguments.output is not None else Path("rosetta-failures")
    return Path(arguments.reproductions or inside)


def _today() -> date:
    return datetime.now(UTC).date()
