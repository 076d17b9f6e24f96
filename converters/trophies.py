"""The parts of docs/trophies that are made: evidence of a run as it is kept there, and the verdicts for a page.

    rosetta-ref gate --config converters/NAME/entry.toml --converter NAME --output FOLDER
    python converters/trophies.py NAME FOLDER

writes docs/trophies/NAME.evidence.json.xz, and makes anew what docs/trophies/NAME.md has of a run: the lines of the gate, each
below the words of a person, the table of verdicts and the last line; and the row in README.md. It prints what the words have to
follow: lines that no case shows any more, and kinds that no line tells.

What is kept is the evidence that `rosetta-ref score` takes, without what programs printed, and without paths and names of the
machine. Times are cut to the minute.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "docs" / "trophies"
#: Paths of a machine, up to what says something; and rules that say in other words what was said.
_PATHS = (
    (re.compile(r"/\S*/registry/src/[^/]+/"), ""),
    (re.compile(r"/\S*rosetta-gate-[^/]+/(?:\S*/)?"), ""),
    (re.compile(r"/rustc/[0-9a-f]+/"), "rustc/"),
    (re.compile(r" \[\w+Error: [^\]]*\]|: note: run with `RUST_BACKTRACE=1`.*"), ""),
)
#: A malformed file, with what must come of it: the name of the rule stays, where it stands in full goes.
_RULE = re.compile(r"\S+ \((?:must refuse|may accept); (.*?): [^()]*\): ")
_LONGEST = 260
_LINE = re.compile(r"  - (?P<kind>[\w-]+), \d+ cases?(?: of [\w-]+)?, such as `(?P<case>[^`]+)`:\n    (?P<text>.+)")
_TABLE = re.compile(r"\| gate \|.*\n(?:\|.*\n)+")
_END = re.compile(r"[\d,]+ cases in \d+ s on two cores\. .*")


def cleaned(text: str) -> str:
    """A text without the paths of a machine."""
    for pattern, instead in _PATHS:
        text = pattern.sub(instead, text)
    return text


def kept(record: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a piece of evidence."""
    host = record["host"] | {"hostname": "", "os": record["host"]["os"].partition("-")[0]}
    return record | {
        "reason": cleaned(record["reason"]),
        "output": "",
        "stderr": "",
        "timestamp": record["timestamp"][:16] + ":00Z",
        "host": host,
    }


def table(gates: dict[str, dict[str, int]]) -> list[str]:
    """Verdicts by gate, in Markdown."""
    words = list(next(iter(gates.values())))
    lines = [f"| gate | {' | '.join(word.lower() for word in words)} |", "|---|" + "---:|" * len(words)]
    return lines + [
        f"| {gate} | {' | '.join(str(found[word] or '') for word in words)} |" for gate, found in gates.items()
    ]


@dataclass(frozen=True)
class Line:
    """What one finding of a case says. `place` is its gate and pair, `cause` the types of the tensor, or the first word."""

    case: str
    kind: str
    place: tuple[str, str]
    cause: str
    text: str


def lines_of(case: dict[str, Any]) -> Iterator[Line]:
    """A line of each finding, or of how the run ended."""
    if case["outcome"] in ("Corroborated", "Skipped"):
        return
    pair = f"{case['source_format'][:1]}-{case['target_format'][:1]}".upper()
    for finding in case["findings"] or [{"kind": case["outcome"], "tensor": None, "detail": case["reason"]}]:
        first = finding.get("first") or {}
        said = [first.get(f"{key}_value", first.get(key)) for key in ("expected", "actual")]
        values = f"; at {first['index']}: {said[0]} became {said[1]}" if first else ""
        where = f"{finding['tensor']}: " if finding["tensor"] else ""
        leg = f" (on the leg {finding['leg']})" if finding.get("leg") else ""
        text = _RULE.sub(r"\1: ", cleaned(finding["detail"]))
        cause = f"{finding['source_type']} {finding['target_type']}" if where else text.split()[0]
        yield Line(case["case"], finding["kind"], (case["gate"], pair), cause, shortened(f"{where}{text}{values}{leg}"))


