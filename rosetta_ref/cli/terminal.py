"""What the commands print with: consoles, JSON, tables, a progress bar that is quiet when nobody watches."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from rosetta_ref.errors import SHOWN, safe_line
from rosetta_ref.gate.names import OldNameWarning

#: Lines of one kind, and rows of a table, that are printed unless --all asks for the rest: a file decides how many there are.
LINES, ROWS = 1_000, 2_000

#: Characters of a cell in a table of what a file holds.
CELL = 100

#: Characters of JSON that are printed with line ends.
_PAGES = 1 << 18


def consoles(*, quiet: bool = False) -> tuple[Console, Console]:
    """Consoles for standard output and standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names from a file may be anything
    width = None if sys.stdout.isatty() else 140
    return Console(quiet=quiet, highlight=False, width=width), Console(stderr=True, highlight=False, soft_wrap=True)


def say(console: Console, text: str) -> None:
    """Print one line as it is."""
    console.print(Text(safe_line(text)), soft_wrap=True)


def say_error(console: Console, text: str) -> None:
    """Print an error."""
    console.print(Text.assemble(("error: ", "bold red"), safe_line(text)), soft_wrap=True)


@contextmanager
def old_names_told(console: Console) -> Iterator[None]:
    """Print warnings about old names in files as lines like any other, without a place in our code."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, OldNameWarning):
            console.print(Text.assemble(("warning: ", "bold yellow"), safe_line(str(message))), soft_wrap=True)
        else:
            before(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def say_each(
    say_one: Callable[[str], None], lines: Iterable[object], what: str, *, every: bool = False, rest: str = "--all"
) -> None:
    """Print lines that a file decides the number of: all of them, or the first thousand and how many `what` there are more.

    `rest` is the option that gives the others.
    """
    count = 0
    for count, line in enumerate(lines, 1):
        if every or count <= LINES:
            say_one(safe_line(str(line), SHOWN))
    if not every and count > LINES:
        say_one(f"... and {count - LINES:,} more {what} ({rest} prints them)")


def print_json(value: Any) -> None:
    """Print a value as JSON, which has no NaN: indented, unless that would be many pages."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, default=str)
    if len(text) <= _PAGES:
        text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False, default=str)
    for command in ("##[", "##vso["):  # which CI services take for one
        text = text.replace(command, command.replace("##", r"#\u0023"))
    sys.stdout.write(text + "\n")


def print_table(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: Sequence[str] = (),
    *,
    width: int = SHOWN,
    most: int | None = None,
) -> None:
    """Print a table: framed on a terminal, else aligned columns of plain text, one line a row. `right` names numbers.

    Cells are cut after `width` characters, and of the rows the first `most` are printed.
    """
    left_out = 0 if most is None else max(len(rows) - most, 0)
    cells = [[safe_line(str(cell), width) for cell in row] for row in rows[: len(rows) - left_out]]
    _print_cells(console, title, headings, cells, right)
    if left_out:
        say(console, f"  ... and {left_out:,} more rows (--all prints them)")


def _print_cells(
    console: Console, title: str, headings: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]
) -> None:
    if console.is_terminal:
        console.print(_framed(title, headings, cells, right))
    elif not console.quiet:
        lines = [list(headings), *cells]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        sys.stdout.write(safe_line(title) + "\n")
        for line in lines:
            padded = (
                cell.rjust(width) if heading in right else cell.ljust(width)
                for cell, width, heading in zip(line, widths, headings, strict=True)
            )
            sys.stdout.write("  " + "  ".join(padded).rstrip() + "\n")


def _framed(title: str, headings: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> Table:
    made = Table(title=Text(safe_line(title)), title_justify="left")
    for heading in headings:
        made.add_column(Text(safe_line(heading)), justify="right" if heading in right else "left", overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    return made


class Bar:
    """A progress bar over bytes: `total` begins a stretch of work, `advance` counts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: Any = None

    def total(self, nbytes: int, what: str) -> None:
        """A new stretch of work begins."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=nbytes)

    def advance(self, nbytes: int) -> None:
        """That many bytes of it are done."""
        if self._task is not None:
            self._progress.advance(self._task, nbytes)


@contextmanager
def progress_bar(console: Console, *, quiet: bool) -> Iterator[Bar | None]:
    """A bar on a terminal, None elsewhere."""
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)
