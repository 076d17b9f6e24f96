"""`rosetta-ref inspect FILE`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from rosetta_ref.archive import Archive
from rosetta_ref.cli.terminal import CELL, ROWS, print_json, print_table, say, say_each
from rosetta_ref.compare import shown
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.inspect import Block, block_of, describe, summary

_VALUES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a model file or directory")
    parser.add_argument("--tensor", metavar="NAME", help="show one block of this tensor")
    parser.add_argument("--block", type=int, metavar="K", help="which block (default 0)")
    parser.add_argument("--lenient", action="store_true", help="read GGUF that ggml refuses")
    parser.add_argument("--all", action="store_true", help="print every note, key and tensor, however many there are")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Print the description of a file, or of a block."""
    with open_archive(arguments.file, lenient=arguments.lenient) as archive:
        if arguments.tensor is not None or arguments.block is not None:
            return _run_block(archive, arguments, out, err)
        if arguments.json:
            print_json(describe(archive))
        else:
            _print_archive(archive, out, every=arguments.all)
    return 0


def _run_block(archive: Archive, arguments: argparse.Namespace, out: Console, err: Console) -> int:
    if arguments.tensor is None:
        say(err, "rosetta-ref inspect: --block needs --tensor")
        return 2
    block = block_of(archive, arguments.tensor, arguments.block or 0)
    if arguments.json:
        print_json(block.to_json())
    else:
        _print_block(block, out)
    return 0


def _print_archive(archive: Archive, out: Console, *, every: bool) -> None:
    about = summary(archive)
    size = sum(part["bytes"] for part in about["parts"])
    say(out, f"{archive.path}: {archive.format}, {len(about['parts'])} file(s), {size:,} bytes")
    types = ", ".join(f"{count} {name}" for name, count in about["types"].items())
    say(
        out,
        f"{len(archive.tensors)} tensors ({types}), {about['parameters']:,} parameters, {about['tensor_bytes']:,} bytes",
    )
    say_each(partial(say, out), (f"note: {note}" for note in archive.notes), "notes", every=every)
    cut: dict[str, Any] = {"width": CELL, "most": None if every else ROWS}
    if archive.metadata:
        rows = [(key, shown(value, CELL)) for key, value in archive.metadata.items()]
        print_table(out, f"{len(rows)} metadata keys", ("key", "value"), rows, **cut)
    tensors = [
        (
            t.name,
            t.type.name,
            " x ".join(map(str, t.shape)) or "scalar",
            f"{t.nbytes:,}",
            "" if t.offset is None else f"{t.offset:#x}",
        )
        for t in archive.tensors.values()
    ]
    headings = ("name", "type", "shape", "bytes", "offset")
    print_table(out, f"{len(tensors)} tensors", headings, tensors, right=("bytes", "offset"), **cut)


def _print_block(block: Block, out: Console) -> None:
    place = "" if block.offset is None else f", byte {block.offset:#x}"
    say(out, f"{block.tensor} [{block.type}], block {block.number} of {block.of}{place}, first element {block.first}")
    rows = [(f.name, f.type, f.offset, _grouped(f.hex), _listed(f.values)) for f in block.fields]
    print_table(out, "fields", ("field", "type", "byte", "hex", "value"), rows, right=("byte",))
    if block.decoded is None:
        say(out, f"type {block.type} has no decoder: it is carried as bytes")
        return
    say(out, f"decoded: {len(block.decoded)} elements")
    for start in range(0, min(len(block.decoded), 8 * _VALUES), 8):
        say(out, f"  {start:4}: " + " ".join(f"{value:>13.7g}" for value in block.decoded[start : start + 8]))
    if len(block.decoded) > 8 * _VALUES:
        say(out, f"  ... and {len(block.decoded) - 8 * _VALUES:,} more (--json prints all)")


def _grouped(text: str) -> str:
    pairs = [text[i : i + 2] for i in range(0, min(len(text), 512), 2)]
    return " ".join(pairs) + (" ..." if len(text) > 512 else "")


def _listed(values: list[object]) -> str:
    text = " ".join(f"{value:.7g}" if isinstance(value, float) else str(value) for value in values[:256])
    return text + (" ..." if len(values) > 256 else "")
