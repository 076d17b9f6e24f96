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
            Limit("companions-bytes", 256 * _MIB, "bytes", "all configuration and tokenizer files of one model",
                  "as for one file"),
            Limit("companions", 256, "files", "configuration and tokenizer files of one model", "models have some 10"),
            Limit("shards", 1024, "files", "weights of one model in SafeTensors", "Llama 3.1 405B has 191"),
            Limit("left-out-bytes", 16 * _MIB, "bytes", "small tensors that GGUF has no place for, in base64",
                  "rotary buffers of 80 layers have 30 kB"),
            Limit("inflated-bytes", 256 * _MIB, "bytes", "all companions that one model remembers, inflated",
                  "as for one file"),
            Limit("inflated-ratio", 64, "times", "a remembered companion against its deflated bytes, from 1 MiB on",
                  "tokenizers deflate to a fifth, zlib goes to a thousandth"),
            Limit("json-depth", 64, "levels", "JSON, YAML and TOML within each other", "tokenizer.json has 8"),
            Limit("record-bytes", 64 * _MIB, "bytes", "evidence, result.json, expected.json",
                  "the evidence of a full run has 3 MB"),
            Limit("merges-ratio", 16, "times", "merges made of a SentencePiece vocabulary against its own text, from 1 MiB on",
                  "Gemma's are 4 times as long"),
            Limit("imatrix-bytes", 8192 * _MIB, "bytes", "an importance matrix, which is read whole",
                  "that of Kimi K2 has 1.4 GB"),
            Limit("expected-bytes", 8 * _MIB, "bytes", "the expected.json of a reduction", "that of a whole model has 2 MB"),
            Limit("folder-bytes", 512 * _MIB, "bytes", "the input or the output in a folder of a reduction",
                  "most have some hundred bytes"),
            Limit("input-files", 1 << 12, "files", "the files of one input that is made smaller", "large models have 200 shards"),
            Limit("explained-bytes", 8 * _MIB, "bytes", "the files of a folder that `explain` shows",
                  "annotated.txt is written for inputs up to 64 KiB"),
            Limit("yaml-bytes", 4 * _MIB, "characters", "a file of expectations", "those of released converters have 26 kB"),
            Limit("toml-bytes", _MIB, "bytes", "a rosetta.toml or pyproject.toml", "they have some kB"),
            Limit("header-bytes", 1024 * _MIB, "bytes", "metadata and tensor table of GGUF",
                  "a vocabulary of 256,000 tokens has 10 MB"),
            Limit("tensors", 1 << 20, "tensors", "one file", "DeepSeek V3 has 91,991 in all its files"),
            Limit("strings", 1 << 24, "strings", "one array of GGUF", "vocabularies have up to 262,144"),
            Limit("nested-arrays", 1 << 16, "arrays", "arrays in arrays of one GGUF file", "no model in use has one"),
            Limit("header-items", 1 << 23, "items", "JSON of a SafeTensors header or an index",
                  "2^20 tensors have 6 million"),
            Limit("dimensions", 64, "dimensions", "a tensor", "NumPy has at most 64, models have at most 5"),
            Limit("parts", 1024, "files", "one model", "the largest models have 200; each stays open"),
            Limit("padding-bytes", 16 * _MIB, "bytes", "padding, where the data are fewer", "2^18 tensors with 64 each"),
            Limit("alignment", 1 << 16, "bytes", "general.alignment of GGUF", "files in use have 32"),
            Limit("metadata-keys", 1 << 16, "keys", "metadata of one file", "models have some 50"),
            Limit("template-seconds", 2, "seconds", "CPU time of all that is asked of a tokenizer, or of a chat template; "
                  "2 more for each MiB of tokenizer.json", "SmolLM2's tokenizer takes 0.5 s"),
            Limit("template-bytes", 192 * _MIB, "bytes", "memory of a tokenizer or a chat template; 24 more for each of "
                  "tokenizer.json", "SmolLM2's tokenizer, of 2 MB, takes 60 MB"),
            Limit("template-length", _MIB, "characters", "a chat template", "the longest in use have some 30,000"),
            Limit("answer-seconds", 1, "seconds", "CPU time of the answers of a model of less than a MiB; 8 seconds more for "
                  "each MiB, and more for long texts of one's own", "small models take 0.1 s, SmolLM2 (88 MB) 30 s of 700"),
            Limit("answer-bytes", 112 * _MIB, "bytes", "values or logits that a model computes at once; 16 more for each byte of "
                  "its weights", "SmolLM2 takes 60 MB of 1,470"),
            Limit("prompt-tokens", 4096, "tokens", "a prompt of a model, beyond one for each byte of what is asked",
                  "Command R's chat template adds some 1,000"),
            Limit("vocabulary", 1 << 22, "tokens", "vocab_size", "Gemma 3 has 262,144"),
            Limit("template-output", 4 * _MIB, "characters", "what a tokenizer or a chat template answers; or half as many tokens",
                  "Gemma 3 has 262,144 tokens"),
            Limit("output-files", 10_000, "files", "what one conversion writes, folders counted",
                  "sharded models have some hundred"),
            Limit("output-ratio", 64, "times", "what one conversion writes against its input, and 16 MiB more",
                  "a type of one bit becomes F32: 28 times"),
            Limit("disk-bytes", 1024 * _MIB, "bytes", "disk that one conversion may use, or output-ratio times its input",
                  "the gate's own models have less than 1 MB"),
            Limit("judge-seconds", 20, "seconds", "computing that judging one output may take, and one more for each MiB of it",
                  "it takes milliseconds, with answers of two models 2 s"),
            Limit("judge-bytes", 2048 * _MIB, "bytes", "memory that judging one output may take, and 16 times its size",
                  "it takes some MB"),
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


def require_padding(amount: int, nbytes: int, tensors: int, *, file: str | Path | None = None) -> None:
    """Raise LimitExceededError where padding is more than the data, more than 64 bytes a tensor, and more than the limit."""
    if amount > max(nbytes, 64 * tensors):
        require("padding-bytes", amount, f"padding of {nbytes:,} bytes of data", file=file)


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
