"""What a recording leaves out: facts about this machine, this run, and where code stands. Everything else is kept.

`RULES` and `FIELDS` are all that is replaced, each with the reason. Bytes of models are never touched.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Fields of JSON whose value is replaced.
FIELDS = {
    "seconds": "how long it took",
    "duration_ms": "how long it took",
    "timestamp": "when it was",
    "host": "the machine",
    "versions": "what is installed",
    "memory": "measured on this machine",
    "memory_peak_mb": "measured on this machine",
    "disk": "measured on this machine",
}
_HERE = "|".join(re.escape(str(path)) for path in dict.fromkeys([ROOT, ROOT.resolve()]))
_TEMPORARY = "|".join(
    re.escape(str(path)) for path in dict.fromkeys([Path(tempfile.gettempdir()), Path(tempfile.gettempdir()).resolve()])
)


@dataclass(frozen=True)
class Rule:
    """What is replaced by what, and why that is no fact about the project."""

    pattern: re.Pattern[str]
    new: str
    why: str


RULES = [
    Rule(re.compile(re.escape(sys.executable)), "python", "where Python is installed"),
    Rule(re.compile(r"(?:/[\w.+ -]+)+/site-packages/"), "(libraries)/", "where libraries are installed"),
    Rule(re.compile(r"(\(libraries\)/[\w./-]+\.py):\d+:"), r"\1:", "lines of libraries, which have other releases"),
    Rule(re.compile(rf"(?:{_HERE})/rosetta_ref/(?:[\w-]+/)*"), "(package)/", "where the package and its modules are"),
    Rule(re.compile(rf"(?:{_HERE})(?=/|\b)"), "(repository)", "where the repository is"),
    Rule(
        re.compile(rf"(?:{_TEMPORARY})/freeze-\w+(?:/tmp)?(?:/rosetta-[\w-]+)*(?:/\d{{5}}(?=/))?"), "(temporary)",
        "temporary folders, and the number of a conversion, which depends on what runs at the same time",
    ),
    Rule(
        re.compile(r"^(Traceback \(most recent call last\):\n)(?:[ \t]+.*\n)+", re.MULTILINE), r"\1",
        "the lines that lead to an exception, of our modules and of libraries",
    ),
    Rule(
        re.compile(r'\A(?:.*\n)*.*", line \d+, in .*\n(?:[ \t]+.*\n)*'), "(the end of a traceback)\n",
        "the same of a long one, of which the end is kept",
    ),
    Rule(re.compile(r"\brosetta_ref(?:\.\w+)+\.(?=[A-Z]\w*(?:Error|Warning)\b)"), "", "the module of an exception"),
    Rule(re.compile(r"(`python -m )rosetta_ref[.\w]*"), r"\1(module)", "the module that makes a document"),
    Rule(re.compile(r"\brosetta-ref [\d.]+\w*, python [\d.]+\w*, numpy [\d.]+\w*"), "(versions)", "what is installed"),
    Rule(re.compile(r"\b\d+\.\d+ s\b"), "(time) s", "how long it took"),
]  # fmt: skip


def plain(text: str) -> str:
    """Text without what depends on the machine, the run, or the places of modules."""
    for rule in RULES:
        text = rule.pattern.sub(rule.new, text)
    return text


def plain_json(text: str) -> Any:
    """The same of every text in JSON, and its `FIELDS` replaced; the order of keys is kept."""
    return _plain_value(json.loads(text))


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): f"({key})" if key in FIELDS else _plain_value(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_value(one) for one in value]
    return plain(value) if isinstance(value, str) else value


def lines_of(value: Any) -> str:
    """JSON with a line for each value, so that a difference is a line."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def plain_file(name: str) -> Callable[[str], str]:
    """How a file of that name is made plain."""
    return (lambda text: lines_of(plain_json(text))) if name.endswith(".json") else plain
