"""What is a fault: rules that hold for every command and every input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rosetta_ref.campaigns.case import Case
from rosetta_ref.campaigns.mutate.junk import FORGED
from rosetta_ref.campaigns.watch import Change, Limits, is_beside, may_write
from rosetta_ref.campaigns.worker import Ran

#: Every kind of fault, and what it says.
KINDS = {
    "undeclared": "an exception that is no declared error came out, or was told as one",
    "exit-code": "the exit code is none of 0, 1, 2, 130",
    "nameless": "a refusal names no file",
    "forged": "foreign text broke a line, or steers whoever reads it",
    "cpu": "more CPU than the limit, twice alone",
    "memory": "more memory than the limit, twice alone",
    "disk": "more bytes on the disk than the limit",
    "output": "more text than the limit",
    "hang": "the worker did not move, or had to be stopped",
    "death": "the worker died",
    "left": "something is left in the temporary folder, or of an attempt that failed",
    "outside": "something was written or removed where nothing may be",
    "source": "a source was touched",
    "running": "a thread or a process goes on",
    "misread": "what was accepted is read otherwise by those who made the format",
}
#: Kinds that a busy machine may cause: they count when they repeat.
REPEATED = ("cpu", "memory", "hang")
_EXITS = (0, 1, 2, 130)
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COMMAND = re.compile(rf"(?m)^[ \t]*::|##\[|^{FORGED}")
_RULE = re.compile(r"\[(\w+): ")
_CLASS_IN_PLACE = re.compile(r"\((\w+\.py), line \d+\)")
#: Rules about the words of a command line.
_OF_NO_FILE = ("UnknownConverterError", "OptionError")
#: Commands that also tell so what they found, of files that they could read.
_FINDINGS_TOO = ("validate", "verify", "gate", "smoke")
#: How the gate tells of what it did not foresee.
_UNFORESEEN = ("the gate itself has failed", "has no answer", "no reproduction: ", "Traceback (most recent call last)")


@dataclass(frozen=True)
class Fault:
    """One fault. `place` is what findings are told apart by, `detail` one line for people."""

    kind: str
    command: str
    place: str
    detail: str

    @property
    def key(self) -> str:
        """What makes two faults the same."""
        return f"{self.kind} {self.command} {self.place}" if self.kind != "undeclared" else f"{self.kind} {self.place}"

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def faults(case: Case, ran: Ran, limits: Limits) -> list[Fault]:
    """Every fault of an execution."""
    found = [*_ended(case, ran), *_took(case, ran, limits), *_wrote(case, ran)]
    found += [
        each for each in _said(case, ran) if each[0] != "nameless" or "undeclared" not in {kind for kind, _, _ in found}
    ]
    return [Fault(kind, case.command, place, " ".join(detail.split())[:400]) for kind, place, detail in found]


Found = Iterator[tuple[str, str, str]]


def _ended(case: Case, ran: Ran) -> Found:
    if ran.raised.startswith("Stopped"):
        yield ("output" if "output" in ran.raised else "hang"), ran.slow_at or ran.where, ran.raised
    elif ran.raised:
        yield "undeclared", f"{ran.raised.partition(':')[0]} {ran.where}", ran.raised
    elif ran.code not in _EXITS:
        yield "exit-code", str(ran.code), f"exit code {ran.code}"
    for line in ran.err.splitlines():
        if any(words in line for words in _UNFORESEEN):
            where = _CLASS_IN_PLACE.search(line)
            yield "undeclared", f"told {where[1] if where else re.sub(r'[^A-Za-z ]', '', line)[:60]}", ascii(line[:300])
    if "panicked at" in ran.native:
        yield "undeclared", f"panic {ran.native.partition('panicked at')[2].split()[0]}", ascii(ran.native[:300])
    for name in ran.running[:1]:
        yield "running", re.sub(r"\d+|:.*", "N", name, flags=re.DOTALL), f"{name} goes on"


def _said(case: Case, ran: Ran) -> Found:
    for stream in (ran.out, ran.err):
        if (bad := _STEERING.search(stream) or _COMMAND.search(stream)) is not None:
            start = stream.rfind("\n", 0, bad.start()) + 1
            context = _shape(stream[start : bad.start()])
            yield "forged", context or _previous(stream, start), ascii(stream[max(start - 80, 0) : bad.end() + 60])
    if ran.code in (1, 2) and not ran.raised:
        yield from _nameless(case, ran)


def _previous(stream: str, start: int) -> str:
    return "after " + _shape(stream[stream.rfind("\n", 0, max(start - 1, 0)) + 1 : start])


def _shape(text: str) -> str:
    """The words of a line without what is foreign in it, to tell places apart."""
    return " ".join(re.findall(r"[a-z]{3,}", re.sub(r"'[^']*'|\"[^\"]*\"|\S*[/.]\S*", "", text)))[:60]


def _nameless(case: Case, ran: Ran) -> Found:
    """An error line of a refusal has to hold the name of some file or folder of the case.

    But for what is about no file: a command line that cannot be understood, a converter or a case that it names and that is none.
    """
    if case.command == "zoo" or "usage: " in ran.err or "no case was run" in ran.err:
        return
    for line in ran.err.splitlines():
        rule = _RULE.search(line)
        refused = rule is not None or (
            line.startswith("error: ") and (ran.code == 2 or case.command not in _FINDINGS_TOO)
        )
        if refused and not _names(line, case) and (rule is None or rule[1] not in _OF_NO_FILE):
            yield "nameless", rule[1] if rule else _shape(line), ascii(line[:300])


def _names(line: str, case: Case) -> bool:
    if any(word in line for word in ("in/", "out/", "outside/", "c.py", "x.toml", "--converter", "/rosetta-gate-")):
        return True
    return any(name.rpartition("/")[2] in line for name in case.files)


def _took(case: Case, ran: Ran, limits: Limits) -> Found:
    used, ended = ran.used, _outcome(ran)
    if used.cpu > limits.cpu(case.command):
        yield "cpu", ran.slow_at or ended, f"{used.cpu:.1f} s of CPU ({ended}; at {ran.slow_at})"
    if used.memory > limits.memory:
        yield "memory", ended, f"{used.memory >> 20} MiB more ({ended}; {', '.join(case.labels)})"
    if used.disk > limits.disk:
        yield "disk", ended, f"{used.disk >> 20} MiB on the disk"
    if ran.size > limits.output and not ran.raised:
        yield "output", ended, f"{ran.size:,} characters of output"


def _outcome(ran: Ran) -> str:
    rule = _RULE.search(ran.err)
    return rule[1] if rule else ran.raised.partition(":")[0] or f"exit {ran.code}"


def _wrote(case: Case, ran: Ran) -> Found:
    for name in ran.sources:
        yield "source", _outcome(ran), f"{name} has other bytes"
    for change in ran.changed:
        where, how = change.path, change.how
        if where.startswith("tmp/"):
            if where.count("/") == 1:
                yield "left", re.sub(r"[\d_]\w*", "", where), f"{where} is {how} ({_outcome(ran)})"
        elif not where.startswith("case/"):
            yield "outside", f"{where.partition('/')[0]} {how}", f"{where!a} is {how} ({_outcome(ran)})"
        elif where.startswith("case/in"):
            if where.removeprefix("case/") not in ran.sources and not _is_caused_by_us(case, where):
                yield "source", f"{how} {_outcome(ran)}", f"{where!a} is {how}"
        else:
            yield from _in_out(case, ran, change)


def _is_caused_by_us(case: Case, where: str) -> bool:
    """Python compiles the module of a converter function beside it."""
    return "__pycache__" in where


def _in_out(case: Case, ran: Ran, change: Change) -> Found:
    path, ended = change.path.removeprefix("case/"), _outcome(ran)
    partial = ".partial" in path
    planted = any(".partial" in name for name in case.files)
    if change.how == "gone":
        swept = planted and (partial or is_beside(path.removeprefix("out/")))
        replaced = "--force" in case.words and ran.code == 0 and may_write(case, path)
        if not swept and not replaced:
            yield "outside", f"gone {ended}", f"{path!a} is gone"
        return
    if partial and (change.how == "new" or not planted):
        yield "left", f"partial {ended}", f"{path!a} is left"
    elif not may_write(case, path):
        yield "outside", f"{change.how} {_kind_of(path)}", f"{path!a} is {change.how} ({ended})"
    elif case.command == "convert" and ran.code != 0:
        yield "left", f"failed {ended}", f"{path!a} is {change.how}, and the run failed"


def _kind_of(path: str) -> str:
    """Of a name that may be anything, enough to tell kinds apart."""
    end = path.rpartition("/")[2].rpartition(".")[2]
    return end if end.isascii() and end.isalnum() and len(end) < 8 else "odd name"
