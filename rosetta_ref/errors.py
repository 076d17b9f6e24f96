"""What can go wrong, and how it is said.

Every refusal is a class of its own below `RosettaError`, and the first line of its docstring is the rule it enforces,
so that a message always says which rule was broken, and where: file, tensor, byte offset.
"""

from __future__ import annotations

import inspect
import re
import traceback
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def safe(text: str) -> str:
    r"""Text from a file without what would steer the terminal.

    >>> print(safe("\x1b[2Ja name"))
    \x1b[2Ja name
    """
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


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
        place = [str(self.file)] if self.file is not None else []
        place += [f"tensor {self.tensor!r}"] if self.tensor is not None else []
        place += [f"byte {self.offset:#x}"] if self.offset is not None else []
        text = ": ".join([", ".join(place), self.problem] if place else [self.problem])
        rule = f" [{type(self).__name__}: {self.rule}]" if type(self) is not RosettaError else ""
        return text + rule + (f" {self.hint}" if self.hint else "")


def unforeseen(error: BaseException) -> str:
    """An exception that nobody meant to raise, in one line: its class, its words and where it was raised."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    return words if last is None else f"{words} ({Path(last.filename).name}, line {last.lineno})"
