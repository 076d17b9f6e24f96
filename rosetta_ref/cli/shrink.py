"""`rosetta-ref shrink MODEL --converter ... --to FORMAT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate import entries
from rosetta_ref.gate.converter import FORMATS

HELP = "from a model that comes out wrong to the smallest file that comes out wrong in the same way, in a folder of its own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file or directory whose conversion is wrong")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format that it is converted to")
    parser.add_argument("--type", metavar="TYPE", help="the type that a quantiser is asked for")
    parser.add_argument("--gate", metavar="ID", help="the failure of this gate, where there are several (F-CONV-003)")
    parser.add_argument("--any-failure", action="store_true", help="take any failure for the same one")
    parser.add_argument("--max-calls", type=int, default=400, metavar="N", help="calls of the converter (default 400)")
    parser.add_argument("--max-seconds", type=float, default=600, metavar="S", help="seconds (default 600)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="conversions at once (default: one for each core, for commands)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="FOLDER", help="where the folder is put (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    entries.add_arguments(parser)


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Shrink: 0 where a folder was written, 1 where nothing is wrong with the conversion, 2 usage."""
    from rosetta_ref.reduce.folder import summary
    from rosetta_ref.reduce.run import Asked
    from rosetta_ref.reduce.run import run as shrink
    from rosetta_ref.reduce.shrink import NothingFailsError

    try:
        converter = entries.from_arguments(arguments)
        asked = Asked.of(arguments, flags=entries.words(arguments, converter.entry.name))
        with err.status("converting the whole of it") as status:
            made = shrink(converter, asked, told=lambda search: status.update(search.progress))
    except NothingFailsError as error:
        say_error(err, str(error))
        return 1
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    if arguments.json:
        print_json(summary(made.found, made.folder))
        return 0
    say(out, f"{made.found.fingerprint}")
    say(out, f"{made.before:,} bytes became {made.after:,} in {made.found.calls} conversions and {made.seconds:.1f} s")
    for note in made.notes:
        say(out, f"note: {note}")
    say(out, f"written: {made.folder}")
    say(out, f"show it: {made.replay}")
    return 0
