"""Text of foreign files and programs in Markdown: as code that nothing breaks out of, without paths that nobody else has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rosetta_ref.errors import SHOWN
from rosetta_ref.formats.fields.field import printable

_RULE = re.compile(r" ?\[(?:UnreadableError): [^\]]*\]")


def code(text: str) -> str:
    r"""A span of code in one line.

    >>> print(code("a`b\n# no heading"))
    ``a`b\n# no heading``
    """
    line = printable(text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)")
    fence = "`" * (_longest(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def block(text: str, language: str = "") -> list[str]:
    """The lines of a block of code."""
    fence = "`" * max(_longest(text) + 1, 3)
    lines = [printable(line[:SHOWN].expandtabs(4)) for line in text.splitlines()]
    return [f"{fence}{language}", *lines, fence]


def last_words(text: str, lines: int = 12, most: int = 2000) -> str:
    """The end of what a program said: so many lines and characters at most."""
    every = [line.rstrip() for line in text.strip().splitlines() if line.strip()]
    kept = "\n".join(every[-lines:])
    return kept if len(kept) <= most else "..." + kept[3 - most :]


def plain_words(detail: str, names: Mapping[str, str], work: Path) -> str:
    """Words with paths as the `names` that their files have in the folder, in `work` without it; and once what was said twice.

    A converter is given a copy of its input, of the same name in a folder of its own.
    """
    inside = re.escape(str(work))
    for path, name in sorted(names.items(), key=lambda pair: -len(pair[0])):
        detail = detail.replace(path, name)
        detail = name.join(re.split(rf"{inside}/given-\d+/{re.escape(Path(path).name)}", detail))
    detail = re.sub(rf"{inside}/[\w-]+/", "", detail)
    detail = re.sub(rf"{inside}(/[\w-]+)?", ".", detail)
    for name in set(names.values()):
        detail = detail.replace(f"{name}: it cannot be read: ", "")
    return _RULE.sub("", detail.removeprefix("it cannot be read: "))


def _longest(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
