"""The command line: `rosetta-ref demo | convert | inspect | validate | diff | verify | smoke | gate | score | merge | compare |
zoo | shrink | replay | explain | campaign`.

Each command is a module with `add_arguments(parser)`, which declares its arguments, and `run(arguments, out, err)`, which gives the
exit code: 0 where all is well, 1 where something is wrong, 2 for a command that cannot be understood. A module is loaded only when
its command is asked for, and loads what it works with when it runs.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.version import __version__

#: What each command is for. Its module has its name, and is loaded when the command is asked for.
COMMANDS = {
    "demo": "take a model around the circle GGUF, APR, SafeTensors, GGUF and print the proof that nothing was lost",
    "convert": "convert a model between GGUF, APR and SafeTensors; the suffix of DST says what to write",
    "inspect": "show what a file holds: header, metadata, tensors; or one block, field by field",
    "validate": "check structure and numbers: NaN, Inf, explosion; exit 1 and the places where something is wrong",
    "diff": "compare two models of any format, tensor by tensor; exit 1 where they differ",
    "verify": "ask a model and what was made of it the same questions; exit 1 where the answers differ, and name the weight to "
    "blame",
    "smoke": "ask a converter what it takes: pairs, architectures, types, files or directories, and how long one call lasts",
    "gate": "judge a converter: every pair, chain and malformed file, with evidence and a score; exit 1 for anything unexpected",
    "score": "give evidence its Model Qualification Score, ours or another project's; exit 1 below 70",
    "merge": "put the parts of a run of the gate together, `gate --part 1/3` and so on: the verdict that one run would have had",
    "compare": "compare two runs of the gate: fixed, broken, new, gone; exit 1 where something broke",
    "zoo": "does the gate see the bugs that really happened? which gate kills which bad converter; exit 1 when one survives",
    "shrink": "from a model that comes out wrong to the smallest file that comes out wrong in the same way, in a folder of its own",
    "replay": "convert the input of a folder that shrink or the gate left: FIXED (0), FAILED or FAILED DIFFERENTLY (1), ERROR (2)",
    "explain": "print every byte of a folder's input and output under its field's name, and what differs, in colour",
    "campaign": "run very many broken inputs through every command, and count what goes wrong; exit 1 where anything does",
}


@cache
def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser(
        prog="rosetta-ref", description="Convert, inspect and compare models, losing nothing."
    )
    root.add_argument("--version", action="version", version=f"rosetta-ref {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_CommandParser)
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, description=about).command = name
    return root


class _CommandParser(argparse.ArgumentParser):
    """The parser of one command. It loads the command's module, which declares the arguments, when it is first used."""

    command: str | None = None

    def parse_known_args(self, *arguments: Any, **named: Any) -> Any:
        """Parse."""
        self._declare()
        return super().parse_known_args(*arguments, **named)

    def format_help(self) -> str:
        """The help of the command."""
        self._declare()
        return super().format_help()

    def _declare(self) -> None:
        if self.command is not None:
            name, self.command = self.command, None
            module_of(name).add_arguments(self)
            self.add_argument("--limits", type=_limits, default={}, metavar="NAME=VALUE,...",
                              help="raise limits on what a file may ask for: the table is in docs/security.md")  # fmt: skip


def module_of(command: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"{__name__}.{command}")


def _limits(text: str) -> dict[str, int]:
    """Limits that are raised, as an argument."""
    try:
        return limits.parse(text)
    except limits.UnknownLimitError as error:
        raise argparse.ArgumentTypeError(f"{error.problem}. {error.hint or ''}") from None


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Asked to end, remove what is temporary and kill the converters that run: by default Python would leave both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for garbage in cycles less often: a file of many small tensors makes many objects, and none is garbage."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Errors are one message on standard error, never a traceback."""
    parsed = parser().parse_args(arguments)
    from rosetta_ref.cli.terminal import consoles, old_names_told, say_error

    out, err = consoles(quiet=getattr(parsed, "quiet", False))
    try:
        with _ended_in_order(), _few_collections(), limits.raised(parsed.limits), old_names_told(err):
            code = int(module_of(parsed.command).run(parsed, out, err))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough. Python would complain again on its way out, unless there is nowhere to complain to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say_error(err, "interrupted")
        return 130
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 1
    except MemoryError:
        say_error(err, f"{_files(parsed)}: out of memory")
        return 1
    except RecursionError:
        say_error(err, f"{_files(parsed)}: values are nested too deeply")
        return 1
    return code


def _files(parsed: argparse.Namespace) -> str:
    """The files that a command was given, for an error that knows nothing better."""
    given = [each for value in vars(parsed).values() for each in (value if isinstance(value, list) else [value])]
    return ", ".join(str(each) for each in given if isinstance(each, Path)) or parsed.command
