"""`rosetta-ref diff A B`."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from rosetta_ref import foreign
from rosetta_ref.archive import Archive
from rosetta_ref.cli.terminal import CELL, ROWS, print_json, print_table, progress_bar, say, say_each
from rosetta_ref.compare import Comparison, compare
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.registry import of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", type=Path, metavar="A", help="a model file or directory")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    parser.add_argument(
        "--as-stored", action="store_true", help="pair tensors by their stored names, without the architecture"
    )
    parser.add_argument("--no-metadata", dest="metadata", action="store_false", help="compare tensors only")
    parser.add_argument("--lenient", action="store_true", help="read GGUF that ggml refuses")
    parser.add_argument("--all", action="store_true", help="print every difference and note, however many there are")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Compare, and print what differs."""
    quiet = arguments.quiet or arguments.json
    with (
        _open(arguments.a, arguments) as a,
        _open(arguments.b, arguments) as b,
        progress_bar(err, quiet=quiet) as bar,
    ):
        if bar is not None:
            bar.total(sum(tensor.nbytes for tensor in a.tensors.values()), "comparing")
        advance = None if bar is None else bar.advance
        left, right = _sides(a, b, as_stored=arguments.as_stored)
        same = a.format == b.format
        result = compare(left, right, metadata=arguments.metadata, same_format=same, progress=advance)
    if arguments.json:
        print_json(result.to_json())
    else:
        _print(result, arguments, out)
    return 0 if result.same else 1


def _open(path: Path, arguments: argparse.Namespace) -> Archive:
    """An APR file is always read leniently: one tensor of a wrong size is to be told, beside all others that differ."""
    return open_archive(path, lenient=arguments.lenient or of(sniff(path)).keeps_ill_fitting)


def _sides(a: Archive, b: Archive, *, as_stored: bool) -> tuple[Archive, Archive]:
    if as_stored or comparable(a, b):
        return with_companions(a), with_companions(b)
    return _named(canonical, a), _named(canonical, b)


def _named(function: Callable[[Archive], Archive], archive: Archive) -> Archive:
    """What a function makes of an archive: its refusals name the file."""
    try:
        return function(archive)
    except RosettaError as error:
        raise error.at(file=archive.path)  # noqa: B904 (it is the same error)


def comparable(a: Archive, b: Archive) -> bool:
    """Whether stored names mean the same on both sides: one format, and a name in common."""
    return a.format == b.format and not a.tensors.keys().isdisjoint(b.tensors)


def canonical(archive: Archive) -> Archive:
    """The model that a file stands for, in GGUF's names, row order and metadata."""
    makes = {"apr": _canonical_of_apr, "safetensors": _canonical_of_directory}.get(archive.format)
    return archive if makes is None else makes(archive)


def _canonical_of_apr(archive: Archive) -> Archive:
    from rosetta_ref.architectures import aprender

    return aprender.from_apr(archive)


def _canonical_of_directory(archive: Archive) -> Archive:
    """The weights as they are; the metadata that was kept beside them, where it still speaks for the files there."""
    from rosetta_ref.architectures import huggingface
    from rosetta_ref.convert.kept import read_kept
    from rosetta_ref.convert.source import companion_files, metadata_of

    assert archive.path is not None
    folder = archive.path.parent if archive.path.is_file() else archive.path
    files = companion_files(folder)
    model = huggingface.from_huggingface(archive, files)
    known = read_kept(archive, folder, files, model.notes)
    if known is not None:
        model.metadata = metadata_of(known, archive, files, model.notes)
    return model


def with_companions(archive: Archive) -> Archive:
    """SafeTensors with what the files beside say as metadata: each key of a JSON object, the digest of anything else."""
    from rosetta_ref.convert.source import companion_files

    if not of(archive.format).has_companions or archive.path is None:
        return archive
    said: dict[str, Any] = {}
    for name, data in companion_files(archive.path).items():
        try:
            content = foreign.json_of(data, constants=True, twice=True)
        except foreign.ForeignTextError:
            content = None
        if isinstance(content, dict):
            said |= {f"{name}: {key}": value for key, value in content.items()}
        else:
            said[name] = f"SHA-256 {hashlib.sha256(data).hexdigest()}"
    return replace(archive, metadata=archive.metadata | said)


def _print(result: Comparison, arguments: argparse.Namespace, out: Console) -> None:
    line, every = partial(say, out), arguments.all
    for what, names in (("only in A", result.only_a), ("only in B", result.only_b)):
        say_each(line, (f"tensor {name!r}: {what}" for name in names), f"tensors {what}", every=every)
    say_each(line, result.differences, "tensors that differ", every=every)
    rows = [(key, ours, theirs) for key, (ours, theirs) in result.metadata_differ.items()]
    rows += [(key, "only here", "") for key in result.metadata_only_a]
    rows += [(key, "", "only here") for key in result.metadata_only_b]
    if rows:
        print_table(
            out, "metadata", ("key", str(arguments.a), str(arguments.b)), rows, width=CELL, most=None if every else ROWS
        )
    say_each(line, (f"note: {note}" for note in result.notes), "notes", every=every)
    retyped = f", {len(result.types)} of them of another type" if result.types else ""
    say(out, f"{'same' if result.same else 'DIFFERENT'}: {result.equal} of {result.compared} tensors equal{retyped}, "
             f"{len(result.only_a)} only in A, {len(result.only_b)} only in B, {result.metadata_compared} metadata keys compared, "
             f"{len(result.metadata_differ)} differ")  # fmt: skip
