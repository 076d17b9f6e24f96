"""The converter under test: what it says of itself, and one call of it.

A converter is a command line, a Python function, or the reference; the gate, the zoo and the reducer know only `Converter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ACCEPTED, REFUSED, CRASHED, TIMEOUT = "accepted", "refused", "crashed", "timeout"


@dataclass(frozen=True)
class Entry:
    """What a converter claims, and how it is called. A claim that is absent (None) is unknown: the smoke test finds out.

    command: a command line with {src}, {dst} and perhaps {src_format}, {dst_format}, {workdir}, {type}; or None.
    function: "module:function", called with (src, dst) and, for a quantiser, type=; or None.
    pairs: those of `PAIRS` it takes; "G-G" for a quantiser.
    architectures, types: those it takes.
    quantises: types that it encodes to when asked ({type} in the command, `type=` of the function).
    quantises_on: pairs on which it may be asked for one; None: those of its pairs within one format, or all where there are none.
    safetensors_as: whether a SafeTensors model is given and asked for as "file" or "directory".
    time_limit: seconds. memory_limit: resident bytes. disk_limit: bytes that a command may write; None: in proportion to its input.
    refuse_exit: exit codes that refuse, besides 1.
    refuse_exceptions: names of exceptions by which it refuses: a function, besides those of `function.REFUSALS`; a command, where
        it ends with their traceback.
    isolated: a function runs in a process of its own.
    lossless: it claims that chains give back every bit.
    tokenizers: the vocabularies of samples it takes (`tokenizers.SMALL`, and `tokenizers.FULL` of published models).
    rope_scaling: the kinds of rope scaling it takes: "yarn", "llama3".
    whole_models: it takes only models of a known architecture with a tokenizer, no arbitrary tensors.
    reads_own_files_only: formats ("gguf", "apr", "safetensors") of which it reads the files that it wrote itself, and no others.
    loses: what it does not promise: kinds of findings ("lossy-unasked", say), gates ("F-CONV-META-001"), and inputs that it may
        refuse: a payload ("special": NaN and Inf; "large": beyond F16), a type in a format ("apr/bf16"), models of several files
        ("sharded", "gguf/sharded"). `loses` says what each of them excuses.
    expectations: a YAML file of expected failures.
    """

    name: str
    command: str | None = None
    function: str | None = None
    pairs: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    quantises: tuple[str, ...] = ()
    safetensors_as: str = "directory"
    time_limit: float = 60.0
    memory_limit: int = 4 << 30
    refuse_exit: tuple[int, ...] = ()
    refuse_exceptions: tuple[str, ...] = ()
    isolated: bool = False
    lossless: bool = False
    whole_models: bool | None = None
    loses: tuple[str, ...] = ()
    expectations: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    disk_limit: int | None = None
    quantises_on: tuple[str, ...] | None = None
    tokenizers: tuple[str, ...] | None = None
    rope_scaling: tuple[str, ...] | None = None
    reads_own_files_only: tuple[str, ...] = ()

    @property
    def asked_on(self) -> tuple[str, ...]:
        """The pairs on which a type is asked for."""
        if not self.quantises:
            return ()
        if self.quantises_on is not None:
            return self.quantises_on
        if self.pairs is None:
            return ("G-G",)
        return tuple(pair for pair in self.pairs if pair[0] == pair[-1]) or self.pairs


@dataclass(frozen=True)
class Run:
    """One call of a converter: how it ended, what it said, and what it cost (seconds, resident bytes at most)."""

    outcome: str
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    memory: int = 0
    #: The exception of a function, or how a process died.
    detail: str = ""
    #: Bytes on the disk, at most, of a command.
    disk: int = 0

    @property
    def accepted(self) -> bool:
        """Whether it says that it converted."""
        return self.outcome == ACCEPTED


class Converter(Protocol):
    """Anything that turns one file or directory into another one. It never raises: a failure is a Run."""

    entry: Entry

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert; the suffix of the target says the format (.gguf, .apr, .safetensors, none: a directory)."""
