"""`rosetta-ref verify SRC DST`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, print_table, say, say_error
from rosetta_ref.errors import RosettaError

#: What `--engine` takes, and the engines that it means beside numpy, which always judges.
_ENGINES = {
    "numpy": ("numpy",), "llama.cpp": ("numpy", "llama.cpp"), "both": ("numpy", "llama.cpp"),
    "transformers": ("numpy", "transformers"), "mlx-lm": ("numpy", "mlx-lm"),
}  # fmt: skip


def limit(text: str) -> tuple[str, float]:
    """A figure and its limit.

    >>> limit("top1=0.9")
    ('top1', 0.9)
    """
    name, equals, value = text.partition("=")
    try:
        return name.strip(), float(value) if equals else float("nan")
    except ValueError:
        raise argparse.ArgumentTypeError(f"not NAME=NUMBER: {text!r}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("src", type=Path, metavar="SRC", help="the model that was converted")
    parser.add_argument("dst", type=Path, metavar="DST", help="what was made of it")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT",
                        help="ask this, after the first built-in question, instead of the others; may be repeated")  # fmt: skip
    parser.add_argument("--text", type=Path, metavar="FILE", help="compare the logits over this text as well")
    parser.add_argument("-n", dest="count", type=int, default=32, metavar="N", help="tokens of an answer (default 32)")
    parser.add_argument("--engine", choices=tuple(_ENGINES), default="numpy",
                        help="numpy (the default) reads every format and always judges; others join it where they can")  # fmt: skip
    claim = parser.add_mutually_exclusive_group()
    claim.add_argument("--lossless", action="store_true", help="nothing may be lost, whatever the types are")
    claim.add_argument("--lossy", type=float, metavar="LIMIT",
                       help="an approximation, of at most this mean KL divergence in nats (default: by type)")  # fmt: skip
    parser.add_argument("--limit", type=limit, action="append", default=[], metavar="NAME=VALUE",
                        help="a limit of an approximation: mean_kl, kl_p99, top1, logit or perplexity")  # fmt: skip
    parser.add_argument("--no-blame", dest="blame", action="store_false", help="do not look for the weight to blame")
    parser.add_argument(
        "--evidence", type=Path, metavar="FILE", help="write evidence for the gate F-CONV-BE-001 as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Verify, and print what was found. Errors of the run, in which nothing was judged, give 2."""
    from rosetta_ref import evidence
    from rosetta_ref.verify import verify
    from rosetta_ref.verify.gate import evidence_of

    limits = dict(arguments.limit)
    if arguments.lossy is not None:
        limits["mean_kl"] = arguments.lossy
    try:
        report = verify(
            arguments.src,
            arguments.dst,
            prompts=arguments.prompt,
            text=arguments.text,
            count=arguments.count,
            engines=_ENGINES[arguments.engine],
            lossless=True if arguments.lossless else False if limits else None,
            limits=limits,
            blame=arguments.blame,
        )
        if arguments.evidence is not None:
            evidence.write(arguments.evidence, evidence_of(report))
    except (RosettaError, OSError) as error:  # what is wrong with the converted model stands in the report
        say_error(err, str(error))
        return 2
    if arguments.json:
        print_json(report.to_json())
    else:
        _print(report, out, err)
    return 0 if report.same else 1


def _print(report: Any, out: Console, err: Console) -> None:
    names = ("mean_kl", "kl_p99", "top1", "logit", "perplexity")
    titles = ("mean KL", "99 % KL", "same best", "largest difference", "perplexity")
    rows = [_row(name, figures, names) for name, figures in report.figures.items()]
    rows += [_row(f"limit ({report.claim})", row, names) for row in report.limits.values()]
    print_table(out, f"{report.source} and {report.target}: {report.claim}", ("engine", *titles), rows, right=titles)
    for engine, answer in report.answer.items():
        say(out, f"What is 2+2? ({engine}): {answer}")
    for failure in report.failures:
        say_error(err, str(failure))
    for line in report.blame.lines() if report.blame is not None else ():
        say(out, f"blame: {line}")
    for note in report.notes:
        say(out, f"note: {note}")
    counted = ", ".join(f"{count:,} {what}" for what, count in report.counts.items())
    say(
        out,
        f"{'same' if report.same else 'DIFFERENT'}: {len(report.failures)} failures; {counted}; {report.seconds:.1f} s",
    )


def _row(name: str, figures: dict[str, float], names: tuple[str, ...]) -> list[str]:
    shown = [f"{100 * figures[n]:.1f} %" if n == "top1" else f"{figures[n]:.2g}" for n in names[:-1]]
    return [name, *shown, f"{100 * figures['perplexity']:+.2f} %"]
