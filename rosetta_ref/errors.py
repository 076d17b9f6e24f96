"""What can go wrong, and how it is said.

Every refusal is a class of its own below `RosettaError`, and the first line of its docstring is the rule it enforces,
so that a message always says which rule was broken, and where: file, tensor, byte offset.
"""

from __future__ import annotations

import inspect
import re
import traceback
from pathlib import Path

#: What is not shown as it is: control characters, halves of surrogate pairs, what ends a line (U+0085, U+2028, U+2029), and marks
#: that turn the direction of what follows (Unicode's Bidi_Control).
_STEERING = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[{_STEERING}]")
_CONTROL_OR_LINE = re.compile(f"[{_STEERING}\t\n]")
#: What a CI service takes for a command: `::error::` where a line begins (GitHub trims blanks first, as Unicode has them), `##[`
#: anywhere in it, and Azure's `##vso[`.
_COMMAND = re.compile(r"(?m)^([^\S\n]*):(?=:)|##(?=\[|vso\[)")


def safe(text: str) -> str:
    r"""Text from a file without what would steer the terminal, or whoever reads a log. Line ends stay.

    >>> print(safe("\x1b[2Ja name"))
    \x1b[2Ja name
    >>> print(safe("::error::forged"))
    \x3a:error::forged
    """
    return _COMMAND.sub(_disarmed, _CONTROL.sub(_escaped, text))


def safe_line(text: str, most: int | None = None) -> str:
    r"""The same in one line, cut after `most` characters: for names, and for words in the middle of a sentence.

    >>> print(safe_line("a\n::error::b"), safe_line("abcdef", 4))
    a\n::error::b abcd... (6 characters)
    """
    cut = text if most is None or len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
    return _COMMAND.sub(_disarmed, _CONTROL_OR_LINE.sub(_escaped, cut))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in "\t\n":
        return "\\t" if match[0] == "\t" else "\\n"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _disarmed(match: re.Match[str]) -> str:
    return "#\\x23" if match[0] == "##" else f"{match[1]}\\x3a"


#: Characters of one part of a message, or of a name: a file may hold names of many megabytes.
SHOWN = 2_000


class RosettaError(Exception):
    """The base of every error that this package raises on purpose."""

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        tensor: str | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.file = file
        self.tensor = tensor
        self.offset = offset
        self.hint = hint

    @property
    def rule(self) -> str:
        """The rule that was broken: the first paragraph of the class's docstring."""
        return (inspect.getdoc(type(self)) or "").split("\n\n")[0].replace("\n", " ")

    def at(
        self, *, file: str | Path | None = None, tensor: str | None = None, offset: int | None = None
    ) -> RosettaError:
        """Fill in the parts of the place that the raiser did not know; return the same error."""
        self.file = self.file if self.file is not None else file
        self.tensor = self.tensor if self.tensor is not None else tensor
        self.offset = self.offset if self.offset is not None else offset
        return self

    def __str__(self) -> str:
        place = [safe_line(str(self.file), SHOWN)] if self.file is not None else []
        place += [f"tensor {safe_line(repr(self.tensor[:SHOWN]), SHOWN)}"] if self.tensor is not None else []
        place += [f"byte {self.offset:#x}"] if self.offset is not None else []
        problem = safe_line(self.problem, SHOWN)
        text = ": ".join([", ".join(place), problem] if place else [problem])
        rule = f" [{type(self).__name__}: {self.rule}]" if type(self) is not RosettaError else ""
        return text + rule + (f" {safe_line(self.hint, SHOWN)}" if self.hint else "")


def unforeseen(error: BaseException) -> str:
    """An exception that nobody meant to raise, in one line: its class, its words and where it was raised."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    return words if last is None else f"{words} ({Path(last.filename).name}, line {last.lineno})"
