"""`rosetta-ref replay FOLDER --converter ...`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, say, say_error
from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.gate.converter import named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with an expected.json")
    parser.add_argument("--keep", type=Path, metavar="PATH", help="where to leave what came of it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    named.add_arguments(parser)


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Replay: the exit code says how it went; 2 also for what cannot be replayed."""
    from rosetta_ref.reduce.folder.replay import replay

    try:
        converter = named.from_arguments(arguments)
        found = replay(arguments.folder, converter, keep=arguments.keep, safetensors_as=arguments.safetensors_as)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    if arguments.json:
        fingerprint = found.expected.fingerprint.as_json()
        print_json(
            {"word": found.word, "detail": found.detail, "fingerprint": fingerprint, "exit_code": found.exit_code}
        )
    else:
        say(out, f"{found.word}: {safe_line(found.detail, SHOWN)}")
    return found.exit_code
