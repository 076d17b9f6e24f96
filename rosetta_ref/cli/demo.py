"""`rosetta-ref demo [MODEL]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL", help="a .gguf file (default: one that is installed)"
    )
    parser.add_argument("--json", action="store_true", help="print the proof as JSON")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Run the demo."""
    from rosetta_ref.demo import main

    return main(arguments.model, arguments.json, out)
