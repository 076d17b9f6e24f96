"""The parts of docs/trophies that are made: evidence of a run as it is kept there, and the verdicts for a page.

    rosetta-ref gate --config converters/NAME/entry.toml --converter NAME --output FOLDER
    python converters/trophies.py NAME FOLDER

writes docs/trophies/NAME.evidence.json.xz, and prints the table of verdicts and a line of each kind.

What is kept is the evidence that `rosetta-ref score` takes, without what programs printed, and without paths and names of the
machine. Times are cut to the minute.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "docs" / "trophies"
#: Paths of a machine, up to what says something.
_PATHS = (
    (re.compile(r"/\S*/registry/src/[^/]+/"), ""),
    (re.compile(r"/\S*rosetta-gate-[^/]+/(?:\S*/)?"), ""),
    (re.compile(r"/rustc/[0-9a-f]+/"), "rustc/"),
)


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


def main(name: str, folder: str) -> None:
    """Write the evidence, print the rest."""
    result = json.loads((Path(folder) / "result.json").read_text("utf-8"))
    evidence = [kept(record) for record in json.loads((Path(folder) / "evidence.json").read_text("utf-8"))]
    TARGET.mkdir(parents=True, exist_ok=True)
    packed = lzma.compress(json.dumps(evidence, separators=(",", ":"), ensure_ascii=False).encode(), preset=9)
    (TARGET / f"{name}.evidence.json.xz").write_bytes(packed)
    print(f"{len(evidence):,} cases, {result['seconds']:.1f} s\n")
    print(*table(result["gates"]), sep="\n", end="\n\n")
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    for case in result["cases"]:
        for finding in case["findings"] or [{"kind": case["outcome"], "tensor": None, "detail": case["reason"]}]:
            if case["outcome"] != "Corroborated":
                pair = f"{case['source_format'][:1]}-{case['target_format'][:1]}".upper()
                where = f"{finding['tensor']}: " if finding["tensor"] else ""
                first = finding.get("first") or {}
                said = [first.get(f"{key}_value", first.get(key)) for key in ("expected", "actual")]
                values = f"; at {first['index']}: {said[0]} became {said[1]}" if first else ""
                line = f"{case['case']}: {where}{cleaned(finding['detail'])}{values}"
                count, line = seen.get((finding["kind"], pair), (0, line))
                seen[finding["kind"], pair] = count + 1, line
    for (kind, pair), (count, line) in seen.items():
        print(f"{count:5} {kind} {pair}: {line[:300]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
