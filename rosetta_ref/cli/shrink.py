"""`rosetta-ref shrink MODEL --converter ... --to FORMAT`, or without a model `--from FORMAT`: then one is looked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.pairs import FORMATS
from rosetta_ref.units import at_least_one, seconds

if TYPE_CHECKING:
    from rosetta_ref.gate.run.workspace import Workspace
    from rosetta_ref.reduce.run import Made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL",
        help="a file or directory whose conversion is wrong; without one, inputs are drawn until one is (--from)",
    )  # fmt: skip
    parser.add_argument("--from", dest="source_format", choices=FORMATS, help="the format of the inputs that are drawn")
    parser.add_argument(
        "--examples", type=at_least_one, default=200, metavar="N", help="inputs that are drawn (default 200)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default 0)")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format that it is converted to")
    parser.add_argument("--type", type=_type, metavar="TYPE", help="the type that a quantiser is asked for")
    parser.add_argument(
        "--gate", type=_gate, metavar="ID", help="the failure of this gate, where there are several (F-CONV-003)"
    )
    parser.add_argument("--any-failure", action="store_true", help="take any failure for the same one")
    parser.add_argument(
        "--max-calls", type=at_least_one, default=400, metavar="N", help="calls of the converter (default 400)"
    )
    parser.add_argument("--max-seconds", type=seconds, default=600, metavar="S", help="seconds (default 600)")
    parser.add_argument(
        "--jobs", type=at_least_one, metavar="N", help="conversions at once (default: one for each core, for commands)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="FOLDER", help="where the folder is put (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    named.add_arguments(parser)


def _type(text: str) -> str:
    """The type that a quantiser is asked for."""
    from rosetta_ref.gate.converter.fields import type_name

    try:
        return type_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _gate(text: str) -> str:
    """A gate, by its id."""
    from rosetta_ref.gate.gates import GATES

    if text not in GATES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(GATES)}")
    return text


def _check_paths(arguments: argparse.Namespace) -> None:
    """The model is there, and a folder can be made."""
    if arguments.model is not None and not arguments.model.exists():
        raise RosettaError("there is no such file or directory", file=arguments.model)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise RosettaError("it is a file, and folders are to be put into it", file=arguments.output)


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Shrink: 0 where a folder was written, 1 where nothing is wrong with the conversion, 2 usage.

    Without a model 0 also says that no failure was found: nobody claimed that there is one.
    """
    from rosetta_ref.gate.run.workspace import Workspace
    from rosetta_ref.reduce.run import Asked
    from rosetta_ref.reduce.run import run as shrink
    from rosetta_ref.reduce.shrink import NothingFailsError

    try:
        if (arguments.model is None) == (arguments.source_format is None):
            raise RosettaError("either a MODEL is given, or inputs are drawn: --from FORMAT")
        _check_paths(arguments)
        converter = named.from_arguments(arguments)
        with Workspace() as work, err.status("converting the whole of it") as status:
            if arguments.model is None:
                status.update(f"looking for a failure in {arguments.examples:,} examples")
                arguments.model = _drawn(arguments, converter, work)
                if arguments.model is None:
                    _report_none(arguments, out)
                    return 0
            asked = Asked.of(arguments, flags=named.flags(arguments, converter.entry.name))
            made = shrink(converter, asked, on_progress=lambda search: status.update(search.progress))
    except NothingFailsError as error:
        say_error(err, str(error))
        return 1
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    _report(made, arguments, out)
    return 0


def _drawn(arguments: argparse.Namespace, converter: Converter, work: Workspace) -> Path | None:
    """A file that fails, if one was found."""
    from rosetta_ref.reduce.search.generated import generate

    return generate(
        converter, arguments.source_format, arguments.to, examples=arguments.examples, seed=arguments.seed,
        asked=arguments.type, gate=arguments.gate, work=work,
    )  # fmt: skip


def _report_none(arguments: argparse.Namespace, out: Console) -> None:
    if arguments.json:
        print_json({"folder": None, "examples": arguments.examples})
    else:
        say(out, f"no failure in {arguments.examples:,} examples")


def _report(made: Made, arguments: argparse.Namespace, out: Console) -> None:
    from rosetta_ref.reduce.folder.folder import summary

    if arguments.json:
        more = {"before": made.before, "seconds": made.seconds, "notes": made.notes, "replay": made.replay}
        print_json({**summary(made.found, made.folder, made.after), **more})
        return
    say(out, f"{made.found.fingerprint}")
    say(out, f"{made.before:,} bytes became {made.after:,} in {made.found.calls} conversions and {made.seconds:.1f} s")
    for note in made.notes:
        say(out, f"note: {note}")
    say(out, f"written: {made.folder}")
    say(out, f"show it: {made.replay}")
