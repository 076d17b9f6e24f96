"""`rosetta-ref validate FILE...`."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, progress_bar, say, say_each, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.validate import Report, validate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="model files or directories")
    parser.add_argument("--lenient", action="store_true", help="read GGUF that ggml refuses")
    parser.add_argument("--all", action="store_true", help="print every finding and note, however many there are")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Validate every file, whatever the others are like."""
    results: list[dict[str, Any]] = []
    for path in arguments.files:
        try:
            report = _validate(path, arguments, err)
        except (RosettaError, OSError) as error:
            results.append({"path": str(path), "ok": False, "error": type(error).__name__, "message": str(error)})
            say_error(err, str(error))
            continue
        results.append(report.to_json() | {"path": str(path)})
        if not arguments.json:
            _print(report, path, out, err, every=arguments.all)
    if arguments.json:
        print_json(results)
    return 0 if results and all(result["ok"] for result in results) else 1


def _validate(path: Path, arguments: argparse.Namespace, err: Console) -> Report:
    quiet = arguments.quiet or arguments.json
    with open_archive(path, lenient=arguments.lenient) as archive, progress_bar(err, quiet=quiet) as bar:
        if bar is not None:
            bar.total(sum(tensor.nbytes for tensor in archive.tensors.values()), "validating")
        return validate(archive, progress=None if bar is None else bar.advance)


def _print(report: Report, path: Path, out: Console, err: Console, *, every: bool) -> None:
    say_each(partial(say_error, err), report, "findings", every=every)
    verdict = "ok" if report.ok else f"{len(report)} finding(s)"
    say(
        out,
        f"{path}: {verdict}: {report.judged} tensors, {report.elements:,} elements judged, {len(report.not_judged)} not judged",
    )
    kinds = ", ".join(sorted(set(report.not_judged.values())))
    notes = [f"not judged, since there is no decoder: {kinds}"] if kinds else []
    zeros = (f"tensor {name!r} is all zeros" for name in report.all_zero)
    say_each(partial(say, out), (f"note: {note}" for note in chain(notes, report.notes, zeros)), "notes", every=every)
