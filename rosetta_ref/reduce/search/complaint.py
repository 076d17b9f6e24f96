"""What a converter says where it refuses or falls: the line that tells, and what of it is the same for every input.

Names of tensors, paths and numbers change as an input becomes smaller; the words around them do not. Types and keys are neither:
who refuses Q8_0, or misses one key, refuses something else than who refuses Q4_0, or misses another.
"""

from __future__ import annotations

import re

from rosetta_ref.gate.converter.entry import Run
from rosetta_ref.gate.converter.said import reason_of
from rosetta_ref.gate.judge.mapping import canonical_name
from rosetta_ref.quant import TYPES

#: The line behind it has the message.
_PANICKED = re.compile(r"^thread '[^']*' (?:\(\d+\) )?panicked at ")
#: What changes, most special first, and what stands in its place. The place of a panic in a source file stays.
_CHANGING = (
    (re.compile(r"0x[0-9a-fA-F]+"), "#"),
    (re.compile(r"(?:[\w.~-]*/)+([\w.-]+\.(?:rs|go|py|c|cc|cpp|h|hpp)(?::\d+)+)"), r"\1"),
    (re.compile(r"(?:[\w.~-]*/)+[\w.~-]*|[\w.~-]+\.(?:gguf|safetensors|apr)\b"), "_"),
)  # fmt: skip
#: What may be the name of a tensor: ours are letters.
_NAME = re.compile(r"(['\"`])([a-z])\1|\b[\w-]+(?:\.[\w-]+)+\b(?!:\d)")
_CODE = re.compile(r"\b(?:exit code|signal) -?\d+|\b[\w.-]+\.\w+(?::\d+)+|\b\w+\b")
#: Characters of a complaint, and of what it is made of.
_LONGEST, _LOOKED_AT = 200, 2000


def complaint(run: Run) -> str:
    """How it ended, and the line that says why; in the words of the converter.

    >>> complaint(Run("refused", 1, stderr="reading a.gguf\\nerror: Q8_0 is not supported\\n", detail="exit code 1"))
    'error: Q8_0 is not supported (exit code 1)'
    """
    line = _line(run)
    how = run.detail or run.outcome
    if not line or line in how or how in line:
        return max(line, how, key=len)
    return f"{line} ({how})"


def unchanging(words: str) -> str:
    """What is left of a complaint for every input: without names of tensors, paths and numbers.

    >>> unchanging("error: tensor 'blk.0.attn_q.weight' has 64 elements of Q8_0, want 256 (exit code 1)")
    "error: tensor '_' has # elements of Q8_0, want # (exit code 1)"
    """
    words = words[:_LOOKED_AT]
    for changing, instead in _CHANGING:
        words = changing.sub(instead, words)
    words = _NAME.sub(_named, words)
    return _CODE.sub(_number, words)[:_LONGEST]


def _named(found: re.Match[str]) -> str:
    if found[2]:
        return f"{found[1]}_{found[1]}"
    is_tensor = canonical_name(found[0]) is not None or found[0].endswith((".weight", ".bias"))
    return "_" if is_tensor else found[0]


def _number(found: re.Match[str]) -> str:
    word = found[0]
    if " " in word or ":" in word or word.upper() in TYPES or not any(letter.isdigit() for letter in word):
        return word
    return re.sub(r"\d+", "#", word)


def _line(run: Run) -> str:
    """A panic with the line behind it, which has the message; else the line that says why."""
    for said in (run.stderr, run.stdout):
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        for place, line in enumerate(lines):
            if _PANICKED.match(line):
                return " ".join(lines[place : place + 2])[:_LOOKED_AT]
    return reason_of(run)[:_LONGEST] if run.stderr.strip() or run.stdout.strip() else ""
