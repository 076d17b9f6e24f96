"""What a file may ask for: every limit in one table, which `--limits NAME=VALUE` raises.

A file from a stranger says how long its strings are, how deep its JSON nests and how far its data is padded. Nothing of that
becomes an allocation or a loop before it was held against this table. The limits lie far above what real models need; `why` says
how far.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rosetta_ref.errors import RosettaError
from rosetta_ref.units import byte_size


class LimitExceededError(RosettaError):
    """What a file asks for stays within the limits of docs/security.md."""


class UnknownLimitError(RosettaError):
    """A limit that is raised is NAME=VALUE: a name of docs/security.md, and a number or a size such as 2GiB."""


@dataclass(frozen=True)
class Limit:
    """One row: `most` is the largest value that is let pass; `unit` is bytes, seconds or what is counted."""

    name: str
    most: int
    unit: str
    about: str
    why: str


_MIB = 1 << 20

TABLE: Mapping[str, Limit] = MappingProxyType(
    {
        row.name: row
        for row in (
            Limit("companion-bytes", 256 * _MIB, "bytes", "one configuration or tokenizer file",
                  "Gemma 3's tokenizer.json has 33 MB"),
            Limit("inflated-bytes", 256 * _MIB, "bytes", "all companions that one model remembers, inflated",
                  "as for one file"),
            Limit("inflated-ratio", 64, "times", "a remembered companion against its deflated bytes, from 1 MiB on",
                  "tokenizers deflate to a fifth, zlib goes to a thousandth"),
            Limit("json-depth", 64, "levels", "JSON, YAML and TOML within each other", "tokenizer.json has 8"),
            Limit("record-bytes", 64 * _MIB, "bytes", "evidence, result.json, expected.json",
                  "the evidence of a full run has 3 MB"),
            Limit("yaml-bytes", 4 * _MIB, "characters", "a file of expectations", "those of released converters have 26 kB"),
            Limit("toml-bytes", _MIB, "bytes", "a rosetta.toml or pyproject.toml", "they have some kB"),
            Limit("alignment", 1 << 16, "bytes", "general.alignment of GGUF", "files in use have 32"),
            Limit("metadata-keys", 1 << 16, "keys", "metadata of one file", "models have some 50"),
            Limit("template-seconds", 2, "seconds", "CPU time of all that is asked of a tokenizer, or of a chat template once; "
                  "half a second more for each MiB of tokenizer.json", "SmolLM2's tokenizer takes 0.5 s"),
            Limit("template-bytes", 192 * _MIB, "bytes", "memory of a tokenizer or a chat template; 24 more for each of "
                  "tokenizer.json", "SmolLM2's tokenizer, of 2 MB, takes 60 MB"),
            Limit("template-length", _MIB, "characters", "a chat template", "the longest in use have some 30,000"),
            Limit("answer-seconds", 1, "seconds", "CPU time of the answers of a model of less than a MiB; 8 seconds more for "
                  "each MiB, and more for long texts of one's own", "small models take 0.1 s, SmolLM2 (88 MB) 30 s of 700"),
            Limit("answer-bytes", 64 * _MIB, "bytes", "values or logits that a model computes at once; 16 more for each byte of "
                  "its weights", "SmolLM2 takes 60 MB of 1,470"),
            Limit("prompt-tokens", 4096, "tokens", "a prompt of a model, beyond one for each byte of what is asked",
                  "Command R's chat template adds some 1,000"),
            Limit("vocabulary", 1 << 22, "tokens", "vocab_size", "Gemma 3 has 262,144"),
            Limit("template-output", 4 * _MIB, "characters", "what a tokenizer or a chat template answers; or half as many tokens",
                  "Gemma 3 has 262,144 tokens"),
        )
    }
)  # fmt: skip

#: The limits in force: those of the table, unless `raised`. One for the whole process, since threads share the work.
_now = {name: row.most for name, row in TABLE.items()}


def of(name: str) -> int:
    """The limit in force."""
    return _now[name]


def require(
    name: str,
    amount: int,
    what: str,
    *,
    file: str | Path | None = None,
    tensor: str | None = None,
    offset: int | None = None,
) -> None:
    """Raise LimitExceededError where `what` asks for more than that limit allows."""
    if amount > of(name):
        raise exceeded(name, f"{what}: {amount:,} {TABLE[name].unit}", file=file, tensor=tensor, offset=offset)


def exceeded(
    name: str, problem: str, *, file: str | Path | None = None, tensor: str | None = None, offset: int | None = None
) -> LimitExceededError:
    """The error of a limit, for whoever finds out in another way that it is passed."""
    return LimitExceededError(
        f"{problem}, where {of(name):,} {TABLE[name].unit} are allowed",
        file=file, tensor=tensor, offset=offset, hint=f"--limits {name}=... raises it.",
    )  # fmt: skip


@contextlib.contextmanager
def raised(changes: Mapping[str, int]) -> Iterator[None]:
    """Other limits, as long as the block runs; of the whole process, not of this thread alone."""
    before = dict(_now)
    _now.update(changes)
    try:
        yield
    finally:
        _now.update(before)


def parse(text: str) -> dict[str, int]:
    """`NAME=VALUE`, or several with commas between. Raises UnknownLimitError.

    >>> parse("json-depth=500,companion-bytes=1GiB")
    {'json-depth': 500, 'companion-bytes': 1073741824}
    """
    found: dict[str, int] = {}
    for part in filter(None, re.split(r"[,\s]+", text)):
        name, _, value = part.partition("=")
        if name not in TABLE:
            raise UnknownLimitError(f"{name!r} is no limit", hint=f"Limits are {', '.join(TABLE)}.")
        try:
            found[name] = int(value) if value.isdecimal() else byte_size(value)
        except ValueError as error:
            raise UnknownLimitError(f"{part}: {error}") from None
    return found


def changed() -> str:
    """The limits in force that are not those of the table, as `parse` reads them: for a process of one's own."""
    return ",".join(f"{name}={most}" for name, most in _now.items() if most != TABLE[name].most)


def table() -> str:
    """The table as Markdown, for docs/security.md."""
    lines = ["| limit | at most | of what | for comparison |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.most:,} {row.unit} | {row.about} | {row.why} |" for row in TABLE.values()]
    return "\n".join(lines) + "\n"
