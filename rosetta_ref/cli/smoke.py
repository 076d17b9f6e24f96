"""`rosetta-ref smoke --converter ...`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from rosetta_ref.cli.terminal import print_json, print_table, say, say_error
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.smoke.attempt import Attempt
from rosetta_ref.gate.smoke.paste import as_toml
from rosetta_ref.gate.smoke.smoke import Findings, failures, smoke


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    named.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Try the converter, and print what was found: 1 where nothing works, 2 where there is no converter to try."""
    try:
        converter = named.from_arguments(arguments)
    except (RosettaError, OSError) as error:
        say_error(err, str(error))
        return 2
    with err.status("") as status:
        found = smoke(
            converter, seed=arguments.seed, said=lambda each: status.update(f"{each.pair} with {each.sample}")
        )
    if arguments.json:
        print_json(as_json(found))
    else:
        _print(found, out)
    if not found.works:
        say_error(err, f"{found.entry.name} converts nothing: {_last_words(found)}")
    return 0 if found.works else 1


def as_json(found: Findings) -> dict[str, Any]:
    """What was found, as JSON."""
    entry = found.entry
    return {
        "converter": entry.name, "command": entry.command, "function": entry.function, "works": found.works,
        "pairs": _answers(found.pairs), "architectures": _answers(found.architectures),
        "tokenizers": _answers(found.tokenizers), "rope_scaling": _answers(found.rope_scaling),
        "arbitrary": _answers(found.arbitrary), "whole_models": found.whole_models, "safetensors": _answers(found.forms),
        "types": {pair: _answers(types) for pair, types in found.types.items()}, "quantises": _answers(found.quantises),
        "seconds": round(found.seconds, 4), "memory": found.memory, "calls": len(found.attempts),
        "contradictions": found.contradictions(), "entry": as_toml(found),
    }  # fmt: skip


def _answers(attempts: Mapping[str, Attempt]) -> dict[str, Any]:
    return {name: _answer(each) for name, each in attempts.items()}


def _answer(each: Attempt) -> dict[str, Any]:
    return {
        "works": each.works, "outcome": each.run.outcome, "reason": each.reason, "exit_code": each.run.exit_code,
        "input": each.sample, "types": dict(each.output.types) if each.output else {},
        "seconds": round(each.run.seconds, 4), "memory": each.run.memory,
    }  # fmt: skip


def _print(found: Findings, out: Console) -> None:
    entry = found.entry
    say(out, f"{entry.name}: {entry.command or entry.function}")
    rows = [
        (pair, "works" if each.works else "no", each.sample, f"{each.run.seconds:.3f}", str(each.output or "") or each.reason)
        for pair, each in found.pairs.items()
    ]  # fmt: skip
    print_table(out, "pairs", ("pair", "", "input", "seconds", "what came of it"), rows, right=("seconds",))
    if not found.works:
        return
    for title, attempts in (
        ("architectures", found.architectures), ("tokenizers", found.tokenizers), ("rope scaling", found.rope_scaling),
        ("tensors that are no model", found.arbitrary), ("SafeTensors", found.forms),
        *((f"types, {pair}", types) for pair, types in found.types.items()), ("types when asked", found.quantises),
    ):  # fmt: skip
        _print_answers(out, title, attempts)
    size = f", at most {found.memory / 2**20:,.0f} MiB" if found.memory else ""
    say(
        out,
        f"one call: {found.seconds:.3f} s (median of {sum(each.works for each in found.attempts)} that worked){size}",
    )
    for line in found.contradictions():
        say(out, f"note: {line}")
    say(out, "the entry, for a rosetta.toml:")
    for line in as_toml(found).splitlines():
        say(out, f"  {line}")


def _print_answers(out: Console, title: str, attempts: Mapping[str, Attempt]) -> None:
    if not attempts:
        return
    yes = [name for name, each in attempts.items() if each.works]
    say(out, f"{title}: {', '.join(yes) or 'none'}")
    for names, reason in failures(attempts):
        say(out, f"  not {', '.join(names)}: {reason}")


def _last_words(found: Findings) -> str:
    """The most telling of the failures: a run that fell, before one that refused."""
    order = {"crashed": 0, "timeout": 1, "accepted": 2, "refused": 3}
    return min(found.pairs.values(), key=lambda each: order[each.run.outcome]).reason
