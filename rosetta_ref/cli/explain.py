"""`rosetta-ref explain FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import say_error
from rosetta_ref.errors import RosettaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with an expected.json")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Explain: 2 for a folder that is none."""
    from rosetta_ref.reduce.folder import annotate
    from rosetta_ref.reduce.folder.expected import load

    try:
        out.print(annotate.rendered(arguments.folder, load(arguments.folder)), soft_wrap=True)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    return 0
