"""`rosetta-ref convert SRC DST`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from rich.console import Console

from rosetta_ref import units
from rosetta_ref.cli.terminal import print_json, progress_bar, say, say_each


def byte_size(text: str) -> int:
    """A number of bytes, as an argument."""
    try:
        return units.byte_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "src", type=Path, metavar="SRC", help="a .gguf, .apr or .safetensors file, an index, or a model directory"
    )
    parser.add_argument(
        "dst", type=Path, metavar="DST", help="*.gguf, *.apr, *.safetensors, or a directory for Hugging Face files"
    )
    parser.add_argument("--dtype", choices=("exact", "f32", "f16", "bf16"), default="exact",
                        help="what decoded tensors become in SafeTensors (default: the first type that loses nothing)")  # fmt: skip
    parser.add_argument("--type", metavar="TYPE",
                        help="re-encode float tensors as llama.cpp's mix of that name (q4_k_m, q8_0, ...)")  # fmt: skip
    parser.add_argument("--pure", action="store_true", help="all of them to the one type, without the mix's exceptions")
    parser.add_argument("--imatrix", type=Path, metavar="FILE",
                        help="weigh columns by this importance matrix, a GGUF file of llama-imatrix")  # fmt: skip
    parser.add_argument("--no-keep-blocks", dest="keep_blocks", action="store_false",
                        help="do not keep the original blocks and metadata in rosetta/ beside SafeTensors weights")  # fmt: skip
    parser.add_argument("--no-extra-keys", dest="extra_keys", action="store_false",
                        help="do not carry what the target has no place for under rosetta.* keys")  # fmt: skip
    parser.add_argument("--apr-native", action="store_true", help="decode the types that APR has no code for")
    parser.add_argument("--keep-names", action="store_true", help="carry tensors as stored, whatever the architecture")
    parser.add_argument("--lenient", action="store_true", help="read and write GGUF that ggml refuses")
    parser.add_argument("--max-shard-size", type=byte_size, default=5_000_000_000, metavar="SIZE",
                        help="cut SafeTensors into files of at most this size (default 5GB)")  # fmt: skip
    parser.add_argument(
        "--checksums", type=Path, metavar="FILE", help="write SHA-256 per tensor, before and after, as JSON"
    )
    parser.add_argument("--verify", action="store_true",
                        help="ask both models the same questions before the target gets its name")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing target")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Convert, and print what was done."""
    from rosetta_ref.convert import convert

    apart = ("command", "src", "dst", "json", "quiet", "limits")
    options = {key: value for key, value in vars(arguments).items() if key not in apart}
    if options.pop("verify"):
        from rosetta_ref.verify import verifier

        exact = arguments.type is None and arguments.dtype == "exact"
        options["verify"] = verifier(lossless=True if exact else None)
    with progress_bar(err, quiet=arguments.quiet or arguments.json) as progress:
        report = convert(arguments.src, arguments.dst, progress=progress, **options)
    if arguments.json:
        print_json(report.to_json())
    else:
        say_each(partial(say, out), report.lines(), "lines", rest="--json")
    return 0
