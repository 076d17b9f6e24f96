"""report.md: what is wrong, where, why and how to show it, for somebody who maintains the converter and nothing of this project."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rosetta_ref.archive import Tensor
from rosetta_ref.gate.cases import SAFE
from rosetta_ref.gate.judge import META
from rosetta_ref.gate.result import Finding
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.reduce.fingerprint import Fingerprint, fitting
from rosetta_ref.reduce.oracle import Oracle
from rosetta_ref.reduce.record import Expected
from rosetta_ref.zoo import MEMBERS

if TYPE_CHECKING:
    from rosetta_ref.reduce.folder import Found

_FORMATS = {"gguf": "GGUF", "apr": "APR", "safetensors": "SafeTensors"}
#: Rows of the table of values.
_ROWS = 8
#: Kinds of findings in a reader's words; others are said as they are.
_SAID = {
    "values": "values are wrong", "nan": "NaN or Inf appears", "nan-lost": "NaN or Inf is lost",
    "label": "bytes stand under a wrong type",
    "size": "the data has another size than type and shape say", "shape": "the shape is wrong",
    "shape-not-reversed": "the shape is not reversed between GGUF and row-major", "transposed": "the data was transposed",
    "rows-permuted": "rows of q or k stand in the wrong order", "lost": "a tensor is lost", "invented": "a tensor is invented",
    "truncated": "floats are truncated instead of rounded", "flushed": "subnormal floats become zero",
    "out-of-range": "large values become Inf", "error-too-large": "the encoding loses more than it has to",
    "lossy-unasked": "weights are encoded anew, which nobody asked for", "unreadable": "the output cannot be read",
    "accepted": "a broken file is accepted", "refused": "a valid file is refused", "crashed": "it crashes",
    "timeout": "it does not end",
    "number-wrong": "a number of the configuration is wrong", "number-lost": "a number of the configuration is lost",
    "words-lost": "a part of the tokenizer is lost", "words-wrong": "a part of the tokenizer is wrong",
    "tokenizer-lost": "the tokenizer is lost", "key-twice": "a number stands under two keys",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a report is made of."""

    expected: Expected
    found: Found
    oracle: Oracle
    name: str
    actual: str | None
    size: int
    flags: str = ""

    @property
    def findings(self) -> list[Finding]:
        """Those that are this failure, or all."""
        seen = self.found.seen.findings
        return fitting(self.expected.fingerprint, seen) or list(seen)


