"""What a campaign found: counted by kind and place, the first of each kept as a folder that shows it again, and a journal.

DIR/journal.jsonl            a line for each stretch of executions that is done, and for each new finding
DIR/findings/NAME/case.json  the command line, and every file that it ran on
DIR/findings/NAME/finding.txt, input/   the same for people
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.campaigns.case import Case
from rosetta_ref.campaigns.oracles import KINDS, Fault
from rosetta_ref.errors import RosettaError, safe_line


class CampaignError(RosettaError):
    """A campaign goes on in a folder of its own, with the seed that it began with, and its workers start."""


@dataclass
class Finding:
    """A fault, the number of the execution that showed it first, and how often it was seen."""

    fault: Fault
    number: int
    times: int = 1

    @property
    def name(self) -> str:
        """Of its folder."""
        words = re.sub(r"[^\w.-]+", "-", self.fault.key)[:60].strip("-.")
        return f"{words}-{hashlib.sha256(self.fault.key.encode()).hexdigest()[:6]}"


@dataclass
class Record:
    """All that is known so far. `counts` are executions by command and how they ended, `done` the stretches that were run."""

    seed: int
    folder: Path | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    done: list[tuple[int, int]] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def resumed(cls, seed: int, folder: Path | None) -> Record:
        """What a folder says of an earlier run. Raises CampaignError where that had another seed."""
        made = cls(seed, folder)
        if folder is None:
            return made
        (folder / "findings").mkdir(parents=True, exist_ok=True)
        journal = folder / "journal.jsonl"
        if not journal.exists():
            made._append({"seed": seed})
            return made
        for line in foreign.text_of(foreign.read_file(journal, "record-bytes"), file=journal).splitlines():
            try:
                made._take(json.loads(line), journal)
            except (ValueError, KeyError, TypeError) as error:
                raise CampaignError(f"a line cannot be understood: {error}", file=journal) from None
        return made

    def _take(self, line: Mapping[str, Any], journal: Path) -> None:
        if "seed" in line and line["seed"] != self.seed:
            raise CampaignError(f"it was begun with seed {line['seed']}, not {self.seed}", file=journal)
        if "fault" in line:
            fault = Fault(**line["fault"])
            self.findings[fault.key] = Finding(fault, line["number"], 0)
        if "done" in line:
            self._count(line)

    def _count(self, line: Mapping[str, Any]) -> None:
        self.done.append((line["done"][0], line["done"][1]))
        self.counts.update(line["counts"])
        self.seconds += line.get("seconds", 0.0)
        for key, times in line["again"].items():
            if key in self.findings:
                self.findings[key].times += times

    def add(self, fault: Fault, number: int, case: Case) -> bool:
        """Take a fault; whether it is new."""
        if fault.key in self.findings:
            return False
        found = self.findings[fault.key] = Finding(fault, number, 0)
        if self.folder is not None:
            write(self.folder / "findings" / found.name, fault, case, f"seed {self.seed}, execution {number}")
        self._append({"fault": fault.as_json(), "number": number})
        return True

    def end(self, line: Mapping[str, Any], seconds: float) -> None:
        """A stretch is done."""
        whole = {**line, "seconds": round(seconds, 3)}
        self._count(whole)
        self._append(whole)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self.folder is not None:
            with (self.folder / "journal.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    @property
    def executions(self) -> int:
        """How many were run."""
        return sum(stop - start for start, stop in self.done)

    def table(self) -> list[tuple[str, str, int, int]]:
        """Kind of fault, command, places, times: the most frequent first."""
        rows: Counter[tuple[str, str]] = Counter()
        places: Counter[tuple[str, str]] = Counter()
        for found in self.findings.values():
            rows[found.fault.kind, found.fault.command] += found.times
            places[found.fault.kind, found.fault.command] += 1
        return [(kind, command, places[kind, command], times) for (kind, command), times in rows.most_common()]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "seed": self.seed, "executions": self.executions, "seconds": round(self.seconds, 1),
            "counts": dict(sorted(self.counts.items())),
            "findings": [{**found.fault.as_json(), "number": found.number, "times": found.times,
             "name": found.name} for found in self.most()],
            "kinds": KINDS,
        }  # fmt: skip

    def most(self) -> list[Finding]:
        """The findings, the most frequent first."""
        return sorted(self.findings.values(), key=lambda found: -found.times)


def write(folder: Path, fault: Fault, case: Case, origin: str) -> None:
    """A finding as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(
        json.dumps({**case.as_json(), "fault": fault.as_json(), "origin": origin}), "utf-8"
    )
    lines = [f"{fault.kind} ({KINDS[fault.kind]})", fault.detail, f"place: {fault.place}", f"run: {case.line}", f"from: {origin}",
             f"done to the files: {', '.join(case.labels)}", f"again: rosetta-ref campaign hostile --replay {folder}"]  # fmt: skip
    (folder / "finding.txt").write_text("\n".join(map(safe_line, lines)) + "\n", "utf-8")
    for number, (name, node) in enumerate(case.files.items()):
        if isinstance(node, bytes):
            plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:100]
            (folder / "input").mkdir(exist_ok=True)
            (folder / "input" / f"{number:02}-{plain}").write_bytes(node)


def read(path: Path) -> Case:
    """The case of a finding: its folder, or case.json. Raises RosettaError."""
    path = path / "case.json" if path.is_dir() else path
    values = foreign.json_object(foreign.read_file(path, "record-bytes"), file=path)
    try:
        return Case.of_json(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CampaignError(f"it is no case of a campaign: {error!r}", file=path) from None


def chunks(executions: int, done: Iterable[tuple[int, int]], size: int) -> Iterable[tuple[int, int]]:
    """The stretches that are still to be run."""
    over = sorted(done)
    at = 0
    for start, stop in [*over, (executions, executions)]:
        while at < min(start, executions):
            end = min(at + size, start, executions)
            yield at, end
            at = end
        at = max(at, stop)