def shortened(text: str) -> str:
    """A line that is not too long."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def page(text: str, result: dict[str, Any]) -> tuple[str, list[str]]:
    """The page with the lines of this run, and what its words have to follow."""
    lines = [line for case in result["cases"] for line in lines_of(case)]
    chosen = {found[0]: _chosen(found, lines) for found in _LINE.finditer(text)}
    places = Counter((line.kind, line.place) for line in chosen.values() if line is not None)

    def anew(found: re.Match[str]) -> str:
        one = chosen[found[0]]
        if one is None:
            return found[0]
        same = [line for line in lines if (line.kind, line.place) == (one.kind, one.place)]
        # Where several lines of a page are of one kind and place, each counts its own.
        count = len({line.case for line in same if places[one.kind, one.place] == 1 or line.cause == one.cause})
        cases = f"{count} case{'s' if count > 1 else ''} of {one.place[0]}"
        return f"  - {one.kind}, {cases}, such as `{one.case}`:\n    {one.text.replace('<|', chr(92) + '<|')}"

    text = _LINE.sub(anew, text)
    text = _TABLE.sub(lambda _: "\n".join(table(result["gates"])) + "\n", text)
    text = _END.sub(last_line(result), text)
    told = {line.kind for line in chosen.values() if line is not None}
    untold = {line.kind: line for line in reversed(lines) if line.kind not in told}
    gone = [f"no more: {found.strip()}" for found, line in chosen.items() if line is None]
    return text, gone + [f"untold: {line.kind} {line.case}: {line.text}" for line in untold.values()]


def last_line(result: dict[str, Any]) -> str:
    """How many cases, how long, and the score."""
    score = result["score"]
    fallen = [f"{name} ({one['title']})" for name, one in score["gateways"].items() if not one["passed"]]
    end = f"it falls at {', '.join(fallen)}" if fallen else "it falls at no gateway"
    tested = [f"{name} {one['points']}/{one['max']}" for name, one in score["categories"].items() if one["total"]]
    return (
        f"{len(result['cases']):,} cases in {result['seconds']:.0f} s on two cores. MQS {score['raw']} of 1000: "
        f"{end}. Categories that were tested: {' '.join(tested)}."
    )


def row(text: str, name: str, result: dict[str, Any]) -> str:
    """The table of all converters with the row of this one made anew."""
    outcomes = Counter(case["outcome"] for case in result["cases"])
    counts = [outcomes[word] for word in ("Corroborated", "Falsified", "Skipped", "Crashed")]
    assert sum(counts) == len(result["cases"])
    figures = [len(result["cases"]), *counts, round(result["seconds"]), result["score"]["raw"]]
    made = " | ".join(f"{figure:,}" for figure in figures)
    return re.sub(rf"(?m)^(\|[^|]+\|[^|]+\|) .* \| (\[{re.escape(name)}\])", rf"\1 {made} | \2", text)


def _chosen(found: re.Match[str], lines: list[Line]) -> Line | None:
    """The line that takes the place of one on the page: of the same case, or else of the same gate and pair."""
    start = "/".join(found["case"].split("/")[: 2 if found["case"][7].isalpha() else 1])
    near = [line for line in lines if line.kind == found["kind"] and line.case.startswith(start)]
    near.sort(key=lambda line: (line.case != found["case"], not _alike(line.text, found["text"])))
    return next(iter(near), None)


def _alike(one: str, other: str) -> bool:
    return one.split()[0] == other.split()[0]


def main(name: str, folder: str) -> None:
    """Write the evidence and the page, print the rest."""
    result = json.loads((Path(folder) / "result.json").read_text("utf-8"))
    evidence = [kept(record) for record in json.loads((Path(folder) / "evidence.json").read_text("utf-8"))]
    packed = lzma.compress(json.dumps(evidence, separators=(",", ":"), ensure_ascii=False).encode(), preset=9)
    (TARGET / f"{name}.evidence.json.xz").write_bytes(packed)
    text, rest = page((TARGET / f"{name}.md").read_text("utf-8"), result)
    (TARGET / f"{name}.md").write_text(text, "utf-8")
    (TARGET / "README.md").write_text(row((TARGET / "README.md").read_text("utf-8"), name, result), "utf-8")
    print(f"{len(evidence):,} cases, {result['seconds']:.1f} s", *rest, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