def markdown(told: Told) -> str:
    """The report."""
    parts = [
        [f"# {title(told)}", ""],
        _what(told),
        _where(told),
        _why(told.expected.fingerprint),
        _shown(told),
        _versions(told),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def title(told: Told) -> str:
    """One line: the formats, and what happens."""
    expected = told.expected
    said = _SAID.get(expected.fingerprint.kind, expected.fingerprint.kind)
    subject = f" ({expected.fingerprint.subject})" if expected.fingerprint.subject else ""
    kind = told.findings[0].source_type if told.findings and told.findings[0].tensor else None
    what = f"{kind}: " if kind else ""
    return f"{_way(expected)}: {what}{said}{subject}"


def _way(expected: Expected) -> str:
    return f"{_FORMATS[expected.source_format]} to {_FORMATS[expected.target_format]}"


def _what(told: Told) -> list[str]:
    """The conversion and its input, in two sentences."""
    expected, run = told.expected, told.found.seen.run
    asked = f", asked for {expected.asked}" if expected.asked else ""
    lines = [
        f"`{expected.converter.get('name')}` converts `{expected.input}` ({told.size:,} bytes) from {_way(expected)}{asked}, ",
        f"{_ENDED.get(run.outcome, run.outcome)}{f' with exit code {run.exit_code}' if run.exit_code is not None else ''}"
        f"{f' ({run.detail})' if run.detail else ''}, and {_outcome(told)}",
        "",
        _contents(told),
        "",
    ]
    return [lines[0] + lines[1], *lines[2:]]


def _outcome(told: Told) -> str:
    if told.expected.fingerprint.gate == SAFE:
        return "takes a file that must be refused."
    if told.actual is None:
        return "leaves no output."
    return f"writes `{told.actual}`, in which this is wrong:"


def _contents(told: Told) -> str:
    lines = [f"- {finding}" for finding in told.findings[:4]]
    more = len(told.findings) - 4
    lines += [f"- and {more} more like these"] if more > 0 else []
    lines += ["", f"The input is the smallest that was found: {_inventory(told)}. {told.found.origin}"]
    return "\n".join(lines)


def _inventory(told: Told) -> str:
    try:
        with look(told.found.seen.source) as view:
            tensors = [seen.tensor for seen in view.tensors.values()]
            words = len(view.archive.metadata)
    except UnreadableError as error:
        return f"a file that no reader should take ({error.problem})"
    listed = ", ".join(f"`{one.name}` {one.type.name} {list(one.shape)}" for one in tensors[:3])
    more = f" and {len(tensors) - 3} more tensors" if len(tensors) > 3 else ""
    keys = f", {words} metadata keys" if words else ", no metadata"
    return f"{listed}{more}{keys}"


# Where


def _where(told: Told) -> list[str]:
    """The first difference, and a few elements beside each other."""
    found = told.found.seen
    finding = next((one for one in told.findings if one.tensor is not None), None)
    if finding is None or found.target is None:
        return []
    lines = ["## Where", ""]
    if finding.first is not None:
        lines += [_first(finding.tensor or "", finding.first, told), ""]
    rows = list(_rows(told, finding.tensor or ""))
    if rows:
        lines += ["| element | expected | actual |", "| --- | --- | --- |", *rows, ""]
    if (told.size <= 1 << 16) and told.actual:
        lines += ["`annotated.txt` has every byte of both files under its field's name.", ""]
    return lines


def _first(tensor: str, first: Mapping[str, Any], told: Told) -> str:
    values = f" ({first['expected_value']})" if "expected_value" in first else ""
    found = f" ({first['actual_value']})" if "actual_value" in first else ""
    return (
        f"The first difference is element {first.get('index')} of `{tensor}`, at byte {first.get('offset'):#x} of "
        f"`{told.actual}`: {first.get('expected')}{values} was expected, {first.get('actual')}{found} is there."
    )


def _rows(told: Told, name: str) -> Iterator[str]:
    """The first elements that differ from those of a right output."""
    wanted = told.expected.expected.get(name)
    target = told.found.seen.target
    assert target is not None
    try:
        with look(target) as view:
            values = _values(view, name)
    except UnreadableError:
        return
    if wanted is None or values is None or not wanted["values"]:
        return
    shown = 0
    for place, (expected, actual) in enumerate(zip(wanted["values"], values, strict=False)):
        if expected != actual and shown < _ROWS:
            shown += 1
            yield f"| {place} | {expected} | {actual} |"


def _values(view: View, name: str) -> Sequence[str] | None:
    seen = view.tensors.get(name)
    if seen is None or seen.tensor.name in view.ill_fitting or seen.tensor.type.decode is None:
        return None
    tensor: Tensor = seen.tensor
    return [f"{value:g}" for value in tensor.values().reshape(-1)[:512]]


# Why, and how


def _why(fingerprint: Fingerprint) -> list[str]:
    """The bugs that do exactly this, with links; or that nobody knows."""
    lines = ["## Why", ""]
    for name in fingerprint.cause:
        member = MEMBERS.get(name)
        if member is None:
            lines.append(f"- {name.replace('-', ' ')}: every element of the output is explained by that.")
            continue
        origin = "a bug that this project thought of" if member.ours else f"the bug of {member.origin}"
        link = f" <{member.link}>" if member.link else ""
        lines.append(f"- **{name}**: {member.does}. The output is, in all that is wrong, what {origin} gives.{link}")
        lines += [f"  - It does not show on: {member.blind}."] if member.blind else []
        lines += [f"  - It may as well be {other}: {why}." for other, why in _same_as(name).items()]
    if not fingerprint.cause:
        lines.append("No bug that is known here gives exactly this output.")
    rule = "a malformed file is refused" if fingerprint.gate == SAFE else _right(fingerprint)
    return [*lines, "", *([f"What is right: {rule}.", ""] if rule else [])]


def _same_as(name: str) -> dict[str, str]:
    """Members that are declared to give the very same on some input, and why."""
    others = {member.id: member.alike[name] for member in MEMBERS.values() if name in member.alike}
    return {**MEMBERS[name].alike, **others}


def _right(fingerprint: Fingerprint) -> str:
    return _RULES_OF_KINDS.get(fingerprint.kind) or _RULES.get(fingerprint.gate, "")


_ENDED = {"accepted": "says that all is well", "refused": "refuses it", "crashed": "crashes", "timeout": "does not end"}
_RULES_OF_KINDS = {
    "rows-permuted": "in GGUF files of llama the rows of a head of q and k stand in pairs (x0 y0 x1 y1 ...), in Hugging Face's "
    "in halves (x0 x1 ... y0 y1 ...): each head is turned by itself, q by n_head heads and k by n_kv; other architectures are "
    "not turned",
    "shape-not-reversed": "GGUF's ne is the row-major shape the other way round, and no byte moves",
    "transposed": "only the order in which dimensions are written changes between formats, never that of the data",
    "label": "the type that is written is the type that the bytes are of",
}
_RULES = {
    META: "every number, token and special id that the target has a place for arrives with its value",
    "F-CONV-CARD-001": "no tensor is lost, none invented, none written twice",
    "F-CONV-NAME-001": "every tensor has the name that the target format gives it",
    "F-CONV-QUANT-001": "each block is off by no more than the reference quantiser's, and a margin",
} | {
    f"F-CONV-00{number}": "blocks are carried as they are or decoded bit for bit, floats carried, widened exactly or rounded to "
    "nearest even, and shapes keep their meaning"
    for number in range(1, 7)
}


def link_of(fingerprint: Fingerprint) -> str | None:
    """The page about the first of its causes that has one."""
    return next((MEMBERS[name].link for name in fingerprint.cause if name in MEMBERS and MEMBERS[name].link), None)


def _shown(told: Told) -> list[str]:
    flags = f" {told.flags}" if told.flags else f" --converter {shlex.quote(str(_spelled(told.expected)))}"
    return [
        "## How to show it", "",
        "```sh", "python build.py          # writes the input again, with nothing but struct",
        f"rosetta-ref replay .{flags}", "```", "",
        "`replay` says FIXED (0), FAILED (1), FAILED DIFFERENTLY (1) or ERROR (2). As a permanent test: copy this folder into "
        "`tests/regression/failures/` of a project that has rosetta-ref among its test requirements.", "",
    ]  # fmt: skip


def _spelled(expected: Expected) -> str:
    converter = expected.converter
    return converter.get("command") or converter.get("function") or converter.get("name") or ""


def _versions(told: Told) -> list[str]:
    listed = ", ".join(f"{name} {version}" for name, version in told.expected.versions.items())
    return [f"Found with {listed}; {told.found.calls} conversions. Fingerprint: {told.expected.fingerprint}."]
