"""The command line: `rosetta-ref demo | convert | inspect | validate | diff | verify | smoke | gate | score | compare | zoo |
shrink | replay | explain | campaign`.

Each command is a module with `add(commands)`, which declares it, and `run(arguments, console)`, which gives the exit code: 0 where
all is well, 1 where something is wrong, 2 for a command that cannot be understood.
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
from pathlib import Path
from types import ModuleType

from rosetta_ref import __version__, limits
from rosetta_ref.cli import (
    campaign,
    compare,
    convert,
    demo,
    diff,
    explain,
    gate,
    inspect,
    replay,
    score,
    shrink,
    smoke,
    validate,
    verify,
    zoo,
)
from rosetta_ref.cli.terminal import consoles, old_names_told, say_error
from rosetta_ref.errors import RosettaError

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "convert": convert,
    "inspect": inspect,
    "validate": validate,
    "diff": diff,
    "verify": verify,
    "smoke": smoke,
    "gate": gate,
    "score": score,
    "compare": compare,
    "zoo": zoo,
    "shrink": shrink,
    "replay": replay,
    "explain": explain,
    "campaign": campaign,
}


@cache
def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = argparse.ArgumentParser(
        prog="rosetta-ref", description="Convert, inspect and compare models, losing nothing."
    )
    root.add_argument("--version", action="version", version=f"rosetta-ref {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.add_argument("--limits", type=_limits, default={}, metavar="NAME=VALUE,...",
                             help="raise limits on what a file may ask for: the table is in docs/security.md")  # fmt: skip
    return root


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
    out, err = consoles(quiet=getattr(parsed, "quiet", False))
    try:
        with _ended_in_order(), _few_collections(), limits.raised(parsed.limits), old_names_told(err):
            code = int(COMMANDS[parsed.command].run(parsed, out, err))
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
